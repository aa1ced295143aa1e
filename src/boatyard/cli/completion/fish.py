"""The completion script for fish (3 and newer)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boatyard.cli.tree import Command, Option

_HEAD = """\
# fish completion for boat. Made by `boat completion fish`.

function __boat_at
    set -l where boat
    for word in (commandline -opc)[2..-1]
        switch "$where $word"
            case %s
                set where "$where $word"
        end
    end
    test "$where" = "$argv"
end

function __boat_images
    boat daemon status >/dev/null 2>&1; or return
    boat images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null | string match -v '*<none>*'
end

complete -c boat -f
"""


def script(commands: Sequence[Command]) -> str:
    return "".join(_pieces(commands))


def _pieces(commands: Sequence[Command]) -> Iterator[str]:
    yield _HEAD % " ".join(f"'{command.name}'" for command in commands if command.path)
    for command in commands:
        at = f"complete -c boat -n '__boat_at {command.name}'"
        for name, summary in command.commands.items():
            yield f"{at} -a {name} -d {_quoted(summary)}\n"
        yield f"{at} -a '(__boat_images)'\n" if command.takes_images else ""
        yield f"{at} -F\n" if command.takes_files else ""
        for option in command.options:
            yield f"{at}{_names(option)} -d {_quoted(option.help)}{_value(option)}\n"


def _names(option: Option) -> str:
    return "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names)


def _value(option: Option) -> str:
    if not option.value:
        return ""
    if option.choices:
        return f" -x -a '{' '.join(option.choices)}'"
    return " -r -F" if option.takes_files else " -x"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
