"""Which files a definition is in, and what kind each is of.

Specification: docker/buildx, docs/bake-reference.md ("File format"): the names that are looked for, in their order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from boatyard.bake.source import Source, decode
from boatyard.errors import DeniedError, InvalidError, NotFoundError

COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
BAKE_NAMES = ("docker-bake.json", "docker-bake.hcl", "docker-bake.override.json", "docker-bake.override.hcl")
DEFAULT_NAMES = (*COMPOSE_NAMES, *BAKE_NAMES)
LARGEST = 16 << 20
"""Bytes."""
STDIN = "-"


def named(names: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Those of -f; else those of BUILDX_BAKE_FILE; else none: the default ones."""
    if names:
        return tuple(name.removeprefix("cwd://") for name in names)
    separator = environment.get("BUILDX_BAKE_PATH_SEPARATOR") or os.pathsep
    given = environment.get("BUILDX_BAKE_FILE", "").split(separator)
    return tuple(name.strip().removeprefix("cwd://") for name in given if name.strip())


def read(names: Sequence[str], directory: str, stdin: BinaryIO) -> tuple[Source, ...]:
    """The named files, or those of the default ones that are there. Paths are relative to `directory`."""
    if names:
        if list(names).count(STDIN) > 1:
            raise InvalidError("standard input can be given as a file once")
        return tuple(_read(name, directory, stdin) for name in names)
    found = [name for name in DEFAULT_NAMES if os.path.isfile(os.path.join(directory, name))]
    if not found:
        raise NotFoundError(
            "there is no build definition here: no docker-bake.hcl, docker-bake.json or compose.yaml",
            hint="write one, or name it with -f FILE",
        )
    return tuple(_read(name, directory, stdin) for name in found)


def _read(name: str, directory: str, stdin: BinaryIO) -> Source:
    try:
        if name == STDIN:
            data = stdin.read(LARGEST + 1)
        else:
            with open(os.path.join(directory, name), "rb") as file:
                data = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {name!r}", hint="-f names the build definition") from error
    except IsADirectoryError as error:
        raise InvalidError(f"{name!r} is a directory, not a build definition", hint="name the file in it") from error
    except OSError as error:
        raise DeniedError(f"can't read {name!r}: {error.strerror}") from error
    if len(data) > LARGEST:
        raise InvalidError(f"{name!r} is too large to be a build definition", hint="is it the right file?")
    return decode(name, data)
