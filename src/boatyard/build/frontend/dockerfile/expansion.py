"""Instructions with their variables expanded, once the stage's environment is known.

What is expanded, and what isn't, is the language's: RUN, CMD, ENTRYPOINT and HEALTHCHECK leave variables to the shell,
`COPY --from` and the mounts' `from` name stages, and so can't have any. An ARG's words are expanded one by one by
the converter, since a build argument may take the place of the default. Mounts: `mounts.parse_mount`. The words of
EXPOSE split when a variable has blanks in it.

Specification: the Dockerfile reference, "Environment replacement".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from boatyard.build.frontend.dockerfile.instructions import (
    Add,
    Copy,
    Env,
    Expose,
    InlineFile,
    Instruction,
    KeyValue,
    Label,
    Stopsignal,
    User,
    Volume,
    Workdir,
)

Expand = Callable[[str], str]
"""A word to its value."""
Split = Callable[[str], tuple[str, ...]]
"""A word to the words it becomes."""


def expand_instruction(instruction: Instruction, word: Expand, *, body: Expand, split: Split) -> Instruction:
    """The instruction with its words put through `word`, the bodies of its heredocs through `body` and what may
    become several words through `split`. What they raise goes through.

    With the functions of `shell`: `word` is `expand_word` with the file's escape character, `split` the words of
    `expand`, and `body` is `expand` with `ignore_quotes` and a backslash as escape character, whatever the file's
    is."""
    match instruction:
        case Add():
            return replace(
                instruction,
                sources=tuple(map(word, instruction.sources)),
                destination=word(instruction.destination),
                inline=_inline(instruction.inline, body),
                chown=word(instruction.chown),
                chmod=word(instruction.chmod),
                checksum=word(instruction.checksum),
            )
        case Copy():
            return replace(
                instruction,
                sources=tuple(map(word, instruction.sources)),
                destination=word(instruction.destination),
                inline=_inline(instruction.inline, body),
                chown=word(instruction.chown),
                chmod=word(instruction.chmod),
            )
        case Env() | Label():
            return replace(instruction, pairs=_pairs(instruction.pairs, word))
        case Expose():
            return replace(instruction, ports=tuple(port for text in instruction.ports for port in split(text)))
        case Stopsignal():
            return replace(instruction, signal=word(instruction.signal))
        case User():
            return replace(instruction, user=word(instruction.user))
        case Volume():
            return replace(instruction, paths=tuple(map(word, instruction.paths)))
        case Workdir():
            return replace(instruction, path=word(instruction.path))
        case _:
            return instruction


def _inline(files: tuple[InlineFile, ...], body: Expand) -> tuple[InlineFile, ...]:
    return tuple(replace(file, data=body(file.data)) if file.expand else file for file in files)


def _pairs(pairs: tuple[KeyValue, ...], word: Expand) -> tuple[KeyValue, ...]:
    return tuple(replace(pair, key=word(pair.key), value=word(pair.value)) for pair in pairs)
