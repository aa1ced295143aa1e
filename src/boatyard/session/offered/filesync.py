"""Directories of this client, sent to the daemon: what the daemon's patterns leave in, and owned by root.

Specification: moby/buildkit, `session/filesync/filesync.go`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from boatyard.errors import BoatyardError, NotFoundError
from boatyard.image.interruption import run_settled
from boatyard.paths.filter import Filter
from boatyard.session.filesync import EXCLUDE, FOLLOW, INCLUDE, METHOD, NAME
from boatyard.session.fsutil import transfer
from boatyard.session.fsutil.sender import Sender
from boatyard.session.fsutil.walk import walk
from boatyard.session.line import CallLine, Raw
from boatyard.session.metadata import decode
from boatyard.session.offered.failure import status_of


class FileSync:
    """`directories`: paths, by the names that the daemon asks for."""

    def __init__(self, directories: Mapping[str, str]) -> None:
        self._directories = directories

    def __mapping__(self) -> Mapping[str, Handler]:
        return {METHOD: Handler(self._diff_copy, Cardinality.STREAM_STREAM, Raw, Raw)}

    async def _diff_copy(self, call: Any) -> None:
        fields = decode(call.metadata.items())
        name = "".join(fields.get(NAME, [])[:1])
        path = self._directories.get(name)
        if path is None:
            raise GRPCError(Status.NOT_FOUND, f"no access allowed to dir {name!r}")
        filter = Filter(tuple(fields.get(INCLUDE, ())), tuple(fields.get(EXCLUDE, ())), tuple(fields.get(FOLLOW, ())))
        await call.send_initial_metadata()
        try:
            root = _opened(path)
            try:
                plan = await run_settled(filter.plan, root)
                sender = Sender(root, walk(root, plan, owners=False))
                try:
                    await transfer.send(CallLine(call), sender)
                finally:
                    await run_settled(sender.close)
            finally:
                os.close(root)
        except BoatyardError as error:
            raise status_of(error) from error


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFoundError(f"can't open the directory {path}: {error.strerror}") from error
