"""How each instruction is written: one function an instruction, from its text to its value.

They raise InvalidError; the parser adds the place. Variables are not expanded and quotes stay where they are.

Specification: the Dockerfile reference, version 1.26.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from boatyard.build.frontend.dockerfile.ast import BLANKS, Node
from boatyard.build.frontend.dockerfile.durations import parse_duration
from boatyard.build.frontend.dockerfile.flags import Flags, Kind, parse_flags
from boatyard.build.frontend.dockerfile.heredoc import parse_heredoc
from boatyard.build.frontend.dockerfile.instructions import (
    Add,
    Arg,
    Argument,
    Cmd,
    CommandLine,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    InlineFile,
    Instruction,
    KeyValue,
    Label,
    Maintainer,
    Network,
    Onbuild,
    Run,
    Security,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from boatyard.build.frontend.dockerfile.lex import inner_node
from boatyard.build.frontend.dockerfile.mounts import parse_device_flag, parse_mount_flag
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.build.frontend.dockerfile.words import BETWEEN, parse_json_words, split_blanks, split_quoted
from boatyard.errors import InvalidError

Form = Callable[[Node, str], Instruction]
"""From an instruction's text and the escape character to its value."""

_TRANSFER_FLAGS = {
    "chown": Kind.TEXT,
    "chmod": Kind.TEXT,
    "link": Kind.TRUTH,
    "exclude": Kind.TEXTS,
}
_ADD_FLAGS = {
    **_TRANSFER_FLAGS,
    "keep-git-dir": Kind.TRUTH,
    "checksum": Kind.TEXT,
    "unpack": Kind.TRUTH,
}
_COPY_FLAGS = {**_TRANSFER_FLAGS, "from": Kind.TEXT, "parents": Kind.TRUTH}
_RUN_FLAGS = {"mount": Kind.TEXTS, "network": Kind.TEXT, "security": Kind.TEXT, "device": Kind.TEXTS}
_HEALTH_DURATIONS = ("interval", "timeout", "start-period", "start-interval")
_HEALTH_FLAGS = {**dict.fromkeys(_HEALTH_DURATIONS, Kind.TEXT), "retries": Kind.TEXT}
_SHORTEST_INTERVAL = 1_000_000
"""Nanoseconds."""
_MOST_RETRIES = 2**31 - 1
_EXAMPLES = {
    "ARG": "ARG NAME or ARG NAME=DEFAULT",
    "ENV": "ENV NAME=VALUE",
    "EXPOSE": "EXPOSE 8080/tcp",
    "LABEL": "LABEL NAME=VALUE",
    "MAINTAINER": "MAINTAINER NAME",
    "SHELL": 'SHELL ["/bin/bash", "-c"]',
    "STOPSIGNAL": "STOPSIGNAL SIGTERM",
    "USER": "USER NAME or USER NAME:GROUP",
    "VOLUME": "VOLUME /path",
    "WORKDIR": "WORKDIR /path",
}
_NOT_TRIGGERS = ("FROM", "MAINTAINER", "ONBUILD")
_ONBUILD = re.compile(rf"[{BLANKS}]*ONBUILD[{BLANKS}]*", re.IGNORECASE)


def describe(comments: Sequence[str], name: str) -> str:
    """The description in a comment `name description`, or ""."""
    for comment in comments if name else ():
        if comment.startswith(name + " "):
            return comment[len(name) + 1 :]
    return ""


# -- files -----------------------------------------------------------------------------------------------------------


def _add(node: Node, escape: str) -> Add:
    flags = parse_flags(node.flags, _ADD_FLAGS, "ADD")
    return Add(
        **_common(node, flags),
        **_transfer(node, flags),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.truth("keep-git-dir"),
        unpack=flags.truth("unpack"),
    )


def _copy(node: Node, escape: str) -> Copy:
    flags = parse_flags(node.flags, _COPY_FLAGS, "COPY")
    return Copy(
        **_common(node, flags),
        **_transfer(node, flags),
        from_=flags.text("from"),
        parents=flags.truth("parents") or False,
    )


def _transfer(node: Node, flags: Flags) -> dict[str, Any]:
    words = _json_or_blanks(node)
    if len(words) < 2:
        raise InvalidError(
            f"{node.name} takes at least a source and a destination, but has {'one argument' if words else 'neither'}",
            hint=f"write {node.name} SOURCE... DESTINATION",
        )
    *sources, destination = words
    if parse_heredoc(destination) is not None:
        raise InvalidError(
            f"the destination of {node.name} can't be a heredoc",
            hint="a heredoc is a source; the destination follows it",
        )
    paths, inline = _split_sources(sources, node)
    return {
        "sources": paths,
        "destination": destination,
        "inline": inline,
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": flags.truth("link") or False,
        "exclude": flags.texts("exclude"),
    }


def _split_sources(sources: Sequence[str], node: Node) -> tuple[tuple[str, ...], tuple[InlineFile, ...]]:
    """Paths and heredocs, each in order."""
    paths: list[str] = []
    inline: list[InlineFile] = []
    bodies = list(node.heredocs)
    for source in sources:
        announced = parse_heredoc(source)
        if announced is None:
            paths.append(source)
        elif bodies and bodies[0].name == announced.name:
            inline.append(InlineFile(announced.name, bodies.pop(0).chomped(), announced.expand))
        else:
            raise InvalidError(f"{source} has no body", hint="a heredoc can't be given in a JSON array")
    if bodies:
        name = bodies[0].name
        raise InvalidError(f"the heredoc {name} is no source of its own", hint=f"write <<{name} without blanks in it")
    return tuple(paths), tuple(inline)


def _workdir(node: Node, escape: str) -> Workdir:
    return Workdir(**_plain(node), path=_one_argument(node))


def _volume(node: Node, escape: str) -> Volume:
    common = _plain(node)
    paths = tuple(word.strip(BLANKS) for word in _at_least_one(node, _json_or_blanks(node)))
    if "" in paths:
        raise InvalidError("a path of VOLUME is empty", hint='write VOLUME /path or VOLUME ["/path", "/other"]')
    return Volume(**common, paths=paths)


# -- processes -------------------------------------------------------------------------------------------------------


def _run(node: Node, escape: str) -> Run:
    flags = parse_flags(node.flags, _RUN_FLAGS, "RUN")
    return Run(
        **_common(node, flags),
        command=_command(node),
        mounts=tuple(parse_mount_flag(text) for text in flags.texts("mount")),
        network=_choice(Network, flags.text("network", "default"), "--network"),
        security=_choice(Security, flags.text("security", "sandbox"), "--security"),
        devices=tuple(parse_device_flag(text) for text in flags.texts("device")),
    )


def _cmd(node: Node, escape: str) -> Cmd:
    return Cmd(**_plain(node), command=_command(node))


def _entrypoint(node: Node, escape: str) -> Entrypoint:
    return Entrypoint(**_plain(node), command=_command(node))


def _shell(node: Node, escape: str) -> Shell:
    common = _plain(node)
    words = parse_json_words(node.rest)
    if words is None:
        raise InvalidError("SHELL takes a JSON array", hint='write SHELL ["/bin/bash", "-c"], with double quotes')
    return Shell(**common, words=_at_least_one(node, words))


def _healthcheck(node: Node, escape: str) -> Healthcheck:
    flags = parse_flags(node.flags, _HEALTH_FLAGS, "HEALTHCHECK")
    kind, _, rest = _partition_blanks(node.rest)
    if kind.upper() == "NONE":
        if rest:
            raise InvalidError("HEALTHCHECK NONE takes no arguments", hint="it switches off the base image's check")
        return Healthcheck(**_common(node, flags), test=("NONE",))
    if kind.upper() != "CMD":
        raise InvalidError(
            f"HEALTHCHECK can't be of the kind {kind!r}" if kind else "HEALTHCHECK has no arguments",
            hint="write HEALTHCHECK [FLAGS] CMD COMMAND, or HEALTHCHECK NONE",
        )
    words = parse_json_words(rest)
    test = ("CMD-SHELL", rest) if words is None else ("CMD", *words)
    if not rest or len(test) == 1:
        raise InvalidError("HEALTHCHECK CMD has no command", hint="write HEALTHCHECK CMD COMMAND")
    durations = {flag: _interval(flag, flags.text(flag)) for flag in _HEALTH_DURATIONS}
    return Healthcheck(
        **_common(node, flags),
        test=test,
        interval=durations["interval"],
        timeout=durations["timeout"],
        start_period=durations["start-period"],
        start_interval=durations["start-interval"],
        retries=_retries(flags.text("retries")),
    )


def _interval(flag: str, value: str) -> int:
    if not value:
        return 0
    duration = parse_duration(value)
    if duration != 0 and duration < _SHORTEST_INTERVAL:
        raise InvalidError(f"--{flag}={value} is shorter than 1ms", hint="0 stands for the default")
    return duration


def _retries(value: str) -> int:
    digits = value.removeprefix("+")
    if not value:
        return 0
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 20 or int(digits) > _MOST_RETRIES:
        raise InvalidError(f"--retries={value} is no count", hint="write a whole number, for instance --retries=3")
    return int(digits)


def _stopsignal(node: Node, escape: str) -> Stopsignal:
    return Stopsignal(**_plain(node), signal=_one_argument(node))


def _user(node: Node, escape: str) -> User:
    return User(**_plain(node), user=_one_argument(node))


def _command(node: Node) -> CommandLine:
    words = parse_json_words(node.rest) if node.rest else None
    if words is not None:
        return CommandLine(words, shell=False)
    return CommandLine((node.rest,) if node.rest else (), shell=True, files=node.heredocs)


# -- metadata --------------------------------------------------------------------------------------------------------


def _arg(node: Node, escape: str) -> Arg:
    common = _plain(node)
    arguments: list[Argument] = []
    for word in _at_least_one(node, split_quoted(node.rest, escape)):
        key, given, value = word.partition("=")
        if not key:
            raise InvalidError(f"an ARG has no name in {word!r}", hint="write ARG NAME or ARG NAME=DEFAULT")
        arguments.append(Argument(key, value if given else None, describe(node.comments, key)))
    return Arg(**common, arguments=tuple(arguments))


def _env(node: Node, escape: str) -> Env:
    return Env(**_plain(node), pairs=_pairs(node, escape))


def _label(node: Node, escape: str) -> Label:
    return Label(**_plain(node), pairs=_pairs(node, escape))


def _pairs(node: Node, escape: str) -> tuple[KeyValue, ...]:
    words = _at_least_one(node, split_quoted(node.rest, escape))
    if "=" not in words[0]:
        key, between, value = _partition_blanks(node.rest)
        if not between:
            raise InvalidError(f"{node.name} {key} has no value", hint=f"write {node.name} {key}=VALUE")
        return (KeyValue(key, value, legacy=True),)
    pairs: list[KeyValue] = []
    for word in words:
        key, given, value = word.partition("=")
        if not given:
            raise InvalidError(
                f"{node.name} has {word!r} without a =",
                hint='a value with blanks is quoted: NAME="one two", or NAME=one\\ two',
            )
        if not key:
            raise InvalidError(f"{node.name} has {word!r} without a name", hint=f"write {node.name} NAME=VALUE")
        pairs.append(KeyValue(key, value))
    return tuple(pairs)


def _expose(node: Node, escape: str) -> Expose:
    return Expose(**_plain(node), ports=tuple(sorted(_at_least_one(node, split_blanks(node.rest)))))


def _maintainer(node: Node, escape: str) -> Maintainer:
    return Maintainer(**_plain(node), maintainer=_one_argument(node))


def _onbuild(node: Node, escape: str) -> Onbuild:
    common = _plain(node)
    if not node.rest:
        raise InvalidError(
            "ONBUILD has no instruction", hint="write ONBUILD INSTRUCTION, for instance ONBUILD COPY . /src"
        )
    inner = inner_node(node, escape)
    if inner.name in _NOT_TRIGGERS:
        raise InvalidError(
            f"{inner.name} can't be an ONBUILD trigger", hint="triggers run in the stage that is built on this"
        )
    form = FORMS.get(inner.name)
    if form is None:
        guess = did_you_mean(inner.keyword, FORMS, ignore_case=True)
        raise InvalidError(
            f"unknown instruction in ONBUILD: {inner.keyword}{guess}", hint=f"instructions are {', '.join(FORMS)}"
        )
    form(inner, escape)
    expression = _ONBUILD.sub("", node.text, count=1)
    bodies = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in node.heredocs)
    return Onbuild(**common, expression=expression + bodies)


# -- what they share -------------------------------------------------------------------------------------------------


_Choice = TypeVar("_Choice", bound=StrEnum)


def _common(node: Node, flags: Flags) -> dict[str, Any]:
    return {
        "keyword": node.keyword,
        "text": node.text,
        "range": node.range,
        "flags": flags.names,
        "comments": node.comments,
    }


def _plain(node: Node) -> dict[str, Any]:
    """For the instructions without flags."""
    return _common(node, parse_flags(node.flags, {}, node.name))


def _json_or_blanks(node: Node) -> tuple[str, ...]:
    words = parse_json_words(node.rest)
    return split_blanks(node.rest) if words is None else words


def _partition_blanks(text: str) -> tuple[str, bool, str]:
    first, *rest = BETWEEN.split(text, maxsplit=1)
    return first, bool(rest), rest[0] if rest else ""


def _at_least_one(node: Node, words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise InvalidError(
            f"{node.name} takes at least one argument, but has none", hint=f"write {_EXAMPLES[node.name]}"
        )
    return words


def _one_argument(node: Node) -> str:
    if not node.rest:
        raise InvalidError(f"{node.name} takes one argument, but has none", hint=f"write {_EXAMPLES[node.name]}")
    return node.rest


def _choice(kind: type[_Choice], value: str, flag: str) -> _Choice:
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidError(
            f"{flag} can't be {value!r}{did_you_mean(value, kind)}", hint=f"it is one of {', '.join(kind)}"
        ) from error


FORMS: Mapping[str, Form] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
"""All but FROM, which begins a stage and is the parser's."""
