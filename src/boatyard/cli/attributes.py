"""`key=value,key=value`: the way Docker's flags take several values at once, and what it means in each of them.

A value with a comma in it is quoted as in CSV: `--output 'type=local,"dest=a,b"'`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from boatyard.cli import suggest
from boatyard.errors import InvalidError


def fields(text: str, flag: str) -> list[str]:
    """The parts between commas."""
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        (row,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise InvalidError(
            f"{flag} {text!r} is malformed: {error}", hint='quote a whole part: "dest=a,b" or "dest=a""b"'
        ) from error
    return row


def pairs(text: str, flag: str, known: Iterable[str] | None = None, *, bare: str | None = None) -> dict[str, str]:
    """The parts as keys and values. `bare` is the value of a key that has none; without it such a key is refused.
    Keys are lower case."""
    found: dict[str, str] = {}
    allowed = None if known is None else tuple(known)
    for part in fields(text, flag):
        key, equals, value = part.strip().partition("=")
        key = key.lower()
        if not key or (not equals and bare is None):
            raise InvalidError(f"{flag} {text!r} is malformed: {part!r} is not key=value")
        if allowed is not None and key not in allowed:
            remedy = suggest.hint(key, allowed, otherwise=f"there are: {', '.join(allowed)}")
            raise InvalidError(f"{flag} has no key {key!r}", hint=remedy)
        found[key] = value if equals else bare or ""
    return found


def boolean(value: str, flag: str, key: str) -> bool:
    lowered = value.lower()
    if lowered in ("true", "1", "t", "yes"):
        return True
    if lowered in ("false", "0", "f", "no"):
        return False
    raise InvalidError(f"{flag}: {key}={value!r} is neither true nor false")


class Secret(msgspec.Struct, frozen=True):
    """Exactly one of `path` and `variable` is set."""

    id: str
    path: str = ""
    variable: str = ""


def secret(text: str, environment: Mapping[str, str]) -> Secret:
    """`id=ID[,src=FILE|,env=NAME][,type=file|env]`. Without a source it is the variable of that name, else the file."""
    keys = ("id", "src", "source", "env", "type")
    # `--secret token` is what people try first.
    given = pairs(text if "=" in text else f"id={text}", "--secret", keys)
    kind = given.get("type", "")
    if kind not in ("", "file", "env"):
        raise InvalidError(f"--secret {text!r}: type={kind!r} is unknown", hint="it is type=file or type=env")
    path, variable = given.get("src") or given.get("source") or "", given.get("env", "")
    if path and variable:
        raise InvalidError(f"--secret {text!r} has both a file and a variable", hint="keep one of src= and env=")
    if kind == "env" and path:  # `type=env,src=NAME` is BuildKit's long form of env=NAME
        path, variable = "", path
    name = given.get("id") or variable or _last(path)
    if not name:
        raise InvalidError(f"--secret {text!r} has no id", hint="write it as id=NAME,src=FILE or id=NAME,env=VARIABLE")
    if not path and not variable:
        if kind == "env" or (kind != "file" and name in environment):
            variable = name
        else:
            path = name
    return Secret(name, path, variable)


class Agent(msgspec.Struct, frozen=True):
    """`paths` empty stands for the agent of SSH_AUTH_SOCK; one socket is an agent; files are private keys."""

    id: str
    paths: tuple[str, ...] = ()


def agent(text: str) -> Agent:
    """`default`, `ID=SOCKET`, `ID=KEY[,KEY...]`."""
    name, equals, rest = text.partition("=")
    if not name:
        raise InvalidError(f"--ssh {text!r} has no id", hint="write it as default, or ID=SOCKET, or ID=KEYFILE")
    found = fields(rest, "--ssh") if equals and rest else []
    return Agent(name, tuple(part for part in found if not part.startswith("raw=")))


class Output(msgspec.Struct, frozen=True):
    """One `--output`. `dest` is a path, `-`, or empty: for types that need one, standard output."""

    type: str
    dest: str = ""
    attrs: Mapping[str, str] = {}


OUTPUT_TYPES = ("image", "local", "tar", "oci", "docker", "registry", "cacheonly")


def output(text: str) -> Output:
    """`type=TYPE[,dest=PATH][,KEY=VALUE...]`; `-` is a tar to standard output, another bare word a directory."""
    if text == "-":
        return Output("tar", "-")
    parts = fields(text, "--output")
    if len(parts) == 1 and "=" not in parts[0]:
        return Output("local", parts[0])
    given = pairs(text, "--output", bare="true")
    kind = given.pop("type", "")
    if not kind:
        raise InvalidError(f"--output {text!r} has no type", hint=f"type= is one of: {', '.join(OUTPUT_TYPES)}")
    if kind not in OUTPUT_TYPES:
        raise InvalidError(
            f"--output: there is no type {kind!r}",
            hint=suggest.hint(kind, OUTPUT_TYPES, otherwise=f"there are: {', '.join(OUTPUT_TYPES)}"),
        )
    dest = given.pop("dest", "")
    if kind == "local" and not dest:
        raise InvalidError("--output type=local needs a directory", hint="write it as type=local,dest=DIRECTORY")
    return Output(kind, dest, given)


class Cache(msgspec.Struct, frozen=True):
    type: str
    attrs: Mapping[str, str] = {}


CACHE_TYPES = ("local", "inline", "registry", "gha", "s3", "azblob")


def cache(text: str, flag: str) -> Cache:
    """`type=TYPE[,KEY=VALUE...]`; a bare word is a reference in a registry."""
    parts = fields(text, flag)
    if len(parts) == 1 and "=" not in parts[0]:
        return Cache("registry", {"ref": parts[0]})
    given = pairs(text, flag)
    kind = given.pop("type", "registry" if "ref" in given else "")
    if kind not in CACHE_TYPES:
        problem = f"{flag}: there is no type {kind!r}" if kind else f"{flag} {text!r} has no type"
        raise InvalidError(
            problem, hint=suggest.hint(kind, CACHE_TYPES, otherwise=f"there are: {', '.join(CACHE_TYPES)}")
        )
    return Cache(kind, given)


def ulimit(text: str) -> str:
    """`NAME=SOFT[:HARD]`, as BuildKit's attribute wants it."""
    name, equals, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    hard = hard or soft
    values = [number.removeprefix("-") for number in (soft, hard)]
    if not name or not equals or not all(value.isdigit() for value in values):
        raise InvalidError(f"--ulimit {text!r} is malformed", hint="write it as nofile=1024 or nofile=1024:2048")
    if int(hard) != -1 and (int(soft) > int(hard) or int(soft) == -1):
        raise InvalidError(f"--ulimit {text!r}: the soft limit is above the hard one")
    return f"{name}={soft}:{hard}"


def host(text: str) -> str:
    """`NAME:ADDRESS` or `NAME=ADDRESS`, as BuildKit's attribute wants it: `NAME=ADDRESS`."""
    name, separator, address = text.partition("=")
    if not separator:
        name, separator, address = text.partition(":")
    if not name or not address:
        raise InvalidError(f"--add-host {text!r} is malformed", hint="write it as NAME:ADDRESS")
    return f"{name}={address.removeprefix('[').removesuffix(']')}"


def named(text: str, flag: str) -> tuple[str, str]:
    """`NAME=VALUE`, the value needed."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidError(f"{flag} {text!r} is malformed", hint=f"write it as {flag} NAME=VALUE")
    return name, value


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
