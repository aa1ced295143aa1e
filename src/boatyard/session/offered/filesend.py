"""Places of this client for outputs of the daemon: files (or pipes), and directories.

Specification: moby/buildkit, `session/filesync/filesync.go` (SyncTarget), `diffcopy.go`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from boatyard._pb.filesync_pb2 import BytesMessage
from boatyard.errors import InvalidError
from boatyard.image.interruption import run_settled
from boatyard.session.filesend import EXPORTER, METHOD, MULTI_PLATFORM
from boatyard.session.fsutil import transfer
from boatyard.session.fsutil.known import known_files
from boatyard.session.fsutil.receiver import Receiver
from boatyard.session.line import CallLine, Raw
from boatyard.session.metadata import one
from boatyard.session.offered.streams import open_sink


@dataclass(frozen=True, slots=True)
class File:
    """An open file or pipe, the caller's."""

    descriptor: int


@dataclass(frozen=True, slots=True)
class Directory:
    """An open directory, the caller's. `exact`: what is in it and isn't in the output is removed (mode=delete)."""

    descriptor: int
    exact: bool = False


class FileSend:
    """`targets`: where the output of each of the request's exporters goes."""

    def __init__(self, targets: Mapping[int, File | Directory]) -> None:
        self._targets = targets
        self._written: set[int] = set()

    def __mapping__(self) -> Mapping[str, Handler]:
        return {METHOD: Handler(self._diff_copy, Cardinality.STREAM_STREAM, Raw, Raw)}

    async def _diff_copy(self, call: Any) -> None:
        number = one(call, EXPORTER)
        index = int(number) if number.isdecimal() else 0
        target = self._targets.get(index)
        if target is None:
            raise GRPCError(Status.NOT_FOUND, f"exporter {index} not found")
        if isinstance(target, Directory):
            await call.send_initial_metadata()
            await _receive_directory(call, target, whole=one(call, MULTI_PLATFORM) == "1")
            return
        if index in self._written:
            raise GRPCError(Status.ALREADY_EXISTS, f"the output of exporter {index} has been written already")
        self._written.add(index)
        await call.send_initial_metadata()
        line = CallLine(call)
        with open_sink(target.descriptor) as sink:
            while messages := await line.receive():
                await sink.write(_contents(messages))


async def _receive_directory(call: Any, target: Directory, *, whole: bool) -> None:
    if target.exact and not whole:
        raise GRPCError(
            Status.FAILED_PRECONDITION,
            "this output is to replace what is in its directory, which takes a daemon that sends it as one",
        )
    known = await run_settled(known_files, target.descriptor) if target.exact else {}
    receiver = Receiver(target.descriptor, known, owner=(os.getuid(), os.getgid()), trusted=False)
    try:
        await transfer.receive(CallLine(call), receiver)
    finally:
        await run_settled(receiver.close)


def _contents(messages: Sequence[bytes]) -> list[bytes]:
    try:
        return [BytesMessage.FromString(message).data for message in messages]
    except DecodeError as error:
        raise InvalidError("the daemon sent something that is no output") from error
