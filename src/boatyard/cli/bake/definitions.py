"""The definition a command is about: read, and resolved to what is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boatyard.bake import files, location, overrides, places, reading, resolution
from boatyard.bake.definition import Definition
from boatyard.bake.functions.table import Surroundings
from boatyard.bake.resolution import Resolved
from boatyard.bake.source import Source
from boatyard.cli.bake.flags import BakeFlags
from boatyard.cli.console import Console
from boatyard.errors import InvalidError
from boatyard.image import platform as platforms


@dataclass(frozen=True, slots=True)
class Loaded:
    """`url`: where a remote definition is from. `names`: what is asked for."""

    definition: Definition
    outside: reading.Outside
    names: tuple[str, ...]
    url: str = ""


def load(console: Console, flags: BakeFlags, sources: Sequence[Source] | None = None) -> Loaded:
    """`sources`: the files of a remote definition."""
    url, context, names = addressed(flags.targets)
    directory = os.getcwd()
    outside = reading.Outside(
        directory=directory,
        environment=console.environment,
        variables=variables(flags.var),
        builtin={"BAKE_CMD_CONTEXT": context, "BAKE_LOCAL_PLATFORM": str(platforms.host_platform())},
        surroundings=Surroundings(home=console.environment.get("HOME") or os.path.expanduser("~")),
    )
    if sources is None:
        sources = files.read(files.named(flags.file, console.environment), directory, sys.stdin.buffer)
    read = reading.read(sources, outside)
    for name in read.unset:
        console.err(
            f"{console.err_style.caution('note:')} the compose file's variable {name} is not set: it is empty\n"
        )
    return Loaded(read.definition, outside, names, url)


def addressed(targets: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
    """`[URL [URL]] TARGET...`: where the definition is, what its command's context is, and what is asked for."""
    rest = list(targets)
    url, context = "", location.WORKING
    if rest and location.is_remote(rest[0]):
        url = rest.pop(0)
        if rest and location.is_remote(rest[0]):
            context = rest.pop(0)
    return url, context, tuple(rest)


def variables(given: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidError(f"--var {text!r} is malformed", hint="write it as --var NAME=VALUE")
        found[name] = value
    return found


def resolve(loaded: Loaded, flags: BakeFlags) -> Resolved:
    """With what the flags change."""
    given = [*flags.set, *_implied(flags)]
    found = overrides.parse(given, loaded.definition, loaded.outside.visible.get) if given else {}
    return places.placed(resolution.resolve(loaded.definition, loaded.names, found), loaded.url)


def _implied(flags: BakeFlags) -> list[str]:
    """Flags that stand for something --set could say."""
    call = "check" if flags.check else flags.call.partition(",")[0]
    pairs = (
        ("push", "true" if flags.push else ""),
        ("load", "true" if flags.load else ""),
        ("call", "lint" if call == "check" else call),
        ("no-cache", "" if flags.no_cache is None else str(flags.no_cache).lower()),
        ("pull", "" if flags.pull is None else str(flags.pull).lower()),
    )
    return [f"*.{key}={value}" for key, value in pairs if value]
