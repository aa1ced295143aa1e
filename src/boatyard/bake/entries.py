"""What the entries of `output`, `cache-from`, `cache-to`, `secret`, `ssh`, `attest` and `policy` say: as a text
(`type=local,dest=out`), as an object, and as the text again that a build's flag takes.

Specification: docker/buildx, util/buildflags.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from boatyard.bake.source import did_you_mean
from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.type import STRING, ListOf, MapOf, ObjectOf, Type, friendly
from boatyard.bake.values.value import Value, list_of, map_of, object_of, string, strings

TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class EntryError(Exception):
    """An entry says nothing that could be meant. `hint`: what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def fields(text: str) -> list[str]:
    """The parts between commas; a part with commas in it is quoted as in CSV."""
    if '"' not in text:
        return text.split(",")
    try:
        (row,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise EntryError(f"{text!r} is malformed", 'quote a whole part: "dest=a,b"') from None
    return row


def joined(pairs: Iterable[tuple[str, str]]) -> str:
    """The inverse of `fields`."""
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow([f"{key}={value}" for key, value in pairs])
    return written.getvalue()


def _pairs(text: str) -> dict[str, str]:
    found = {}
    for part in fields(text):
        key, equals, value = part.partition("=")
        if not equals:
            raise EntryError(f"{text!r} is malformed: {part!r} is not key=value")
        found[key.strip().lower()] = value
    return found


def _texts(value: Value) -> dict[str, str]:
    """An object or map as texts, without what is null."""
    try:
        converted = convert(value, MapOf(STRING))
    except ConversionError as error:
        raise EntryError(f"a text or an object of texts is required: {error}") from None
    return {key: each.raw for key, each in converted.raw.items() if not each.null}


@dataclass(frozen=True, slots=True)
class Output:
    type: str
    dest: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict)

    REFERENCE = MapOf(STRING)

    @classmethod
    def parse(cls, text: str) -> tuple[Output, ...]:
        """`-` is a tar archive to standard output, another bare word a directory."""
        if text == "-":
            return (cls("tar", "-"),)
        if len(fields(text)) == 1 and "=" not in text:
            return (cls("local", text),)
        return (cls._made(_pairs(text)),)

    @classmethod
    def of(cls, value: Value) -> tuple[Output, ...]:
        return (cls._made(_texts(value)),)

    @classmethod
    def _made(cls, given: dict[str, str]) -> Output:
        if not given.get("type"):
            raise EntryError("an output needs a type", "write type=image, type=local,dest=DIR, ...")
        return cls(given.pop("type"), given.pop("dest", ""), given)

    def text(self) -> str:
        dest = [("dest", self.dest)] if self.dest else []
        return joined([("type", self.type), *dest, *sorted(self.attrs.items())])

    def document(self) -> dict[str, object]:
        found = {**self.attrs, "type": self.type, **({"dest": self.dest} if self.dest else {})}
        return dict(sorted(found.items()))

    def value(self) -> Value:
        found = {**self.attrs, "type": self.type, "dest": self.dest}
        return map_of(STRING, {key: string(each) for key, each in found.items()})

    @property
    def identity(self) -> object:
        return self.type, self.dest, tuple(sorted(self.attrs.items()))


@dataclass(frozen=True, slots=True)
class Cache:
    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)

    REFERENCE = MapOf(STRING)

    @classmethod
    def parse(cls, text: str) -> tuple[Cache, ...]:
        """Bare words are references in a registry."""
        if "=" not in text:
            return tuple(cls("registry", {"ref": part}) for part in fields(text))
        return (cls._made(_pairs(text)),)

    @classmethod
    def of(cls, value: Value) -> tuple[Cache, ...]:
        return (cls._made(_texts(value)),)

    @classmethod
    def _made(cls, given: dict[str, str]) -> Cache:
        if not given.get("type"):
            raise EntryError("a cache needs a type", "write type=local,src=DIR, type=registry,ref=NAME, ...")
        return cls(given.pop("type"), given)

    def text(self) -> str:
        return joined([("type", self.type), *sorted(self.attrs.items())])

    def document(self) -> dict[str, object]:
        return dict(sorted({**self.attrs, "type": self.type}.items()))

    def value(self) -> Value:
        found = {**self.attrs, "type": self.type}
        return map_of(STRING, {key: string(each) for key, each in found.items()})

    @property
    def identity(self) -> object:
        return self.type, tuple(sorted(self.attrs.items()))


@dataclass(frozen=True, slots=True)
class Secret:
    id: str
    src: str = ""
    env: str = ""

    REFERENCE = ObjectOf(dict.fromkeys(("env", "id", "src"), STRING))
    KEYS = ("id", "src", "source", "env", "type")

    @classmethod
    def parse(cls, text: str) -> tuple[Secret, ...]:
        return (cls._made(_pairs(text)),)

    @classmethod
    def of(cls, value: Value) -> tuple[Secret, ...]:
        return (cls._made(_texts(value)),)

    @classmethod
    def _made(cls, given: dict[str, str]) -> Secret:
        for key in given:
            if key not in cls.KEYS:
                raise EntryError(f"a secret has no key {key!r}", did_you_mean(key, cls.KEYS, otherwise=_SECRET))
        kind = given.get("type", "")
        if kind not in ("", "file", "env"):
            raise EntryError(f"there is no secret of type {kind!r}", "it is type=file or type=env")
        path, variable = given.get("src") or given.get("source") or "", given.get("env", "")
        if kind == "env" and not variable:
            path, variable = "", path
        return cls(given.get("id", ""), path, variable)

    def text(self) -> str:
        pairs = (("id", self.id), ("src", self.src), ("env", self.env))
        return joined((key, value) for key, value in pairs if value)

    def document(self) -> dict[str, object]:
        pairs = (("id", self.id), ("src", self.src), ("env", self.env))
        return {key: value for key, value in pairs if value}

    def value(self) -> Value:
        return object_of({"id": string(self.id), "src": string(self.src), "env": string(self.env)})

    @property
    def identity(self) -> object:
        return self.id


_SECRET = "write id=NAME,src=FILE or id=NAME,env=VARIABLE"


@dataclass(frozen=True, slots=True)
class Agent:
    """An entry of `ssh`."""

    id: str
    paths: tuple[str, ...] = ()

    REFERENCE = ObjectOf({"id": STRING, "paths": ListOf(STRING)})

    @classmethod
    def parse(cls, text: str) -> tuple[Agent, ...]:
        name, equals, paths = text.partition("=")
        return (cls(name, tuple(paths.split(",")) if equals else ()),)

    @classmethod
    def of(cls, value: Value) -> tuple[Agent, ...]:
        try:
            found = convert(value, ObjectOf(cls.REFERENCE.attributes, frozenset(cls.REFERENCE.attributes))).raw
        except ConversionError as error:
            raise EntryError(f"an object with id and paths is required: {error}") from None
        for key in value.raw or ():
            if key not in cls.REFERENCE.attributes:
                raise EntryError(f"an entry of ssh has no key {key!r}", "it has id and paths")
        id, paths = found["id"], found["paths"]
        return (cls(id.raw or "", () if paths.null else tuple(each.raw for each in paths.elements())),)

    def text(self) -> str:
        return f"{self.id}={','.join(self.paths)}" if self.paths else self.id

    def document(self) -> dict[str, object]:
        return {**({"id": self.id} if self.id else {}), **({"paths": list(self.paths)} if self.paths else {})}

    def value(self) -> Value:
        return object_of({"id": string(self.id), "paths": strings(self.paths)})

    @property
    def identity(self) -> object:
        return self.id


@dataclass(frozen=True, slots=True)
class Attestation:
    type: str
    disabled: bool = False
    attrs: Mapping[str, str] = field(default_factory=dict)

    REFERENCE = MapOf(STRING)

    @classmethod
    def parse(cls, text: str) -> tuple[Attestation, ...]:
        return (cls._made(_pairs(text)),)

    @classmethod
    def of(cls, value: Value) -> tuple[Attestation, ...]:
        return (cls._made(_texts(value)),)

    @classmethod
    def _made(cls, given: dict[str, str]) -> Attestation:
        if not given.get("type"):
            raise EntryError("an attestation needs a type", "write type=provenance or type=sbom")
        disabled = given.pop("disabled", "false")
        if disabled not in TRUTHS:
            raise EntryError(f"disabled={disabled!r} is neither true nor false")
        return cls(given.pop("type"), TRUTHS[disabled], given)

    def text(self) -> str:
        disabled = [("disabled", "true")] if self.disabled else []
        return joined([("type", self.type), *disabled, *sorted(self.attrs.items())])

    def document(self) -> dict[str, object]:
        found = {**self.attrs, "type": self.type, **({"disabled": True} if self.disabled else {})}
        return dict(sorted(found.items()))

    def value(self) -> Value:
        found = {**self.attrs, "type": self.type, **({"disabled": "true"} if self.disabled else {})}
        return map_of(STRING, {key: string(each) for key, each in found.items()})

    @property
    def identity(self) -> object:
        return self.type


@dataclass(frozen=True, slots=True)
class Policy:
    """Taken as it is: what it asks for isn't supported yet."""

    attrs: Mapping[str, str]

    REFERENCE = MapOf(STRING)

    @classmethod
    def parse(cls, text: str) -> tuple[Policy, ...]:
        return (cls(_pairs(text)),)

    @classmethod
    def of(cls, value: Value) -> tuple[Policy, ...]:
        return (cls(_texts(value)),)

    def text(self) -> str:
        return joined(sorted(self.attrs.items()))

    def document(self) -> dict[str, object]:
        return dict(sorted(self.attrs.items()))

    def value(self) -> Value:
        return map_of(STRING, {key: string(each) for key, each in self.attrs.items()})

    @property
    def identity(self) -> object:
        return tuple(sorted(self.attrs.items()))


Entry = Output | Cache | Secret | Agent | Attestation | Policy
E = TypeVar("E", Output, Cache, Secret, Agent, Attestation, Policy)


def entries(kind: type[E], value: Value) -> tuple[E, ...]:
    """Of a list; empty texts say nothing."""
    if not value.sequence:
        raise EntryError(f"a list is required, not a {friendly(value.type)}", "put it in [ ]")
    parse: Callable[[str], tuple[E, ...]] = kind.parse
    of: Callable[[Value], tuple[E, ...]] = kind.of
    found: list[E] = []
    for each in value.elements():
        if each.type == STRING and not each.null:
            found.extend(parse(each.raw) if each.raw else ())
        elif not each.null:
            found.extend(of(each))
    return tuple(found)


def unique(given: Iterable[E]) -> tuple[E, ...]:
    """Of entries about the same thing the last, in the place of the first."""
    found: dict[object, E] = {}
    for each in given:
        found[each.identity] = each
    return tuple(found.values())


def reference(kind: type[E], given: Iterable[E]) -> Value:
    """What `target.NAME.output` refers to."""
    element: Type = kind.REFERENCE
    return list_of(element, (each.value() for each in given))
