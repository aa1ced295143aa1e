"""Filters of requests: a JSON object of names, each with the values that are wanted.

The values are the keys of an object (`{"label":{"a=b":true}}`), or a list in the older form (`{"label":["a=b"]}`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from boatyard.errors import InvalidError

Filters = Mapping[str, tuple[str, ...]]

_TRUTHS = {"1": True, "true": True, "0": False, "false": False}
_decoder = msgspec.json.Decoder(dict[str, dict[str, bool] | list[str] | None])


def parse(written: str, known: Iterable[str]) -> Filters:
    """InvalidError for what is no such object, and for a name that isn't known."""
    try:
        found = _decoder.decode(written) if written not in ("", "null") else {}
    except msgspec.DecodeError as error:
        raise InvalidError("invalid filter", hint=f"filters are a JSON object of lists: {error}") from error
    known = tuple(known)
    for name in found:
        if name not in known:
            raise InvalidError(f"invalid filter '{name}'", hint=f"known: {', '.join(known)}")
    return {name: tuple(values) for name, values in found.items() if values}


def truth(filters: Filters, name: str, default: bool) -> bool:
    values = filters.get(name)
    if not values:
        return default
    if len(values) > 1 or values[0] not in _TRUTHS:
        raise InvalidError(f"invalid filter '{name}={list(values)}'", hint="it is true or false")
    return _TRUTHS[values[0]]


def single(filters: Filters, name: str) -> str:
    """The one value, "" when there is none."""
    values = filters.get(name, ())
    if len(values) > 1:
        raise InvalidError(f"more than one {name} filter specified")
    return values[0] if values else ""


def match_labels(filters: Filters, labels: Mapping[str, str]) -> bool:
    """`label` asks for all of `NAME` and `NAME=VALUE`; `label!` refuses those that have all of its own."""
    if not _has_all(filters.get("label", ()), labels):
        return False
    unwanted = filters.get("label!", ())
    return not (unwanted and _has_all(unwanted, labels))


def _has_all(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    for text in wanted:
        name, equals, value = text.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True
