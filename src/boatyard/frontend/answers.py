"""Answers to the questions that clients know: what can be built, what it can be given, what is wrong with the file.

    lint(file, remarks)          boat build --check, docker buildx build --check
    outline(file, arguments=...) boat build --call=outline
    targets(file, [...])         boat build --call=targets

Specification: moby/buildkit `frontend/subrequests` (reference/builder.md 5.7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from boatyard.build.frontend.dockerfile import checks
from boatyard.build.frontend.dockerfile import outline as outlines
from boatyard.build.frontend.dockerfile import targets as target_lists
from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.outline import Location, OutlineAccess, OutlineArgument, location
from boatyard.errors import BoatyardError
from boatyard.frontend.place import Place, SourceFile
from boatyard.frontend.result import Answer
from boatyard.progress import WarningEvent

DESCRIBE = "frontend.subrequests.describe"
OUTLINE = "frontend.outline"
TARGETS = "frontend.targets"
LINT = "frontend.lint"
ABOUT: Mapping[str, str] = {
    OUTLINE: "List all parameters current build target supports",
    TARGETS: "List all targets current build supports",
    LINT: "Lint a Dockerfile",
    DESCRIBE: "List available subrequest types",
}
"""In the words that clients know them by."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A build argument: its value, what it is for, where it is declared."""

    name: str
    value: str = ""
    description: str = ""
    at: Place | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """A secret or an SSH agent that a step asks for."""

    name: str
    required: bool = False
    at: Place | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Something that `--target` can name."""

    name: str
    description: str = ""
    default: bool = False
    at: Place | None = None


def outline(
    file: SourceFile,
    *,
    name: str = "",
    description: str = "",
    arguments: Sequence[Argument] = (),
    secrets: Sequence[Access] = (),
    ssh: Sequence[Access] = (),
) -> Answer:
    document = outlines.Outline(
        name=name,
        description=description,
        args=tuple(OutlineArgument(item.name, item.description, item.value, _at(item.at)) for item in arguments),
        secrets=tuple(OutlineAccess(item.name, item.required, _at(item.at)) for item in secrets),
        ssh=tuple(OutlineAccess(item.name, item.required, _at(item.at)) for item in ssh),
        sources=(file.text.encode(),),
    )
    return Answer(document, outlines.as_text(document))


def targets(file: SourceFile, found: Sequence[Target]) -> Answer:
    listed = tuple(
        target_lists.Target(name=item.name, default=item.default, description=item.description, location=_at(item.at))
        for item in found
    )
    document = target_lists.Targets(listed, (file.text.encode(),))
    return Answer(document, target_lists.as_text(document))


def lint(file: SourceFile, remarks: Iterable[WarningEvent], error: BoatyardError | None = None) -> Answer:
    """`remarks` as `Place.warning` makes them. `error`: what would end a build; it is told with the rest."""
    warnings = tuple(
        checks.CheckWarning(
            rule_name=remark.code or "Remark",
            description=remark.detail,
            url=remark.url,
            detail=remark.short,
            location=location(Range(remark.range.start, remark.range.end)) if remark.range else Location(()),
        )
        for remark in remarks
    )
    document = checks.told(file.name, file.text.encode(), warnings, error)
    return Answer(document, checks.as_text(document), document.status)


def describe(known: Iterable[str]) -> Answer:
    """Which questions a frontend answers."""
    names = [*(name for name in known if name != DESCRIBE), DESCRIBE]
    document = [
        {
            "name": name,
            "version": "1.0.0",
            "type": "rpc",
            "description": ABOUT.get(name, ""),
            "opts": [],
            "inputs": [],
            "metadata": [{"name": "result.json", "description": ""}, {"name": "result.txt", "description": ""}],
            "refs": [],
        }
        for name in names
    ]
    rows = [(name.removeprefix("frontend."), "1.0.0", ABOUT.get(name, "")) for name in names]
    return Answer(document, outlines.table([("NAME", "VERSION", "DESCRIPTION"), *rows], gap=1))


def _at(place: Place | None) -> Location | None:
    return location(Range(place.start, place.end)) if place is not None else None
