"""ARG: in a stage, and before the first FROM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from boatyard.build.frontend.dockerfile import shell
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step
from boatyard.build.frontend.dockerfile.instructions import Arg
from boatyard.build.frontend.dockerfile.outline import ArgumentRecord

NOT_IN_ENVIRONMENT = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
"""Arguments that are for the builder alone."""


def arg(build: Conversion, stage: StageBuild, step: Step, instruction: Arg, word: Callable[[str], str]) -> None:
    """A build argument takes the place of the default, a global argument that of none. Without a value, a variable of
    that name keeps its own."""
    told = []
    for argument in instruction.arguments:
        name, value = argument.key, argument.value
        inherited = False
        if name in build.arguments:
            value = build.arguments[name]
        elif value is not None:
            value = word(value)
        elif name in build.global_arguments:
            value, inherited = build.global_arguments[name], True
        if value is not None and name not in NOT_IN_ENVIRONMENT:
            stage.env.set(name, value)
        if not inherited:
            before = stage.outline.arguments.get(name)
            comment = argument.comment or (before.description if before else "")
            stage.outline.arguments[name] = ArgumentRecord(name, value or "", comment, instruction.range)
        stage.outline.used.add(name)
        stage.arguments[name] = value
        told.append(name if value is None else f"{name}={value}")
    stage.image.record(f"ARG {' '.join(told)}", build.created)


def global_arguments(
    instructions: Iterable[Arg],
    known: Mapping[str, str],
    given: Mapping[str, str],
    escape: str,
    earlier: Mapping[str, ArgumentRecord] | None = None,
) -> tuple[dict[str, str], dict[str, ArgumentRecord]]:
    """The values of arguments before the first FROM, those that are `known` among them, and what the outline tells of
    them and of `earlier` ones. InvalidError when a default can't be expanded."""
    values = dict(known)
    records = dict(earlier or {})
    for instruction in instructions:
        for argument in instruction.arguments:
            name, value = argument.key, argument.value
            uses: frozenset[str] = frozenset()
            if name in given:
                value = given[name]
            elif value is not None:
                expansion = shell.expand(value, values, escape=escape)
                value, uses = expansion.text, frozenset(expansion.matched)
                if name in uses:
                    before = records.get(name)
                    uses = uses - {name} | (before.uses if before else frozenset())
            if value is not None:
                values[name] = value
            records[name] = ArgumentRecord(name, value or "", argument.comment, instruction.range, uses)
    return values, records


def told_command(stage: StageBuild, words: Iterable[str]) -> str:
    """A command as history tells it: `|1 name=value /bin/sh -c ...`, with the arguments that were in scope."""
    values = [f"{name}={stage.env.get(name, default or '')}" for name, default in stage.arguments.items()]
    return " ".join((f"|{len(values)}", *values, *words) if values else words)
