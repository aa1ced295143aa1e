"""What a target can be given: arguments, secrets, SSH agents (`--call=outline`).

`OutlineRecord` is filled while a stage is converted, and `outline` gathers those of all stages that a target needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from boatyard.build.frontend.dockerfile.ast import Range


@dataclass(frozen=True, slots=True)
class ArgumentRecord:
    """`uses`: the arguments that its default takes a value from."""

    name: str
    value: str
    description: str
    range: Range
    uses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """A secret or an SSH agent that a step asks for."""

    name: str
    required: bool
    range: Range


@dataclass(slots=True)
class OutlineRecord:
    """One a stage."""

    arguments: dict[str, ArgumentRecord] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    secrets: dict[str, AccessRecord] = field(default_factory=dict)
    ssh: dict[str, AccessRecord] = field(default_factory=dict)

    def copy(self) -> OutlineRecord:
        return OutlineRecord(dict(self.arguments), set(self.used), dict(self.secrets), dict(self.ssh))

    def used_arguments(self) -> list[ArgumentRecord]:
        """Those that are used, by a step or by the default of another that is."""
        names: set[str] = set()
        open_ = list(self.used)
        while open_:
            name = open_.pop()
            if name not in names and name in self.arguments:
                names.add(name)
                open_.extend(self.arguments[name].uses)
        return [self.arguments[name] for name in names]


class Position(msgspec.Struct, frozen=True):
    line: int


class Lines(msgspec.Struct, frozen=True):
    start: Position
    end: Position


class Location(msgspec.Struct, frozen=True):
    """Of BuildKit's answers. The file is always the first of their sources."""

    ranges: tuple[Lines, ...]


def location(range: Range) -> Location:
    return Location((Lines(Position(range.start), Position(range.end)),))


class OutlineArgument(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    description: str = ""
    value: str = ""
    location: Location | None = None


class OutlineAccess(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    required: bool = False
    location: Location | None = None


class Outline(msgspec.Struct, frozen=True, omit_defaults=True):
    """BuildKit's answer to `frontend.outline`."""

    name: str = ""
    description: str = ""
    args: tuple[OutlineArgument, ...] = ()
    secrets: tuple[OutlineAccess, ...] = ()
    ssh: tuple[OutlineAccess, ...] = ()
    sources: tuple[bytes, ...] = ()


def outline(name: str, description: str, source: bytes, records: Iterable[OutlineRecord]) -> Outline:
    """`records`: the target's, then those of the stages it needs. What an earlier one has, a later one doesn't add."""
    arguments: dict[str, ArgumentRecord] = {}
    secrets: dict[str, AccessRecord] = {}
    ssh: dict[str, AccessRecord] = {}
    for record in records:
        for argument in record.used_arguments():
            arguments.setdefault(argument.name, argument)
        _add(secrets, record.secrets)
        _add(ssh, record.ssh)
    return Outline(
        name=name,
        description=description,
        args=tuple(
            OutlineArgument(item.name, item.description, item.value, location(item.range))
            for item in sorted(arguments.values(), key=lambda item: (item.range, item.name))
        ),
        secrets=_accesses(secrets),
        ssh=_accesses(ssh),
        sources=(source,),
    )


def _add(known: dict[str, AccessRecord], more: Mapping[str, AccessRecord]) -> None:
    for name, record in more.items():
        known.setdefault(name, record)


def _accesses(records: Mapping[str, AccessRecord]) -> tuple[OutlineAccess, ...]:
    ordered = sorted(records.values(), key=lambda item: (item.range, item.name))
    return tuple(OutlineAccess(item.name, item.required, location(item.range)) for item in ordered)


def as_text(document: Outline) -> str:
    """As tables, for people."""
    text = ""
    if document.name or document.description:
        rows = [("TARGET:", document.name or "(default)")]
        if document.description:
            rows.append(("DESCRIPTION:", document.description))
        text += table(rows, gap=1) + "\n"
    if document.args:
        rows_of_three = [(item.name, item.value, item.description) for item in document.args]
        text += table([("BUILD ARG", "VALUE", "DESCRIPTION"), *rows_of_three]) + "\n"
    for title, accesses in (("SECRET", document.secrets), ("SSH", document.ssh)):
        if accesses:
            rows = [(item.name, "true" if item.required else "") for item in accesses]
            text += table([(title, "REQUIRED"), *rows]) + "\n"
    return text


def table(rows: Iterable[tuple[str, ...]], *, gap: int = 3) -> str:
    """Columns as wide as their widest cell; the last one is not filled up."""
    rows = list(rows)
    widths = [max(len(cell) for cell in column) + gap for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join(cells) + row[-1] + "\n")
    return "".join(lines)
