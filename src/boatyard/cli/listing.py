"""The options that all commands share which list something, and printing what they list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from boatyard.cli.console import Console
from boatyard.cli.table import Row, listing

F = TypeVar("F", bound=Callable[..., Any])

FORMAT_HELP = "table, json (an object a line), or a template: '{{.Name}}', 'table {{.A}}\\t{{.B}}'."


def format_option(function: F) -> F:
    return click.option("--format", "form", default="table", metavar="FORMAT", help=FORMAT_HELP)(function)


def filter_option(*short: str) -> Callable[[F], F]:
    text = "Only what matches; may be given several times."
    return click.option(*short, "--filter", "filters", multiple=True, metavar="KEY=VALUE", help=text)


def quiet_option(what: str) -> Callable[[F], F]:
    return click.option("-q", "--quiet", is_flag=True, help=f"Show {what} only.")


def show(
    console: Console, rows: Sequence[Row], headers: Mapping[str, str], form: str = "table", *, quiet: str = ""
) -> None:
    console.out("".join(line + "\n" for line in listing(rows, headers, form, quiet=quiet)))


def confirmed(console: Console, question: str, *, force: bool) -> bool:
    """Ask before something is lost. Without a terminal to ask on, `--force` is needed."""
    from boatyard.errors import InvalidError

    if force:
        return True
    if not console.in_terminal:
        raise InvalidError("this asks before it removes, and standard input is no terminal", hint="add --force")
    console.err(f"{question} [y/N] ")
    return input().strip().lower() in ("y", "yes")


def each(console: Console, lines: Iterable[str]) -> None:
    console.out("".join(line + "\n" for line in lines))
