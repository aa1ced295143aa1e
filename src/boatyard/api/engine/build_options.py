"""What `POST /build` asks for, read from its parameters, in the builder's terms.

Specification: moby/moby, `api/swagger.yaml`, ImageBuild; the attributes are those of the Dockerfile frontend
(reference/builder.md 5.4).
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from boatyard.api.engine.call import Call
from boatyard.build.request import Export
from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image import reference as references

_PASSED_ON = {
    "target": "target",
    "cpusetcpus": "cpusetcpus",
    "cpusetmems": "cpusetmems",
    "cgroupparent": "cgroup-parent",
}
_NUMBERS = ("memory", "memswap", "cpushares", "cpuperiod", "cpuquota")
_NETWORKS = {"": "", "default": "", "bridge": "", "host": "host", "none": "none"}
_SANDBOXED = ("", "default")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """`attrs` are the frontend's. `remote`: where the context is instead of in the request's body. `outputs`: what is
    asked for instead of an image, None when nothing is. `remarks`: what was asked for and has no effect."""

    attrs: dict[str, str]
    tags: tuple[str, ...]
    remote: str
    outputs: tuple[Export, ...] | None
    quiet: bool
    ref: str
    entitlements: frozenset[str]
    remarks: tuple[str, ...] = ()

    @property
    def exports(self) -> tuple[Export, ...]:
        image = Export("image", {"name": ",".join(self.tags)} if self.tags else {})
        return (image,) if self.outputs is None else self.outputs

    @property
    def project(self) -> str:
        """Names the project from build to build, as well as that can be told without its directory."""
        return self.tags[0] if self.tags else self.remote or self.attrs["filename"]


class _Ulimit(msgspec.Struct, rename="pascal"):
    name: str
    soft: int
    hard: int


class _Output(msgspec.Struct, rename="pascal"):
    type: str = ""
    attrs: dict[str, str] | None = None


def parse(call: Call, *, with_session: bool = False) -> BuildOptions:
    """InvalidError, UnsupportedError. `with_session`: the request is one for BuildKit's builder."""
    query = call.query
    _refuse(call)
    outputs = query.json("outputs", list[_Output], "outputs")
    if not with_session:
        _refuse_session(call, outputs)
    attrs = {"filename": _dockerfile(query.text("dockerfile"))}
    remarks: list[str] = []
    for name, attr in _PASSED_ON.items():
        if value := query.text(name):
            attrs[attr] = value
    for name in _NUMBERS:
        if number := query.number(name):
            attrs[name] = str(number)
    if size := query.number("shmsize"):
        attrs["shm-size"] = str(size)
    if query.flag("nocache"):
        attrs["no-cache"] = ""
    if query.flag("pull"):
        attrs["image-resolve-mode"] = "pull"
    if call.since(1, 32) and (platform := query.text("platform")):
        attrs["platform"] = platform
    if network := _network(query.text("networkmode")):
        attrs["force-network-mode"] = network
    if hosts := query.all("extrahosts"):
        attrs["add-hosts"] = _row(_host(text) for text in hosts)
    if ulimits := query.json("ulimits", list[_Ulimit], "ulimit settings"):
        attrs["ulimit"] = _row(f"{limit.name}={limit.soft}:{limit.hard}" for limit in ulimits)
    for name, value in (query.json("labels", dict[str, str], "labels") or {}).items():
        attrs[f"label:{name}"] = value
    attrs |= _arguments(call, remarks)
    if query.json("cachefrom", list[str], "cache-from"):
        remarks.append("images named as cache sources are not read for caching yet; the daemon's own cache is used")
    return BuildOptions(
        attrs=attrs,
        tags=tuple(_tag(text) for text in query.all("t") if text),
        remote=query.text("remote"),
        outputs=_exports(outputs) if outputs else None,
        quiet=query.flag("q"),
        ref=query.text("buildid"),
        entitlements=frozenset({"network.host"} if network == "host" else ()),
        remarks=tuple(remarks),
    )


def _refuse(call: Call) -> None:
    """What has no meaning here."""
    query = call.query
    if query.all("securityopt"):
        raise InvalidError("security options are not supported on linux")
    if query.flag("squash"):
        raise UnsupportedError(
            "squashing is not supported", hint="a last stage `FROM scratch` with `COPY --from=… / /` has one layer"
        )
    if query.text("isolation") not in _SANDBOXED:
        raise InvalidError(f'unsupported isolation: "{query.text("isolation")}"')


def _refuse_session(call: Call, outputs: Iterable[_Output] | None) -> None:
    """What only BuildKit's clients ask for."""
    if call.query.text("remote") == "client-session" or call.query.text("session"):
        raise InvalidError("a session is for builds with version=2")
    if outputs:
        raise InvalidError("outputs are for builds with version=2")


def _exports(outputs: Iterable[_Output]) -> tuple[Export, ...]:
    """`cacheonly` is a word for none at all."""
    found = tuple(Export(output.type, output.attrs or {}) for output in outputs if output.type != "cacheonly")
    if len(found) > 1:
        raise InvalidError("multiple outputs not supported")
    return found


def _dockerfile(written: str) -> str:
    path = posixpath.normpath(posixpath.join("/", written or "Dockerfile")).lstrip("/")
    if ".." in written.split("/") and posixpath.normpath(written).startswith(".."):
        raise InvalidError(f"the Dockerfile ({written}) must be within the build context")
    return path or "Dockerfile"


def _network(mode: str) -> str:
    if mode not in _NETWORKS:
        raise UnsupportedError(f"the network {mode!r} for builds is not supported", hint="use default, host or none")
    return _NETWORKS[mode]


def _host(written: str) -> str:
    name, _, address = written.partition("=") if "=" in written else written.partition(":")
    if not name or not address:
        raise InvalidError(f"bad format for add-host: {written!r}", hint="write NAME:ADDRESS")
    return f"{name}={address.removeprefix('[').removesuffix(']')}"


def _arguments(call: Call, remarks: list[str]) -> dict[str, str]:
    """A name without a value was asked for from an environment that doesn't have it."""
    given = call.query.json("buildargs", dict[str, str | None], "build args") or {}
    for name, value in given.items():
        if value is None:
            remarks.append(f"the build argument {name} has no value, and is left out")
    return {f"build-arg:{name}": value for name, value in given.items() if value is not None}


def _tag(written: str) -> str:
    reference = references.parse(written).with_default_tag()
    if reference.digest:
        raise InvalidError(f"{written!r} can't be a new name: it has a digest", hint="use NAME:TAG")
    return str(reference)


def _row(fields: Iterable[str]) -> str:
    """As one line of CSV, which is how the frontend takes lists."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(list(fields))
    return out.getvalue()
