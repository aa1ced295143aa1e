"""A click command that takes boolean flags the way Docker's do: `--pull`, `--pull=true`, `--pull=false`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

_TRUE = ("true", "1", "t")
_FALSE = ("false", "0", "f")


class FlaggedCommand(click.Command):
    """`bare` names options whose value may be left out; a value is always joined to them by `=`."""

    def __init__(self, *arguments: object, bare: dict[str, str] | None = None, **attributes: object) -> None:
        super().__init__(*arguments, **attributes)  # type: ignore[arg-type]
        self.bare = bare or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [parameter for parameter in self.params if isinstance(parameter, click.Option) and parameter.is_flag]
        # What a flag's `=false` is written as: its opposite, where there is one, else nothing.
        flags = {name: "".join(option.secondary_opts[:1]) for option in options for name in option.opts}
        return super().parse_args(ctx, list(_normalised(args, flags, self.bare)))


def _normalised(arguments: list[str], flags: Mapping[str, str], bare: Mapping[str, str]) -> Iterator[str]:
    for at, argument in enumerate(arguments):
        if argument == "--":
            yield from arguments[at:]
            return
        name, equals, value = argument.partition("=")
        if argument in bare:
            yield f"{argument}={bare[argument]}"
        elif equals and name in flags and value.lower() in _TRUE:
            yield name
        elif equals and name in flags and value.lower() in _FALSE:
            yield from (word for word in [flags[name]] if word)
        else:
            yield argument
