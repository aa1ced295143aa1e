"""memlogd's two sockets: bound at a path, or taken over from whoever started it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat

from boatyard.errors import ConflictError, InvalidError, StorageError


class Bound:
    """A socket, and the file it made, which goes with it. `replaced`: there was one of somebody who was killed."""

    def __init__(self, sock: socket.socket, path: str = "", *, replaced: bool = False) -> None:
        self.socket = sock
        self.replaced = replaced
        self._path = os.path.abspath(path) if path else ""
        self._identity = _identity(path) if path else None

    def unlink(self) -> None:
        """Remove the file, unless it is somebody else's by now."""
        try:
            if self._path and _identity(self._path) == self._identity:
                os.unlink(self._path)
        except FileNotFoundError:
            pass


def bind(path: str, kind: socket.SocketKind) -> Bound:
    """A socket at `path`. What a memlogd that was killed left there is replaced; ConflictError when somebody
    answers, or when it is no socket."""
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    directory = -1
    try:
        # Two that start at the same time must not take each other's socket for a dead one's.
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(directory, fcntl.LOCK_EX)
        replaced = _remove_dead(path, kind)
        sock.bind(path)
        if kind == socket.SOCK_STREAM:
            sock.listen(512)
        return Bound(sock, path, replaced=replaced)
    except OSError as error:
        sock.close()
        raise StorageError(f"can't make the socket {path}: {error.strerror or error}") from error
    except ConflictError:
        sock.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)


def adopt(descriptor: int, kind: socket.SocketKind) -> Bound:
    """The socket that is open as `descriptor`. InvalidError when there is none of that kind."""
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise InvalidError(f"descriptor {descriptor} is no socket: {error.strerror}") from error
    if sock.family != socket.AF_UNIX or sock.type & 0xF != kind:
        sock.detach()
        raise InvalidError(f"descriptor {descriptor} is no unix socket of type {kind.name}")
    os.set_inheritable(descriptor, False)
    if kind == socket.SOCK_STREAM:
        sock.listen(512)
    return Bound(sock)


def _remove_dead(path: str, kind: socket.SocketKind) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise ConflictError(f"{path} is there already, and no socket", hint="choose another path, or remove it")
    with socket.socket(socket.AF_UNIX, kind) as trial:
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return True
    raise ConflictError(f"{path} is another memlogd's", hint="end that one first, or choose another path")


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
