"""A source policy from its file: JSON, as BuildKit's clients take it.

As there, an enumeration is a name or a number and the case of keys doesn't matter. Unknown keys are refused: a rule
with a misspelt key would allow what it was meant to deny.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import msgspec

from boatyard.client.documents.policies import (
    PolicyConstraint,
    PolicyRule,
    PolicySelector,
    PolicyUpdate,
    SourcePolicy,
)
from boatyard.errors import DeniedError, InvalidError, NotFoundError, UnsupportedError

MAX_BYTES = 4 << 20


def read(path: str) -> SourcePolicy:
    """The policy in a file, under the file's name. NotFoundError, DeniedError, InvalidError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"the source policy {path} does not exist") from error
    except OSError as error:
        raise DeniedError(f"can't read the source policy {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InvalidError(f"{path} is too large for a source policy", hint=f"at most {MAX_BYTES >> 20} MiB")
    return parse(data, os.path.basename(path))


def parse(data: bytes, name: str) -> SourcePolicy:
    """InvalidError says what is wrong where."""
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"{name} is no source policy: {error}", hint='it is JSON: {"rules": [...]}') from error
    try:
        policy = msgspec.convert(_prepared(raw, SourcePolicy, name), SourcePolicy)
    except msgspec.ValidationError as error:
        raise InvalidError(f"{name}: {error}") from error
    if policy.version not in (0, 1):
        raise UnsupportedError(f"{name}: version {policy.version} of source policies is not known here")
    return msgspec.structs.replace(policy, name=name)


_INNER: dict[tuple[type[msgspec.Struct], str], type[msgspec.Struct]] = {
    (SourcePolicy, "rules"): PolicyRule,
    (PolicyRule, "selector"): PolicySelector,
    (PolicyRule, "updates"): PolicyUpdate,
    (PolicySelector, "constraints"): PolicyConstraint,
}
_SPELLINGS = {"matchtype": "match_type"}


def _prepared(value: Any, kind: type[msgspec.Struct], where: str) -> Any:
    """Keys and enumerations in the spelling of the documents. What is of another type is for the conversion to
    refuse."""
    if not isinstance(value, dict):
        return value
    known = {field.name: field.type for field in msgspec.structs.fields(kind) if field.name != "name"}
    found: dict[str, Any] = {}
    for given, inner in value.items():
        key = given.lower()
        key = _SPELLINGS.get(key, key)
        if key not in known:
            raise InvalidError(f"{where}: unknown key {given!r}", hint=_hint(key, known))
        if (table := _INNER.get((kind, key))) is not None:
            found[key] = (
                list(_tables(inner, table, where, key))
                if isinstance(inner, list)
                else _prepared(inner, table, f"{where}: {key}")
            )
        else:
            found[key] = _named(inner, get_args(known[key]))
        if found[key] is None and key != "updates":
            del found[key]  # as if it were left out
    return found


def _tables(values: Iterable[Any], kind: type[msgspec.Struct], where: str, key: str) -> Iterator[Any]:
    for number, each in enumerate(values, 1):
        yield _prepared(each, kind, f"{where}: {key.removesuffix('s')} {number}")


def _named(value: Any, names: tuple[Any, ...]) -> Any:
    """An enumeration's name for its number."""
    if names and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    return value


def _hint(key: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
