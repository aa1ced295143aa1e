"""The attributes of targets and groups: their types, and how a value becomes what a `Target` holds and back.

Specification: docker/buildx, docs/bake-reference.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any as Anything

from boatyard.bake import entries
from boatyard.bake.entries import Agent, Attestation, Cache, EntryError, Output, Policy, Secret
from boatyard.bake.source import Span
from boatyard.bake.values import number as numbers
from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.type import BOOL, NUMBER, STRING, ListOf, MapOf, Type, friendly
from boatyard.bake.values.value import Value, null, string

RESOURCES = ("memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus", "cpuset-mems")


@dataclass(frozen=True, slots=True)
class Kind:
    """`take`: a value that isn't null as what a target holds. `show`: the value that references to it give; for None,
    too. Both may raise ConversionError or EntryError."""

    take: Callable[[Value], Anything]
    show: Callable[[Value], Value]


def _converted(type: Type, take: Callable[[Value], Anything]) -> Kind:
    return Kind(lambda value: take(convert(value, type)), lambda value: convert(value, type))


def _elements(value: Value) -> tuple[str, ...]:
    for index, each in enumerate(value.elements()):
        if each.null:
            raise ConversionError(f"element {index} must not be null")
    return tuple(each.raw for each in value.elements())


def _required(value: Value) -> dict[str, str]:
    for key, each in value.raw.items():
        if each.null:
            raise ConversionError(f'element "{key}" must not be null')
    return {key: each.raw for key, each in value.raw.items()}


def _optional(value: Value) -> dict[str, str | None]:
    return {key: each.raw for key, each in value.raw.items()}


def _entries(kind: type[entries.E]) -> Kind:
    def take(value: Value) -> tuple[entries.E, ...]:
        return entries.entries(kind, value)

    def show(value: Value) -> Value:
        return entries.reference(kind, () if value.null else take(value))

    return Kind(take, show)


def _resources(value: Value) -> dict[str, str]:
    """Numbers are told from texts by who uses them."""
    if not value.keyed:
        raise ConversionError(f"an object is required, not a {friendly(value.type)}")
    found = {}
    for key, each in value.raw.items():
        if key not in RESOURCES:
            raise EntryError(f"there is no resource {key!r}", f"there are: {', '.join(RESOURCES)}")
        if not each.null:
            given = convert(each, NUMBER if key.startswith("cpu-") else STRING)
            found[key] = given.raw if isinstance(given.raw, str) else numbers.text(given.raw)
    return found


_TEXT = _converted(STRING, lambda value: value.raw)
_TRUTH = _converted(BOOL, lambda value: value.raw)
_TEXTS = _converted(ListOf(STRING), _elements)
_MAP = _converted(MapOf(STRING), _required)
_NULLABLE_MAP = _converted(MapOf(STRING), _optional)

TARGET: Mapping[str, Kind] = {
    "description": _TEXT,
    "inherits": _TEXTS,
    "annotations": _TEXTS,
    "attest": _entries(Attestation),
    "context": _TEXT,
    "contexts": _MAP,
    "dockerfile": _TEXT,
    "dockerfile-inline": _TEXT,
    "args": _NULLABLE_MAP,
    "labels": _NULLABLE_MAP,
    "tags": _TEXTS,
    "cache-from": _entries(Cache),
    "cache-to": _entries(Cache),
    "target": _TEXT,
    "secret": _entries(Secret),
    "ssh": _entries(Agent),
    "platforms": _TEXTS,
    "output": _entries(Output),
    "pull": _TRUTH,
    "no-cache": _TRUTH,
    "network": _TEXT,
    "no-cache-filter": _TEXTS,
    "shm-size": _TEXT,
    "ulimits": _TEXTS,
    "resources": Kind(_resources, lambda value: value),
    "call": _TEXT,
    "entitlements": _TEXTS,
    "extra-hosts": _NULLABLE_MAP,
    "policy": _entries(Policy),
}
GROUP: Mapping[str, Kind] = {"description": _TEXT, "targets": _TEXTS}
MATRIX = ("matrix", "name")
"""What a target has besides, and no reference can see."""

BLOCKS: Mapping[str, int] = {"variable": 1, "function": 1, "group": 1, "target": 1}
"""The blocks of a file, and how many labels each has."""
NESTED: Mapping[str, Mapping[str, int]] = {"variable": {"validation": 0}}
VARIABLE = ("type", "default", "description")
VALIDATION = ("condition", "error_message")
FUNCTION = ("params", "variadic_params", "result")


def take(kind: Kind, name: str, value: Value, span: Span) -> Anything:
    """None for null. DefinitionError for what isn't of the attribute's type."""
    return None if value.null else _placed(lambda: kind.take(value), name, value, span)


def show(kind: Kind, name: str, value: Value, span: Span) -> Value:
    """What `target.NAME.ATTRIBUTE` means."""
    found: Value = _placed(lambda: kind.show(value), name, value, span)
    return found


def unset(name: str) -> Value:
    """What a reference to an attribute that isn't set means: null, or an empty list of entries."""
    if name == "name":
        return string("")
    try:
        return {**GROUP, **TARGET}[name].show(null(STRING))
    except ConversionError:
        return null(STRING)


def _placed(work: Callable[[], Anything], name: str, value: Value, span: Span) -> Anything:
    try:
        return work()
    except EntryError as error:
        raise span.error(f"{name}: {error}", hint=error.hint) from None
    except ConversionError as error:
        wants_list = value.type == STRING and {**GROUP, **TARGET}[name] is _TEXTS
        hint = "put it in [ ]: this attribute is a list" if wants_list else None
        raise span.error(f"{name}: {error}", hint=hint) from None
