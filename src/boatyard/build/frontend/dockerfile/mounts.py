"""`RUN --mount=type=cache,target=/root/.cache` and `RUN --device`.

A mount is read twice: `parse_mount_flag` when the file is parsed, which looks for nothing but `from` (the graph of
stages needs it), and `parse_mount` when the variables are known.

Specification: the Dockerfile reference, "RUN --mount" and "RUN --device".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from boatyard.build.frontend.dockerfile.instructions import DeviceFlag, Mount, MountFlag, MountType, Sharing
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.build.frontend.dockerfile.words import parse_fields
from boatyard.errors import InvalidError

_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "readwrite": "rw",
}
_KEYS = (
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
)
_WITHOUT_VALUE = ("readonly", "rw", "required")
_OF_TYPES = {
    "required": (MountType.SECRET, MountType.SSH),
    "size": (MountType.TMPFS,),
    "sharing": (MountType.CACHE,),
    "mode": (MountType.CACHE, MountType.SECRET, MountType.SSH),
    "uid": (MountType.CACHE, MountType.SECRET, MountType.SSH),
    "gid": (MountType.CACHE, MountType.SECRET, MountType.SSH),
}
"""Keys that only some types have."""
_WRITABLE = (MountType.CACHE, MountType.TMPFS)
_TRUTHS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
_UNITS = "bkmgtpezy"
_HIGHEST_ID = 2**32 - 1


def parse_mount_flag(text: str) -> MountFlag:
    """InvalidError when the fields are malformed, or `from` has a variable: stages are known before variables are."""
    from_ = ""
    for field in _fields(text):
        key, given, value = field.partition("=")
        if key.lower() == "from" and given:
            if "$" in value[:-1]:
                raise InvalidError(
                    f"variables are not expanded in the mount's {field!r}",
                    hint="name a stage with FROM $VARIABLE AS name, and mount from that",
                )
            from_ = value
    return MountFlag(text, from_)


def parse_mount(flag: MountFlag, expand: Callable[[str], str]) -> Mount:
    """The mount, its values put through `expand`. InvalidError for an unknown key or value, or keys that don't go
    together."""
    values = _values(flag.text, expand)
    type_ = _type(values.get("type", "bind"))
    for key, types in _OF_TYPES.items():
        if key in values and type_ not in types:
            raise InvalidError(
                f"a {type_} mount has no {key!r}, in {flag.text!r}",
                hint=f"{key} belongs to mounts of type {' or '.join(types)}",
            )
    if type_ is MountType.SECRET:
        _check_secret(values, flag.text)
    return Mount(
        type=type_,
        from_=values.get("from", ""),
        source=values.get("source", ""),
        target=values.get("target", ""),
        readonly=values.get("readonly", type_ not in _WRITABLE),
        id=values.get("id", ""),
        sharing=_sharing(values["sharing"]) if "sharing" in values else Sharing.SHARED,
        required=values.get("required", False),
        size=values.get("size", 0),
        mode=values.get("mode"),
        uid=values.get("uid"),
        gid=values.get("gid"),
        env=values.get("env"),
    )


def parse_device_flag(text: str) -> DeviceFlag:
    """`NAME[,required[=BOOL]]` or `name=NAME,...`; NAME is a CDI device, a name with `=` in it, or a kind of them."""
    name, required = "", False
    for field in _fields(text):
        key, given, value = field.partition("=")
        key = key.lower()
        if key == "required":
            required = _truth(key, value) if given else True
        elif key == "name" and given:
            if name:
                raise InvalidError(f"the device {text!r} has two names", hint="give a --device for each")
            name = value
        elif not name:
            name = field
        elif given:
            guess = did_you_mean(key, ("name", "required"))
            raise InvalidError(
                f"unknown key {key!r} in the device {text!r}{guess}", hint="devices have the keys name and required"
            )
        else:
            raise InvalidError(f"{field!r} in the device {text!r} has no value", hint="write KEY=VALUE")
    if not name:
        raise InvalidError(f"the device {text!r} has no name", hint="write --device=vendor.com/kind=name")
    return DeviceFlag(name, required)


def _fields(text: str) -> Sequence[str]:
    if not text:
        raise InvalidError("the value is empty", hint="a mount looks like --mount=type=cache,target=/root/.cache")
    return parse_fields(text)


def _values(text: str, expand: Callable[[str], str]) -> dict[str, Any]:
    """The values by canonical key, converted. `rw` is kept as `readonly`."""
    values: dict[str, Any] = {}
    for field in _fields(text):
        written, given, value = field.partition("=")
        written = written.lower()
        key = _ALIASES.get(written, written)
        if key not in _KEYS:
            raise InvalidError(
                f"unknown key {written!r} in the mount {text!r}{did_you_mean(written, (*_KEYS, *_ALIASES))}",
                hint="mounts have the keys " + ", ".join(_KEYS),
            )
        if not given and key not in _WITHOUT_VALUE:
            raise InvalidError(f"{field!r} in the mount {text!r} has no value", hint=f"write {written}=VALUE")
        value = value if key == "from" else expand(value)
        if key == "rw":
            values["readonly"] = not (_truth(written, value) if given else True)
        else:
            values[key] = _convert(key, written, value) if given else True
    return values


def _convert(key: str, written: str, value: str) -> Any:
    if key in _WITHOUT_VALUE:
        return _truth(written, value)
    if key == "size":
        return parse_size(value)
    if key == "mode":
        return _number(key, value, 8, "file modes are octal: 0755")
    if key in ("uid", "gid"):
        return _number(key, value, 10, "user and group are numbers here: names can't be looked up")
    return value


def _type(value: str) -> MountType:
    try:
        return MountType(value.lower())
    except ValueError as error:
        raise InvalidError(
            f"unknown mount type {value!r}{did_you_mean(value, MountType)}", hint=f"types are {', '.join(MountType)}"
        ) from error


def _sharing(value: str) -> Sharing:
    try:
        return Sharing(value.lower())
    except ValueError as error:
        raise InvalidError(
            f"unknown sharing {value!r} of a cache mount{did_you_mean(value, Sharing)}",
            hint=f"sharing is {', '.join(Sharing)}",
        ) from error


def _check_secret(values: dict[str, Any], text: str) -> None:
    if values.get("from"):
        raise InvalidError(f"a secret mount has no 'from', in {text!r}", hint="name the secret with id=")
    if not any(values.get(key) for key in ("id", "source", "target")):
        raise InvalidError(
            f"the secret mount {text!r} doesn't name a secret", hint="give it an id=, a source= or a target="
        )
    if values.get("source") and values.get("id"):
        raise InvalidError(f"the secret mount {text!r} has both 'source' and 'id'", hint="they mean the same: keep id=")


def _truth(key: str, value: str) -> bool:
    # The spellings that Go's strconv.ParseBool knows: no other mixture of cases.
    if value.lower() not in _TRUTHS or value not in (value.lower(), value.upper(), value.capitalize()):
        raise InvalidError(f"{key} is either true or false, not {value!r}", hint=f"write {key} or {key}=false")
    return _TRUTHS[value.lower()]


def _number(key: str, value: str, base: int, hint: str) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    if not value or len(value) > 20 or value.strip(digits) or int(value, base) > _HIGHEST_ID:
        raise InvalidError(f"invalid {key} {value!r}", hint=hint)
    return int(value, base)


def parse_size(text: str) -> int:
    """Bytes of `512`, `64k`, `1.5g`, `100MB`, `2GiB`: units are powers of 1024. InvalidError otherwise."""
    number = text.rstrip("bBiIkKmMgGtTpPeEzZyY ")
    unit = text[len(number) :].strip().lower()
    power = _UNITS.find(unit[:1]) if unit else 0
    whole, dot, fraction = number.partition(".")
    plain = all(part.isascii() and part.isdecimal() for part in ((whole, fraction) if dot else (whole,)))
    if not plain or len(number) > 20 or power < 0 or unit[1:] not in ("", "b", "ib") or unit in ("bb", "bib"):
        raise InvalidError(f"invalid size {text!r}", hint="sizes look like 512k, 64m or 1g")
    return int(float(number) * 1024**power) if dot else int(number) * 1024**power
