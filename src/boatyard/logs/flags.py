"""Command lines as Go's flag package reads them: `-x value`, `-x=value`, `--x value`, and switches `-x`, `-x=false`.

For the programs that have LinuxKit's flags. Flags end at the first argument that is none, or at `--`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

Value = str | int | bool | tuple[str, ...]

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class Flag:
    """Its default tells what it takes: a string, a number, nothing (a switch), or strings (it may be repeated)."""

    __slots__ = ("default", "help", "name", "word")

    def __init__(self, name: str, default: Value, help: str, word: str = "") -> None:
        self.name = name
        self.default = default
        self.help = help
        self.word = word or {str: "string", int: "int", bool: "", tuple: "string"}[type(default)]


class UsageError(Exception):
    """The command line makes no sense: the message says why."""


class HelpWanted(Exception):  # noqa: N818  # not an error
    """`-h`, and there is no such flag."""


def parse(flags: Sequence[Flag], arguments: Sequence[str]) -> tuple[dict[str, Value], list[str]]:
    """All flags' values by name, and the arguments behind them. UsageError or HelpWanted."""
    known = {flag.name: flag for flag in flags}
    values: dict[str, Value] = {flag.name: flag.default for flag in flags}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if argument == "--":
            break
        name, equals, text = argument.removeprefix("-").removeprefix("-").partition("=")
        flag = known.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpWanted
            raise UsageError(f"flag provided but not defined: -{name}")
        if isinstance(flag.default, bool):
            text = text if equals else "true"
        elif not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            text = rest.pop(0)
        value = _value(flag, text)
        before = values[name]
        values[name] = (*before, *value) if isinstance(before, tuple) and isinstance(value, tuple) else value
    return values, rest


def usage(program: str, flags: Sequence[Flag], arguments: str = "") -> str:
    lines = [f"Usage of {program}:" if not arguments else f"Usage: {program} [flags] {arguments}"]
    for flag in flags:
        lines.append(f"  -{flag.name} {flag.word}".rstrip())
        default = f" (default {flag.default})" if flag.default not in ("", 0, False, ()) else ""
        lines.append(f"    \t{flag.help}{default}")
    return "\n".join(lines) + "\n"


def parse_or_exit(
    program: str, flags: Sequence[Flag], arguments: Sequence[str], words: str = ""
) -> tuple[dict[str, Value], list[str]]:
    """The same for a program: prints what is wrong, and ends it with 2, or with 0 after `-h`."""
    try:
        return parse(flags, arguments)
    except HelpWanted:
        sys.stderr.write(usage(program, flags, words))
        raise SystemExit(0) from None
    except UsageError as error:
        sys.stderr.write(f"{error}\n{usage(program, flags, words)}")
        raise SystemExit(2) from None


def _value(flag: Flag, text: str) -> Value:
    if isinstance(flag.default, bool):
        if text not in _TRUE + _FALSE:
            raise UsageError(f'invalid boolean value "{text}" for -{flag.name}')
        return text in _TRUE
    if isinstance(flag.default, int):
        try:
            return int(text, 0)
        except ValueError:
            raise UsageError(f'invalid value "{text}" for flag -{flag.name}: parse error') from None
    if isinstance(flag.default, tuple):
        return (text,)
    return text
