"""A Dockerfile's text as instructions.

`parse` is the whole way: `lex` cuts the text into instructions, `instruction_forms` reads each one, and this module
groups them by stage and points every error at its lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from boatyard.build.frontend.dockerfile.ast import Node, Range, Source
from boatyard.build.frontend.dockerfile.flags import Kind, parse_flags
from boatyard.build.frontend.dockerfile.instruction_forms import FORMS, describe
from boatyard.build.frontend.dockerfile.instructions import Arg, Dockerfile, Instruction, Stage
from boatyard.build.frontend.dockerfile.lex import lex, lex_trigger
from boatyard.build.frontend.dockerfile.lint_text import find_in_text
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.build.frontend.dockerfile.words import split_blanks
from boatyard.errors import DockerfileError, InvalidError

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_FROM_FLAGS = {"platform": Kind.TEXT}


def parse(data: bytes, filename: str) -> Dockerfile:
    """DockerfileError, with the place, for anything that is wrong with the text alone."""
    lexed = lex(data, filename)
    reader = _Reader(lexed.source, lexed.directives.escape)
    for node in lexed.nodes:
        reader.add(node)
    stages = reader.finish()
    return Dockerfile(
        filename=filename,
        source=lexed.source.text,
        directives=lexed.directives,
        arguments=tuple(reader.arguments),
        stages=stages,
        findings=find_in_text(lexed, reader.arguments, stages),
    )


def parse_trigger(expression: str, range: Range) -> Instruction:
    """The instruction of an ONBUILD trigger, as a base image's config has it. It gets the range of the FROM that brings
    it in. DockerfileError, whose excerpt is the trigger, when it is malformed or none that a trigger can be."""
    source = Source("ONBUILD trigger", expression)
    nodes = lex_trigger(expression, source)
    if len(nodes) != 1:
        raise source.error(
            f"an ONBUILD trigger of the base image has {len(nodes)} instructions instead of one: {expression!r}",
            Range(1, 1),
            hint="the base image has to be built again with a correct ONBUILD",
        )
    name = nodes[0].name
    if name in ("FROM", "MAINTAINER", "ONBUILD"):
        raise source.error(f"{name} can't be an ONBUILD trigger", nodes[0].range)
    return replace(_read(nodes[0], source, "\\"), range=range)


def _read(node: Node, source: Source, escape: str) -> Instruction:
    form = FORMS.get(node.name)
    if form is None:
        raise source.error(
            f"unknown instruction: {node.keyword}{did_you_mean(node.keyword, (*FORMS, 'FROM'), ignore_case=True)}",
            node.range,
            hint=_unknown_hint(node),
        )
    try:
        return form(node, escape)
    except InvalidError as error:
        raise source.error(error.message, node.range, hint=error.hint) from error


def _unknown_hint(node: Node) -> str:
    if node.keyword.startswith("<<") or "<<" in node.text:
        return "a heredoc begins with << at the start of a word, after a blank, in RUN, COPY or ADD"
    return "if the line belongs to the one above, that one has to end with the escape character (\\)"


@dataclass(slots=True)
class _Draft:
    """A stage whose instructions are still being read."""

    stage: Stage
    instructions: list[Instruction] = field(default_factory=list)


class _Reader:
    """Collects instructions into stages, in order."""

    def __init__(self, source: Source, escape: str) -> None:
        self._source = source
        self._escape = escape
        self.arguments: list[Arg] = []
        self._drafts: list[_Draft] = []

    def add(self, node: Node) -> None:
        if node.name == "FROM":
            self._drafts.append(_Draft(self._stage(node)))
            return
        instruction = _read(node, self._source, self._escape)
        if self._drafts:
            self._drafts[-1].instructions.append(instruction)
        elif isinstance(instruction, Arg):
            self.arguments.append(instruction)
        else:
            raise self._source.error(
                f"{node.name} stands before the first FROM",
                node.range,
                hint="a Dockerfile begins with FROM; only ARG may stand before it",
            )

    def finish(self) -> tuple[Stage, ...]:
        if not self._drafts:
            raise self._source.error(
                "the Dockerfile has no FROM",
                self.arguments[-1].range,
                hint="add a FROM line: it begins a stage to build",
            )
        return tuple(replace(draft.stage, instructions=tuple(draft.instructions)) for draft in self._drafts)

    def _stage(self, node: Node) -> Stage:
        try:
            platform = parse_flags(node.flags, _FROM_FLAGS, "FROM").text("platform")
            words = split_blanks(node.rest)
            name = _stage_name(words)
        except InvalidError as error:
            raise self._error(error, node) from error
        return Stage(
            index=len(self._drafts),
            base=words[0],
            stage_name=name.lower(),
            written_name=name,
            platform=platform,
            instructions=(),
            keyword=node.keyword,
            text=node.text,
            range=node.range,
            comment=describe(node.comments, name.lower()),
            comments=node.comments,
            as_keyword=words[1] if name else "",
        )

    def _error(self, error: InvalidError, node: Node) -> DockerfileError:
        return self._source.error(error.message, node.range, hint=error.hint)


def _stage_name(words: tuple[str, ...]) -> str:
    if len(words) == 1:
        return ""
    if len(words) != 3 or words[1].lower() != "as":
        raise InvalidError(
            "FROM takes an image, or an image, AS and a name", hint="write FROM IMAGE or FROM IMAGE AS NAME"
        )
    if _STAGE_NAME.fullmatch(words[2].lower()) is None:
        raise InvalidError(
            f"invalid stage name {words[2]!r}",
            hint="a stage name begins with a letter and has letters, digits, and . _ - after it",
        )
    return words[2]
