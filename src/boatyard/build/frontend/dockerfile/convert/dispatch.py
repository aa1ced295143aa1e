"""An instruction to the function that converts it, with its variables expanded.

Whatever goes wrong on the way is told with the instruction's place in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from boatyard.build.frontend.dockerfile import instructions, lint_build, shell
from boatyard.build.frontend.dockerfile.ast import Range, Source
from boatyard.build.frontend.dockerfile.convert import arguments, metadata, process, run, transfer, workdir
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step
from boatyard.build.frontend.dockerfile.expansion import expand_instruction
from boatyard.build.frontend.dockerfile.instructions import Instruction
from boatyard.errors import (
    BoatyardError,
    BuildError,
    CancelledBuildError,
    DockerfileError,
    InvalidError,
    NotFoundError,
    SourceDeniedError,
)

_CONVERTERS: dict[type[Instruction], Callable[[Conversion, StageBuild, Step, Any], None]] = {
    instructions.Add: transfer.add,
    instructions.Cmd: process.cmd,
    instructions.Copy: transfer.copy,
    instructions.Entrypoint: process.entrypoint,
    instructions.Env: metadata.env,
    instructions.Expose: metadata.expose,
    instructions.Healthcheck: process.healthcheck,
    instructions.Label: metadata.label,
    instructions.Maintainer: metadata.maintainer,
    instructions.Onbuild: metadata.onbuild,
    instructions.Shell: process.shell,
    instructions.Stopsignal: process.stopsignal,
    instructions.User: process.user,
    instructions.Volume: metadata.volume,
    instructions.Workdir: workdir.workdir,
}
_WITH_WORDS: dict[type[Instruction], Callable[[Conversion, StageBuild, Step, Any, Callable[[str], str]], None]] = {
    instructions.Arg: arguments.arg,
    instructions.Run: run.run,
}
"""Those that expand words of theirs themselves."""


def convert(build: Conversion, stage: StageBuild, step: Step) -> None:
    """Let one instruction take effect on its stage."""
    instruction = step.instruction
    stage.in_trigger = step.trigger
    words = _Words(build, stage, instruction)
    try:
        if (with_words := _WITH_WORDS.get(type(instruction))) is not None:
            stage.checks.check(instruction, has_shell=stage.image.shell is not None)
            with_words(build, stage, step, instruction, words.one)
        else:
            expanded = expand_instruction(instruction, word=words.one, body=words.body, split=words.several)
            stage.checks.check(expanded, has_shell=stage.image.shell is not None)
            _CONVERTERS[type(instruction)](build, stage, step, expanded)
    except BoatyardError as error:
        raise located(error, build, instruction.range) from error


class _Words:
    """Expands words of one instruction, and remarks on variables that don't exist."""

    def __init__(self, build: Conversion, stage: StageBuild, instruction: Instruction) -> None:
        self._build = build
        self._stage = stage
        self._instruction = instruction

    def one(self, text: str) -> str:
        escape = self._build.escape
        if "$" not in text:
            return shell.expand_word(text, self._stage.env, escape=escape)
        return self._checked(shell.expand(text, self._stage.env, escape=escape)).text

    def several(self, text: str) -> tuple[str, ...]:
        return self._checked(shell.expand(text, self._stage.env, escape=self._build.escape)).words

    def body(self, text: str) -> str:
        return self._checked(shell.expand(text, self._stage.env, ignore_quotes=True)).text

    def _checked(self, expansion: shell.Expansion) -> shell.Expansion:
        unmatched = [name for name in expansion.unmatched if name not in arguments.NOT_IN_ENVIRONMENT]
        if unmatched:
            lint_build.undefined_variables(
                self._build.report.scoped(self._instruction.comments),
                self._instruction.range,
                unmatched,
                self._stage.arguments,
                self._stage.env,
            )
        return expansion


def located(error: BoatyardError, build: Conversion, range: Range) -> BoatyardError:
    """The error with its place in the Dockerfile. It stays of its class where that tells more than that the file is
    wrong."""
    if isinstance(error, BuildError | CancelledBuildError):
        return error
    if isinstance(error, InvalidError | NotFoundError | SourceDeniedError):
        source = Source(build.dockerfile.filename, build.dockerfile.source)
        found: DockerfileError = source.error(error.message, range, hint=error.hint)
        return found
    return type(error)(f"{error.message} ({build.dockerfile.filename}:{range.start})", hint=error.hint)
