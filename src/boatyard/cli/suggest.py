"""Did you mean: the nearest known name to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    matches = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def hint(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    match = nearest(name, known)
    return f"did you mean {match!r}?" if match else otherwise
