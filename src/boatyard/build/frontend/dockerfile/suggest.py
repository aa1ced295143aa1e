"""Guess what a misspelt word was meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_NEAR = 3
"""Words at this distance or more are not alike; short ones, whose every other letter could differ, at one less."""
_SHORT = 3


def closest(word: str, options: Iterable[str], *, ignore_case: bool = False) -> str | None:
    """The option nearest to `word`, or None when none is near, or one is the word itself. With `ignore_case` the
    answer takes the case of `word`, as far as it is all one case."""
    wanted = word.lower() if ignore_case else word
    best, best_distance = None, _NEAR if len(word) > _SHORT else _NEAR - 1
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
    """How many letters to insert, delete, replace or swap with their neighbour; any number of `limit` or more when it
    is that many."""
    if abs(len(left) - len(right)) >= limit:
        return limit
    before: list[int] = []
    row = list(range(len(right) + 1))
    for index, char in enumerate(left):
        following = [index + 1]
        for column, other in enumerate(right):
            cost = min(row[column + 1] + 1, following[column] + 1, row[column] + (char != other))
            if before and column and char == right[column - 1] and left[index - 1] == other:
                cost = min(cost, before[column - 1] + 1)
            following.append(cost)
        if min(following) >= limit and min(row) >= limit:
            return limit
        before, row = row, following
    return row[-1]
