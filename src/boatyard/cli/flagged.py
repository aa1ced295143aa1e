"""A click command that takes boolean flags the way Docker's do: `--pull`, `--pull=true`, `--pull=false`."""

from __future__ import annotations

from collections.abc import Iterator

import click

_TRUE = ("true", "1", "t")
_FALSE = ("false", "0", "f")


class FlaggedCommand(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(self._normalised(args, ctx.allow_interspersed_args)))

    def _normalised(self, arguments: list[str], interspersed: bool) -> Iterator[str]:
        """The same command line in click's words. Short options become long ones too: click looks for near misses
        among the long ones first, which loads a library for each `-t`."""
        options = {name: option for option in self.params if isinstance(option, click.Option) for name in option.opts}
        rest = iter(arguments)
        for argument in rest:
            name, equals, value = argument.partition("=")
            option = options.get(name)
            if argument == "--" or (not argument.startswith("-") and not interspersed):
                yield argument
                yield from rest
            elif option is None or (equals and not name.startswith("--")):
                yield argument
            elif option.is_flag and equals and value.lower() in _TRUE:
                yield name
            elif option.is_flag and equals and value.lower() in _FALSE:
                yield from option.secondary_opts[:1]
            else:
                yield argument if equals else _long(option, name)
                if not option.is_flag and not equals:
                    yield from _next(rest)


def _long(option: click.Option, name: str) -> str:
    return name if name.startswith("--") else next((known for known in option.opts if known.startswith("--")), name)


def _next(rest: Iterator[str]) -> Iterator[str]:
    for value in rest:
        yield value
        return
