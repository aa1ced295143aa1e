"""Configuration files as tables of keys: which of them a structure doesn't know, and which it may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

NO_KEYS = ("file",)
"""Fields of structures that are no keys."""


@dataclass(frozen=True, slots=True)
class Unknown:
    name: str
    """With the tables it is in: `gc.polices`."""
    hint: str


def keys(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """A structure's keys, as files spell them, with their types."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind) if field.name not in NO_KEYS}


def unknown(raw: Mapping[str, Any], kind: type[msgspec.Struct], *, above: tuple[str, ...] = ()) -> Iterator[Unknown]:
    """All keys that a structure, or one inside it, doesn't have."""
    known = keys(kind)
    for key, value in raw.items():
        if key not in known:
            yield Unknown(".".join((*above, key)), suggest(key, known))
        elif inner := table_type(known[key]):
            for where, table in inner_tables(value, inner is known[key]):
                yield from unknown(table, inner, above=(*above, key, *where))


def table_type(kind: Any) -> type[msgspec.Struct] | None:
    """The struct whose keys are in a field of this type: itself, or a tuple's or dictionary's."""
    candidates = (kind, *get_args(kind))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)


def inner_tables(value: Any, single: bool) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The tables in a value, each with its place beneath it. What is no table is for the type check to refuse."""
    if single:
        entries: Iterable[tuple[tuple[str, ...], Any]] = [((), value)]
    elif isinstance(value, dict):
        entries = [((name,), table) for name, table in value.items()]
    elif isinstance(value, list):
        entries = [((str(number),), table) for number, table in enumerate(value, 1)]
    else:
        entries = []
    for where, table in entries:
        if isinstance(table, dict):
            yield where, table


def suggest(key: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    names = sorted(known)
    spelled = {_plain(name): name for name in names}
    close = get_close_matches(_plain(key), spelled, n=1)
    return f"did you mean {spelled[close[0]]!r}?" if close else f"known here: {', '.join(names)}"


def _plain(key: str) -> str:
    return key.replace("-", "").replace("_", "").lower()
