"""One connection to memlogd's query socket, Boatyard's or LinuxKit's: frames come out of both."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

from boatyard.errors import UnavailableError
from boatyard.logs import frames, moment
from boatyard.logs.frames import Decoder, Frame
from boatyard.logs.request import Request

RECEIVE = 1 << 18


class Decoding:
    """Bytes in, frames out, in whatever form memlogd sends: what comes first tells. LinuxKit's lines have no
    numbers."""

    def __init__(self) -> None:
        self._frames: Decoder | None = None
        self._begun = b""
        self._rest = b""
        self.plain = False
        """LinuxKit's memlogd: no numbers, no gaps, no states."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now; to be iterated to the end. UnavailableError for anything else."""
        if self._frames is None and not self.plain:
            self._begun += data
            if len(self._begun) < len(frames.MAGIC):
                return
            data, self._begun = self._begun, b""
            self.plain = data.startswith(b"{")
            if self.plain:
                yield Frame(frames.HELLO)
            else:
                self._frames = Decoder()
        if self._frames is None:
            yield from self._objects(data)
            return
        try:
            yield from self._frames.feed(data)
        except ValueError as error:
            raise UnavailableError(f"what answers at the query socket is no memlogd: {error}") from error

    def _objects(self, data: bytes) -> Iterator[Frame]:
        import json  # not needed with our own memlogd

        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                entry = json.loads(line)
                message = entry["msg"].encode("utf-8", "surrogatepass").replace(b"\n", b" ") + b"\n"
                source = entry["source"].encode("utf-8", "surrogatepass")
                when = moment.parse(entry["time"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UnavailableError("what answers at the query socket is no memlogd") from error
            yield Frame(frames.LINES, name=source, payload=message, count=1, time=when)


class Stream:
    """A connected client. Use it as a context."""

    def __init__(self, path: str, request: Request) -> None:
        """UnavailableError when nobody answers."""
        self._socket = connect(path, request)
        self._decoding = Decoding()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def plain(self) -> bool:
        return self._decoding.plain

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, timeout: float | None = None, wake: int = -1) -> Iterator[Frame] | None:
        """What came (perhaps nothing complete) within `timeout` seconds, or before the descriptor `wake` was
        readable; None at the end. To be iterated to the end."""
        waited = [self._socket.fileno(), wake] if wake >= 0 else [self._socket.fileno()]
        if timeout is not None and self._socket.fileno() not in select.select(waited, [], [], timeout)[0]:
            return iter(())
        try:
            data = self._socket.recv(RECEIVE)
        except InterruptedError:
            return iter(())
        except ConnectionResetError:
            data = b""  # LinuxKit's memlogd ends so, because it read our first byte only
        return self._decoding.feed(data) if data else None


def connect(path: str, request: Request) -> socket.socket:
    """A socket with the request sent. UnavailableError when nobody answers there."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(path)
        sock.sendall(request.encode())
    except (OSError, ValueError) as error:
        sock.close()
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise UnavailableError(
            f"memlogd can't be reached at {path}: {reason}", hint="start one (`boat logd`), or name its socket"
        ) from error
    return sock
