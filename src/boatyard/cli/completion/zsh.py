"""The completion script for zsh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boatyard.cli.tree import Command

_HEAD = """\
#compdef boat
# zsh completion for boat. Made by `boat completion zsh`.

_boat_images() {
    local -a images
    boat daemon status >/dev/null 2>&1 || return
    images=(${(f)"$(boat images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null | grep -v '<none>')"})
    compadd -- $images
}

_boat() {
    local place='boat' word i
    local -a options commands
    local images='' files='' values=''
    local current="${words[CURRENT]}" before="${words[CURRENT-1]}"
    if [[ $current == --*=* ]]; then
        before="${current%%=*}"
        compset -P '*='
    fi
    for ((i = 2; i < CURRENT; i++)); do
        word="${words[i]}"
        case "$place $word" in
"""

_MIDDLE = """\
                place="$place $word" ;;
        esac
    done
    case "$place" in
"""

_VALUES = """\
    esac
    case "$place $before" in
"""

_TAIL = """\
    esac
    if [[ $values == FILES ]]; then
        _files
    elif [[ $values == ANY ]]; then
        _message value
    elif [[ -n $values ]]; then
        compadd -- ${=values}
    elif [[ $current == -* ]]; then
        _describe -o option options
    else
        (( $#commands )) && _describe command commands
        [[ -n $images ]] && _boat_images
        [[ -n $files ]] && _files
    fi
    return 0
}

if [[ $funcstack[1] == _boat ]]; then
    _boat "$@"
else
    compdef _boat boat
fi
"""


def script(commands: Sequence[Command]) -> str:
    return "".join(_pieces(commands))


def _pieces(commands: Sequence[Command]) -> Iterator[str]:
    yield _HEAD
    yield "            " + " | ".join(f"'{command.name}'" for command in commands if command.path) + ")\n"
    yield _MIDDLE
    for command in commands:
        yield f"        '{command.name}')\n            options=(\n"
        for option in command.options:
            for name in option.names:
                yield f"                {_described(name, option.help)}\n"
        yield "            )\n"
        if command.commands:
            yield "            commands=(\n"
            for name, summary in command.commands.items():
                yield f"                {_described(name, summary)}\n"
            yield "            )\n"
        yield "            images=1\n" if command.takes_images else ""
        yield "            files=1\n" if command.takes_files else ""
        yield "            ;;\n"
    yield _VALUES
    for command in commands:
        for option in command.options:
            if option.value:
                values = " ".join(option.choices) or ("FILES" if option.takes_files else "ANY")
                yield "        " + " | ".join(f"'{command.name} {name}'" for name in option.names)
                yield f")\n            values='{values}' ;;\n"
    yield _TAIL


def _described(name: str, text: str) -> str:
    return "'" + f"{name}:{text.replace(':', '')}".replace("'", "'\\''") + "'"
