"""The completion script for bash (4 and newer; the bash-completion package is not needed)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boatyard.cli.tree import Command

_HEAD = """\
# bash completion for boat. Made by `boat completion bash`.

_boat_images() {
    boat daemon status >/dev/null 2>&1 || return
    boat images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null | grep -v '<none>'
}

_boat() {
    local cur prev where word i options='' commands='' images='' files='' values=''
    cur="${COMP_WORDS[COMP_CWORD]}"
    prev="${COMP_WORDS[COMP_CWORD-1]}"
    # Bash splits --flag=value and name:tag into words of their own.
    if [[ $cur == '=' ]]; then
        cur=''
    elif [[ $prev == '=' ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
    COMPREPLY=()
    where='boat'
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        case "$where $word" in
"""

_MIDDLE = """\
                where="$where $word" ;;
        esac
    done
    case "$where" in
"""

_VALUES = """\
    esac
    case "$where $prev" in
"""

_TAIL = """\
    esac
    if [[ -n $values ]]; then
        [[ $values == FILES ]] && compopt -o filenames 2>/dev/null
        [[ $values == FILES ]] && COMPREPLY=($(compgen -f -- "$cur"))
        [[ $values == FILES || $values == ANY ]] || COMPREPLY=($(compgen -W "$values" -- "$cur"))
        return
    fi
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
        return
    fi
    COMPREPLY=($(compgen -W "$commands" -- "$cur"))
    if [[ -n $images ]]; then
        local whole="$cur" back=''
        if [[ ${COMP_WORDS[COMP_CWORD]} == ':' ]]; then
            whole="$prev:" back="$prev:"
        elif [[ $prev == ':' ]]; then
            whole="${COMP_WORDS[COMP_CWORD-2]}:$cur" back="${COMP_WORDS[COMP_CWORD-2]}:"
        fi
        local found
        for found in $(compgen -W "$(_boat_images)" -- "$whole"); do
            COMPREPLY+=("${found#"$back"}")
        done
    fi
    if [[ -n $files ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY+=($(compgen -f -- "$cur"))
    fi
}

complete -F _boat boat
"""


def script(commands: Sequence[Command]) -> str:
    return "".join(_pieces(commands))


def _pieces(commands: Sequence[Command]) -> Iterator[str]:
    yield _HEAD
    yield "            " + " | ".join(f"'{command.name}'" for command in commands if command.path) + ")\n"
    yield _MIDDLE
    for command in commands:
        options = " ".join(name for option in command.options for name in option.names)
        yield f"        '{command.name}')\n            options='{options}'\n"
        if command.commands:
            yield f"            commands='{' '.join(command.commands)}'\n"
        if command.takes_images:
            yield "            images=1\n"
        if command.takes_files:
            yield "            files=1\n"
        yield "            ;;\n"
    yield _VALUES
    for command in commands:
        for option in command.options:
            if option.value:
                values = " ".join(option.choices) or ("FILES" if option.takes_files else "ANY")
                yield "        " + " | ".join(f"'{command.name} {name}'" for name in option.names)
                yield f")\n            values='{values}' ;;\n"
    yield _TAIL
