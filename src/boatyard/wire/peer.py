"""Who is at the other end of a unix socket."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Protocol

_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as the kernel saw it then (SO_PEERCRED, unix(7)). `pid` may be gone by now."""

    pid: int
    uid: int
    gid: int


ELSEWHERE = Peer(pid=0, uid=-1, gid=-1)
"""A client on another machine: no process and no user of this one."""


class _HasOption(Protocol):
    @property
    def family(self) -> int: ...
    def getsockopt(self, level: int, option: int, size: int) -> bytes: ...


def peer_of(sock: _HasOption | None) -> Peer | None:
    """None when `sock` is no connected unix socket."""
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    try:
        pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    except OSError:
        return None
    return Peer(pid, uid, gid)
