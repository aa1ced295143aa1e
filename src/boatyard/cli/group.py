"""A click group whose commands are imported when they are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from boatyard.cli.commands import Entry
from boatyard.cli.suggest import nearest


class LazyGroup(click.Group):
    """`table` is read for lists and help; a module is imported only for the command that is run."""

    def __init__(self, *, table: Mapping[str, Entry], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.table.get(cmd_name)
        if entry is None:
            entry = next((known for known in self.table.values() if cmd_name in known.aliases), None)
        return None if entry is None else load(cmd_name, entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            match = nearest(name, self.table)
            path = ctx.command_path
            remedy = f"did you mean `{path} {match}`?" if match else f"`{path} --help` lists the commands"
            raise click.UsageError(f"there is no command {name!r}; {remedy}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.table.items():
            sections.setdefault(entry.section, []).append((name, entry.summary))
        width = max(map(len, self.table))
        for section, rows in sections.items():
            with formatter.section(section or "Commands"):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in rows])


def load(name: str, entry: Entry) -> click.Command:
    """The command itself. Its module is imported here."""
    if entry.table is not None:
        return LazyGroup(
            name=name, table=entry.table, help=f"{entry.summary}.", no_args_is_help=True, context_settings=SETTINGS
        )
    module, _, attribute = entry.target.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
