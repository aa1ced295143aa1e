"""Where a build's files are: the context and the Dockerfile, as `boat build [-f FILE] PATH|URL|-` names them.

Looks at paths, opens nothing. Rules are Docker's: `-f` is relative to the working directory for a local context and
to the context for a remote one; `-` is standard input, for one of the two.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from enum import Enum

import msgspec

from boatyard.errors import DeniedError, InvalidError, NotFoundError

DEFAULT_NAME = "Dockerfile"
MAX_DOCKERFILE = 16 << 20
"""Bytes."""
_REMOTE = re.compile(r"(?:https?|git|ssh)://|git@|github\.com/")


class Stdin(Enum):
    """What standard input carries."""

    UNUSED = "unused"
    DOCKERFILE = "dockerfile"
    CONTEXT = "context"
    """A tar archive of a context, or a Dockerfile alone: its first bytes tell."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """`context` and `dockerfile` are directories here; empty when there is none (a remote context, standard input).
    `dockerfile_source` is a file that is no regular one (a pipe of the shell's) and is read whole."""

    context: str = ""
    dockerfile: str = ""
    filename: str = DEFAULT_NAME
    dockerfile_source: str = ""
    text: str | None = None
    """The Dockerfile's text, where it is in no file."""
    stdin: Stdin = Stdin.UNUSED
    attrs: Mapping[str, str] = {}


def is_remote(text: str) -> bool:
    """A git repository or a URL, as Docker tells them from paths."""
    return _REMOTE.match(text) is not None and not os.path.isdir(text)


def locate(context: str, file: str | None, text: str | None = None) -> Place:
    """`text` is a Dockerfile that is in no file."""
    if text is not None:
        if is_remote(context):
            return Place(text=text, attrs=_read_here(context))
        _check_directory(context)
        return Place(context=context, text=text)
    if context == "-":
        if file == "-":
            raise InvalidError(
                "standard input can't be both the context and the Dockerfile", hint="give the context as a directory"
            )
        attrs = {"filename": file} if file else {}
        return Place(stdin=Stdin.CONTEXT, filename=file or DEFAULT_NAME, attrs=attrs)
    if is_remote(context):
        return _remote(context, file)
    _check_directory(context)
    if file == "-":
        return Place(context=context, stdin=Stdin.DOCKERFILE)
    return _local(context, file)


def _remote(context: str, file: str | None) -> Place:
    if file == "-":
        return Place(stdin=Stdin.DOCKERFILE, attrs=_read_here(context))
    attrs = {"context": context, **({"filename": file} if file else {})}
    return Place(filename=file or DEFAULT_NAME, attrs=attrs)


def _read_here(context: str) -> dict[str, str]:
    """The context is elsewhere, the Dockerfile a directory of this side's."""
    return {"context": context, "dockerfilekey": "dockerfile"}


def _local(context: str, file: str | None) -> Place:
    path = file if file is not None else _default(context)
    try:
        status = os.stat(path)
    except OSError as error:
        raise _no_dockerfile(path, context, error) from error
    if stat.S_ISDIR(status.st_mode):
        inside = os.path.join(path, DEFAULT_NAME)
        hint = f"use -f {inside}" if os.path.exists(inside) else "name the file itself with -f"
        raise InvalidError(f"{path!r} is a directory, not a Dockerfile", hint=hint)
    if not stat.S_ISREG(status.st_mode):
        if file is None:
            raise InvalidError(f"{path!r} is a pipe, socket or device, not a Dockerfile", hint="read it with -f")
        return Place(context=context, dockerfile_source=path)
    if not os.access(path, os.R_OK):
        raise DeniedError(f"can't read {path!r}: permission denied", hint=f"make it readable: chmod +r {path}")
    if os.path.islink(path) and not _stays(path):
        path = os.path.realpath(path)
    directory, filename = os.path.split(path)
    return Place(context=context, dockerfile=directory or ".", filename=filename, attrs={"filename": filename})


def _default(context: str) -> str:
    path = os.path.join(context, DEFAULT_NAME)
    lower = os.path.join(context, DEFAULT_NAME.lower())
    return lower if not os.path.lexists(path) and os.path.isfile(lower) else path


def _stays(path: str) -> bool:
    """Whether a link can be followed inside its own directory."""
    target = os.readlink(path)
    return "/" not in target and os.path.isfile(path)


def _check_directory(context: str) -> None:
    try:
        status = os.stat(context)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"the context {context!r} does not exist", hint="give a directory, a URL, or - for standard input"
        ) from error
    except OSError as error:
        raise DeniedError(f"can't look at the context {context!r}: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        return
    directory = os.path.dirname(context) or "."
    name = os.path.basename(context)
    if name.endswith((".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2")):
        hint = f"send an archive through standard input: boat build - < {context}"
    else:
        hint = f"the context is a directory, -f names the Dockerfile: boat build -f {context} {directory}"
    raise InvalidError(f"the context {context!r} is not a directory", hint=hint)


def _no_dockerfile(path: str, context: str, error: OSError) -> Exception:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return DeniedError(f"can't look at {path!r}: {error.strerror}")
    if os.path.islink(path):
        return NotFoundError(f"the Dockerfile {path!r} is a link to a file that does not exist: {os.readlink(path)}")
    inside = os.path.join(context, path)
    if not os.path.isabs(path) and os.path.isfile(inside):
        return NotFoundError(
            f"there is no Dockerfile {path!r}", hint=f"-f is relative to the working directory: -f {inside}"
        )
    if os.path.dirname(path) == context.rstrip("/") or os.path.join(context, DEFAULT_NAME) == path:
        try:
            empty = not os.listdir(context)
        except OSError:
            empty = False
        found = "the directory is empty" if empty else f"the context has no file of that name{_others(context)}"
        return NotFoundError(f"there is no Dockerfile in {context!r}: {found}", hint=_remedy(context))
    return NotFoundError(f"there is no Dockerfile {path!r}", hint="name the file with -f FILE, or pass it with -f -")


def _candidates(context: str) -> list[str]:
    try:
        names = sorted(os.listdir(context))
    except OSError:
        return []
    return [name for name in names if "dockerfile" in name.lower() or name.lower().startswith("containerfile")]


def _others(context: str) -> str:
    found = _candidates(context)
    return f" (but {', '.join(found[:3])})" if found else ""


def _remedy(context: str) -> str:
    found = _candidates(context)
    if found:
        return f"name it: boat build -f {os.path.join(context, found[0])} {context}"
    return "write one, or name it with -f FILE, or pass it with -f -"
