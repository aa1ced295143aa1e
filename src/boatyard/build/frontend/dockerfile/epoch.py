"""SOURCE_DATE_EPOCH: a number of seconds, or where to take the time from.

    1700000000   the seconds
    context      the time of the build context: of its commit, or of the downloaded file
    NAME         the time of a named context, or of the one remote ADD of a stage FROM scratch

Specification: https://reproducible-builds.org/specs/source-date-epoch/; the Dockerfile reference, "SOURCE_DATE_EPOCH".
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from boatyard.build.frontend.base import Bridge
from boatyard.build.frontend.dockerfile import draft as drafts
from boatyard.build.frontend.dockerfile import gitref, shell, sources
from boatyard.build.frontend.dockerfile.context import BuildContext
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.frontend.dockerfile.instructions import Add, Arg, Dockerfile, Stage
from boatyard.build.frontend.dockerfile.named import NamedContexts
from boatyard.build.llb.graph import Graph, SourceOp, Vertex
from boatyard.errors import InvalidError, UnsupportedError

_LATEST = 253402300799
"""The last second of the year 9999, beyond which dates have no form."""


@runtime_checkable
class SourceTimes(Protocol):
    """A bridge that can tell how old a source is."""

    async def source_time(self, vertex: Vertex) -> int | None:
        """Seconds since the epoch: of the commit of a git source, of the Last-Modified of a download. None when it
        isn't known."""


class Epochs:
    """Finds the time that a request asks for. One per build."""

    def __init__(self, bridge: Bridge, dockerfile: Dockerfile, context: BuildContext, contexts: NamedContexts) -> None:
        self._bridge = bridge
        self._dockerfile = dockerfile
        self._context = context
        self._contexts = contexts

    async def resolve(self, text: str, arguments: Mapping[str, str], variables: Mapping[str, str]) -> int | None:
        """None when nothing is asked for, or what is named has no time. InvalidError when it names nothing."""
        if not text:
            return None
        try:
            seconds = int(text)
        except ValueError:
            return await self._of_source(text, arguments, variables)
        if not 0 <= seconds <= _LATEST:
            raise InvalidError(f"SOURCE_DATE_EPOCH is out of range: {text}", hint="it counts seconds since 1970")
        return seconds

    async def _of_source(self, name: str, arguments: Mapping[str, str], variables: Mapping[str, str]) -> int | None:
        if name == "context":
            return await self._time(self._context.origin, self._context.origin_filename)
        if (context := self._contexts.find(name, self._bridge.platform)) is not None:
            loaded = await self._contexts.load(context, self._bridge.platform, list)
            return await self._time(loaded.output, "context")
        index = self._dockerfile.stage_index(name)
        if index is None:
            raise InvalidError(
                f"invalid SOURCE_DATE_EPOCH {name!r}",
                hint="it is a number of seconds, context, or the name of a build context or stage",
            )
        draft, filename = _stage_source(
            self._dockerfile.stages[index], arguments, dict(variables), self._dockerfile.directives.escape
        )
        return await self._time(draft, filename)

    async def _time(self, draft: Draft | None, filename: str) -> int | None:
        op = draft.fixed_op if draft is not None else None
        if draft is None or not isinstance(op, SourceOp) or not op.identifier.startswith(("git://", "http")):
            return None
        if not isinstance(self._bridge, SourceTimes):
            raise UnsupportedError(
                "SOURCE_DATE_EPOCH can't be taken from a source here", hint="give it as a number of seconds"
            )
        edge = drafts.finish(draft)
        assert edge is not None
        seconds = await self._bridge.source_time(edge.vertex)
        if seconds is None and op.identifier.startswith("http"):
            reader = await self._bridge.solve(Graph(edge))
            return _newest(await reader.read_file("/" + filename))
        return seconds


def _stage_source(
    stage: Stage, arguments: Mapping[str, str], variables: dict[str, str], escape: str
) -> tuple[Draft, str]:
    """The source of a stage that is made for nothing but its time."""
    rule = "a stage that SOURCE_DATE_EPOCH names has FROM scratch, ARGs, and one ADD of one URL or repository"
    if shell.expand_word(stage.base, variables, escape=escape) != "scratch":
        raise InvalidError(rule)
    found: tuple[Draft, str] | None = None
    for instruction in stage.instructions:
        if isinstance(instruction, Arg):
            for argument in instruction.arguments:
                if argument.key in arguments:
                    variables[argument.key] = arguments[argument.key]
                elif argument.value is not None:
                    variables[argument.key] = shell.expand_word(argument.value, variables, escape=escape)
        elif isinstance(instruction, Add) and found is None and len(instruction.sources) == 1:
            found = _add_source(instruction, variables, escape)
        else:
            raise InvalidError(rule)
    if found is None:
        raise InvalidError(rule)
    return found


def _add_source(instruction: Add, variables: Mapping[str, str], escape: str) -> tuple[Draft, str]:
    address = shell.expand_word(instruction.sources[0], variables, escape=escape)
    checksum = shell.expand_word(instruction.checksum, variables, escape=escape)
    if repository := gitref.parse(address):
        keep = bool(instruction.keep_git_dir)
        return sources.git(repository, keep_git_dir=keep, checksum=checksum), ""
    if not address.startswith(("http://", "https://")):
        raise InvalidError(f"SOURCE_DATE_EPOCH can't be taken from {address!r}: it is no URL")
    filename = sources.http_filename(address)
    return sources.http(address, filename, checksum=checksum), filename


def _newest(data: bytes) -> int | None:
    """The time of the newest file in an archive; None when the data is none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return max((int(member.mtime) for member in archive if member.isfile()), default=None)
    except (tarfile.TarError, OSError, EOFError):
        return None


def timestamp(epoch: int | None) -> str:
    """As image configs have times; "" without one."""
    return "" if epoch is None else datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
