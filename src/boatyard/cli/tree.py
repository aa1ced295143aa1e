"""All commands with their options, as values: what completion scripts and the reference page are made of. Imports
every command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from boatyard.cli.commands import COMMANDS, Entry
from boatyard.cli.group import load
from boatyard.cli.program import root


@dataclass(frozen=True, slots=True)
class Option:
    """`value` is what its value is called, empty for a flag. `choices`: the only values there are."""

    names: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def takes_files(self) -> bool:
        return any(word in self.value for word in ("FILE", "DIR", "PATH", "SOURCE"))


@dataclass(frozen=True, slots=True)
class Command:
    """`path`: the words after `boat`. `commands`: name -> summary of what is below a group."""

    path: tuple[str, ...]
    summary: str
    help: str
    usage: str
    options: tuple[Option, ...]
    commands: Mapping[str, str]
    takes_images: bool = False
    takes_files: bool = False

    @property
    def name(self) -> str:
        return " ".join(("boat", *self.path))


def walk() -> Iterator[Command]:
    """`boat` itself first, then every command, each group before what is in it."""
    context = click.Context(root, info_name="boat", **root.context_settings)
    yield _command((), "Build, keep and run OCI images", root, context, COMMANDS)
    yield from _below((), COMMANDS, context)


def _below(path: tuple[str, ...], table: Mapping[str, Entry], parent: click.Context) -> Iterator[Command]:
    for name, entry in table.items():
        command = load(name, entry)
        context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
        yield _command((*path, name), entry.summary, command, context, entry.table)
        if entry.table is not None:
            yield from _below((*path, name), entry.table, context)


def _command(
    path: tuple[str, ...],
    summary: str,
    command: click.Command,
    context: click.Context,
    table: Mapping[str, Entry] | None,
) -> Command:
    parameters = command.get_params(context)
    arguments = " ".join(
        (parameter.metavar or parameter.name or "").upper()
        for parameter in parameters
        if isinstance(parameter, click.Argument)
    )
    return Command(
        path=path,
        summary=summary,
        help=_paragraphs(command.help or ""),
        usage=" ".join([context.command_path, *command.collect_usage_pieces(context)]),
        options=tuple(
            _option(option, context) for option in parameters if isinstance(option, click.Option) and not option.hidden
        ),
        commands={name: entry.summary for name, entry in (table or {}).items()},
        takes_images="IMAGE" in arguments or (path[-1:] == ("images",)),
        takes_files=any(word in arguments for word in ("FILE", "CONTEXT")),
    )


def _option(option: click.Option, context: click.Context) -> Option:
    names = sorted((*option.opts, *option.secondary_opts), key=lambda name: (name.startswith("--"), len(name)))
    choices = tuple(map(str, option.type.choices)) if isinstance(option.type, click.Choice) else ()
    value = "" if option.is_flag else "|".join(choices) or option.metavar or "VALUE"
    return Option(tuple(names), value, option.help or "", choices)


def _paragraphs(text: str) -> str:
    """The help without click's own marks and indentation."""
    import inspect

    return inspect.cleandoc(text).replace("\b\n", "\n").strip()
