"""What is doubtful in a recipe, but no error. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from boatyard.frontend.packages.document import Text
from boatyard.frontend.packages.recipe import Recipe
from boatyard.progress import WarningEvent

_PINNED = ("==", "@", "===")


def remarks(recipe: Recipe) -> Iterator[WarningEvent]:
    yield from _duplicates(recipe.apt)
    yield from _duplicates(recipe.pip)
    for package in recipe.pip:
        if not any(mark in package.value for mark in _PINNED):
            yield package.at.warning(
                f"{package.value} is installed in whatever version is the newest at that time",
                code="UnpinnedPackage",
                detail="Pin packages of PyPI by ==VERSION, so that building again gives the same",
            )
    for argument in recipe.arguments:
        if argument.name not in recipe.used:
            yield argument.at.warning(
                f"nothing refers to the argument {argument.name}",
                code="UnusedArgument",
                detail="An argument is referred to as ${NAME}",
            )


def _duplicates(packages: tuple[Text, ...]) -> Iterator[WarningEvent]:
    seen: dict[str, Text] = {}
    for package in packages:
        first = seen.setdefault(package.value, package)
        if first is not package:
            yield package.at.warning(
                f"{package.value} is in the list twice, in line {first.at.start} before",
                code="DuplicatePackage",
                detail="A package needs to be named once",
            )
