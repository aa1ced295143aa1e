"""Guess what a misspelt word was meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_NEAR = 3
"""Words at this edit distance or more are not alike."""


def closest(word: str, options: Iterable[str], *, ignore_case: bool = False) -> str | None:
    """The option nearest to `word`, or None when none is near, or one is the word itself. With `ignore_case` the
    answer takes the case of `word`, as far as it is all one case."""
    wanted = word.lower() if ignore_case else word
    best, best_distance = None, _NEAR
    for option in options:
        candidate = option.lower() if ignore_case else option
        if candidate == wanted:
            return None
        if (measured := distance(wanted, candidate, limit=best_distance)) < best_distance:
            best, best_distance = option, measured
    if best is None or not ignore_case:
        return best
    if word == word.lower():
        return best.lower()
    return best.upper() if word == word.upper() else best


def did_you_mean(word: str, options: Iterable[str], *, ignore_case: bool = False) -> str:
    """A clause to append to a message, " (did you mean X?)" or nothing."""
    match = closest(word, options, ignore_case=ignore_case)
    return f" (did you mean {match}?)" if match else ""


def distance(left: str, right: str, *, limit: int) -> int:
    """The edit distance (insert, delete, replace), or any number of `limit` or more when it is that far."""
    if abs(len(left) - len(right)) >= limit:
        return limit
    row = list(range(len(right) + 1))
    for index, char in enumerate(left, 1):
        previous, row[0] = row[0], index
        for column, other in enumerate(right, 1):
            previous, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, previous + (char != other)),
            )
        if min(row) >= limit:
            return limit
    return row[-1]
