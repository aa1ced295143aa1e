"""Lint rules that need nothing but the text. The parser runs them; nothing is filtered here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boatyard.build.frontend.dockerfile.ast import Node, Range
from boatyard.build.frontend.dockerfile.directives import parse_comment
from boatyard.build.frontend.dockerfile.instructions import Arg, Instruction, Stage
from boatyard.build.frontend.dockerfile.lex import Lexed
from boatyard.build.frontend.dockerfile.lint import (
    CONSISTENT_INSTRUCTION_CASING,
    DUPLICATE_STAGE_NAME,
    FROM_AS_CASING,
    INVALID_DEFINITION_DESCRIPTION,
    MAINTAINER_DEPRECATED,
    NO_EMPTY_CONTINUATION,
    RESERVED_STAGE_NAME,
    STAGE_NAME_CASING,
    Finding,
)

_RESERVED = ("context", "scratch")


def find_in_text(lexed: Lexed, arguments: Sequence[Arg], stages: Sequence[Stage]) -> tuple[Finding, ...]:
    """Every finding of every rule in this module."""
    return (
        *empty_continuations(lexed),
        *deprecated_maintainers(lexed.nodes),
        *argument_descriptions((*arguments, *(each for stage in stages for each in stage.instructions))),
        *stage_descriptions(stages),
        *stage_name_casing(stages),
        *as_casing(stages),
        *reserved_stage_names(stages),
        *duplicate_stage_names(stages),
        *instruction_casing(stages),
    )


def empty_continuations(lexed: Lexed) -> Iterator[Finding]:
    for range in lexed.empty_continuations:
        yield Finding(NO_EMPTY_CONTINUATION, "there is an empty line within the instruction that ends here", range)


def deprecated_maintainers(nodes: Sequence[Node]) -> Iterator[Finding]:
    for node in nodes:
        if node.name == "MAINTAINER":
            detail = 'MAINTAINER is out of use; write LABEL org.opencontainers.image.authors="..." instead'
            yield Finding(MAINTAINER_DEPRECATED, detail, node.range, node.comments)


def argument_descriptions(instructions: Sequence[Instruction]) -> Iterator[Finding]:
    for instruction in instructions:
        if isinstance(instruction, Arg):
            names = tuple(argument.key for argument in instruction.arguments)
            yield from _description("ARG", names, instruction.range, instruction.comments)


def stage_descriptions(stages: Sequence[Stage]) -> Iterator[Finding]:
    for stage in stages:
        if stage.stage_name:
            yield from _description("FROM", (stage.stage_name,), stage.range, stage.comments)


def _description(name: str, defined: Sequence[str], range: Range, comments: tuple[str, ...]) -> Iterator[Finding]:
    """The comment line right above begins with something that the instruction defines, or is for lint itself."""
    if comments and comments[-1].split(" ", 1)[0] not in defined and parse_comment(comments[-1]) is None:
        shown = defined[0] if len(defined) == 1 else "NAME"
        detail = f"the comment above {name} is no description; one looks like: # {shown} what it is for"
        yield Finding(INVALID_DEFINITION_DESCRIPTION, detail, range, comments)


def stage_name_casing(stages: Sequence[Stage]) -> Iterator[Finding]:
    for stage in stages:
        if stage.written_name != stage.stage_name:
            detail = f"the stage name {stage.written_name!r} should be in lower case"
            yield Finding(STAGE_NAME_CASING, detail, stage.range, stage.comments)


def as_casing(stages: Sequence[Stage]) -> Iterator[Finding]:
    """A FROM of mixed case is another rule's affair."""
    for stage in stages:
        if stage.as_keyword and _is_one_case(stage.keyword):
            wanted = stage.as_keyword.lower() if stage.keyword.islower() else stage.as_keyword.upper()
            if stage.as_keyword != wanted:
                detail = f"'{stage.as_keyword}' should be written '{wanted}', as '{stage.keyword}' is"
                yield Finding(FROM_AS_CASING, detail, stage.range, stage.comments)


def reserved_stage_names(stages: Sequence[Stage]) -> Iterator[Finding]:
    for stage in stages:
        if stage.stage_name in _RESERVED:
            detail = f"the stage name {stage.stage_name!r} is reserved"
            yield Finding(RESERVED_STAGE_NAME, detail, stage.range, stage.comments)


def duplicate_stage_names(stages: Sequence[Stage]) -> Iterator[Finding]:
    seen: dict[str, Stage] = {}
    for stage in stages:
        if not stage.stage_name:
            continue
        if (first := seen.get(stage.stage_name)) is not None:
            detail = f"the stage name {stage.stage_name!r} is used in line {first.range.start} already"
            yield Finding(DUPLICATE_STAGE_NAME, detail, stage.range, stage.comments)
        seen.setdefault(stage.stage_name, stage)


def instruction_casing(stages: Sequence[Stage]) -> Iterator[Finding]:
    """The case of most instructions is the right one; upper when they are even. ARGs before the first FROM don't
    count."""
    places = [
        place
        for stage in stages
        for place in (
            (stage.keyword, stage.range, stage.comments),
            *((each.keyword, each.range, each.comments) for each in stage.instructions),
        )
    ]
    lower = sum(keyword.islower() for keyword, _, _ in places)
    upper = sum(keyword.isupper() for keyword, _, _ in places)
    for keyword, range, comments in places:
        wanted, case = (keyword.lower(), "lower") if lower > upper else (keyword.upper(), "upper")
        if keyword != wanted:
            detail = f"'{keyword}' should be written '{wanted}': most instructions are in {case} case"
            yield Finding(CONSISTENT_INSTRUCTION_CASING, detail, range, comments)


def _is_one_case(word: str) -> bool:
    return word in (word.lower(), word.upper())
