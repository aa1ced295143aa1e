"""HTTP/1.1 as a client of boatd needs it, without a socket: a request's bytes, and a reader that is fed an answer's.

Not a general client: it talks to one known server, and starts in a millisecond where the standard library's client
takes twenty. Specification: RFC 9112.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from boatyard import __version__
from boatyard.client.documents.envelope import PREFIX, VERSION_HEADER
from boatyard.client.failure import SEE_ITS_LOG
from boatyard.errors import InvalidError, UnavailableError
from boatyard.progress import printable

_MAX_HEAD = 65536
_MAX_CHUNK_LINE = 256
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def quote(text: str) -> str:
    """Percent-encode everything but the unreserved characters. (urllib costs more to import than this whole module.)"""
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def target(path: str, names: Mapping[str, str], query: Mapping[str, str]) -> str:
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", quote(value))
    text = "&".join(f"{quote(key)}={quote(value)}" for key, value in query.items())
    return f"{PREFIX}{path}?{text}" if text else PREFIX + path


def request(method: str, target: str, body: object | None) -> bytes:
    """`body` is a document, sent as JSON. The server is told that no other request follows on the connection.
    InvalidError when a text in it, which came from a command line perhaps, isn't UTF-8."""
    head = (
        f"{method} {target} HTTP/1.1\r\nhost: boatd\r\nconnection: close\r\n"
        f"user-agent: boat/{__version__}\r\n{VERSION_HEADER}: {__version__}\r\n"
    )
    if body is None:
        return (head + ("content-length: 0\r\n\r\n" if method != "GET" else "\r\n")).encode("ascii")
    try:
        content = msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise InvalidError(
            f'"{printable(error.object)}" is not UTF-8', hint="what the daemon is told by name has to be"
        ) from error
    return (head + f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n").encode(
        "ascii"
    ) + content


def upgrade(target: str, protocol: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of a request after which the connection speaks another protocol, if the server agrees (status 101)."""
    lines = [
        f"POST {target} HTTP/1.1",
        "host: boatd",
        f"user-agent: boat/{__version__}",
        "connection: Upgrade",
        f"upgrade: {protocol}",
        "content-length: 0",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class AnswerReader:
    """Fed the bytes of one answer, it gives the status, the headers and the body's bytes as they come.

    Owned by one request. Raises UnavailableError when the bytes are no answer of ours."""

    def __init__(self, silence: str = "") -> None:
        """`silence` is what to try when no answer comes at all."""
        self._silence = silence
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self._buffer = bytearray()
        self._left = 0
        """Bytes of the body, or of the current chunk, still to come; -1: until the connection ends."""
        self._chunked = False
        self._in_trailer = False

    def feed(self, data: bytes) -> bytes:
        """The body's bytes that `data` brought (perhaps none). Empty `data` is the end of the connection."""
        if not data:
            return self._end()
        self._buffer += data
        if not self.status and not self._read_head():
            return b""
        return self._read_body()

    def _end(self) -> bytes:
        if self._left == -1 and self.status:
            self.complete = True
        if not self.status and not self._buffer:
            raise UnavailableError(
                "the daemon closed the connection before it answered",
                hint=self._silence or "it may be stopping: try again",
            )
        if not self.complete:
            raise UnavailableError(
                "the daemon closed the connection in the middle of an answer",
                hint=SEE_ITS_LOG,
            )
        return b""

    def _read_head(self) -> bool:
        while not self.status:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _MAX_HEAD:
                    raise _garbled("its header has no end")
                return False
            lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
            self._parse_head(lines)
        return True

    def _parse_head(self, lines: list[str]) -> None:
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not code.isascii() or not code.isdigit() or len(code) != 3:
            raise _garbled(f"it starts with {lines[0][:40]!r}")
        if code[0] == "1":  # 100 Continue and its like come before the answer
            return
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.status = int(code)
        length = self.headers.get("content-length")
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunked = True
        elif length is None:
            self._left = -1
        elif length.isascii() and length.isdigit():
            self._left = int(length)
            self.complete = self._left == 0
        else:
            raise _garbled(f"its content-length is {length[:40]!r}")
        if self.status in (204, 304):
            self.complete = True

    def _read_body(self) -> bytes:
        if self.complete:
            return b""
        if not self._chunked:
            if self._left == -1:
                return self._take(len(self._buffer))
            piece = self._take(min(self._left, len(self._buffer)))
            self._left -= len(piece)
            self.complete = self._left == 0
            return piece
        pieces = []
        while not self.complete:
            if self._left == 0 and not self._next_chunk():
                break
            # A chunk's data is followed by an empty line, which counts as two more bytes of it here.
            piece = self._take(min(self._left, len(self._buffer)))
            if not piece:
                break
            pieces.append(piece[: max(0, self._left - 2)])
            self._left -= len(piece)
        return b"".join(pieces)

    def _next_chunk(self) -> bool:
        """Read the line before a chunk, and the trailer after the last one. False when more bytes are needed."""
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > (_MAX_HEAD if self._in_trailer else _MAX_CHUNK_LINE):
                    raise _garbled("a chunk's header has no end")
                return False
            line = self._take(end + 2)[:-2]
            if self._in_trailer:
                if not line:
                    self.complete = True
                    return False
                continue
            size = line.partition(b";")[0].strip()
            if not size or len(size) > 16 or size.strip(b"0123456789abcdefABCDEF"):
                raise _garbled(f"a chunk's size is {size[:40]!r}")
            length = int(size, 16)
            if length:
                self._left = length + 2
                return True
            self._in_trailer = True

    def _take(self, count: int) -> bytes:
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece


def _garbled(why: str) -> UnavailableError:
    return UnavailableError(
        f"what answers at the daemon's socket does not speak its protocol: {why}",
        hint="check that --host or BOAT_HOST names a boatd socket",
    )
