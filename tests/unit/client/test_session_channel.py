"""A client's session, opened on a connection to a daemon: what a daemon may answer, and what is offered on it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boatyard.client.endpoint import UnixEndpoint
from boatyard.client.sessionchannel import SessionChannel
from boatyard.errors import InvalidError, NotFoundError, UnavailableError, UnsupportedError


@contextmanager
def answering(directory: Path, answer: bytes) -> Iterator[UnixEndpoint]:
    """Something that answers the first request so, and keeps the connection if it agreed to anything."""
    path = str(directory / "sock")
    seen: list[socket.socket] = []

    def serve() -> None:
        connection, _ = listener.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        connection.sendall(answer)
        if b" 101 " in answer:
            seen.append(connection)
        else:
            connection.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield UnixEndpoint(path)
        finally:
            thread.join()
            for connection in seen:
                connection.close()


AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "takes no session: it answered 'HTTP/1.1 404 Not Found'"),
        (b"", "broke off before it took the session"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off before it took the session"),
    ],
)
def test_what_takes_no_session_is_told(tmp_path: Path, answer: bytes, said: str) -> None:
    with answering(tmp_path, answer) as endpoint, pytest.raises(UnavailableError, match=said):
        SessionChannel(endpoint, {})


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nothing is there"):
        SessionChannel(UnixEndpoint(str(tmp_path / "none")), {})


def test_directories_have_the_same_token_every_time_and_all_else_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    with answering(tmp_path, AGREED) as endpoint, SessionChannel(endpoint, {}) as channel:
        assert len(channel.session) == 32
        token = channel.offer_directory(str(tmp_path / "d")).token
        assert channel.offer_directory(str(tmp_path / "link")).token == token
        assert channel.offer_directory(str(tmp_path)).token != token
        assert channel.offer_bytes(b"secret") != channel.offer_bytes(b"secret")
        assert [channel.offer_output_directory(str(tmp_path / name)) for name in "ab"] == ["0", "1"]
        with pytest.raises(NotFoundError):
            channel.offer_directory(str(tmp_path / "none"))
        with pytest.raises(InvalidError):
            channel.offer_directory(endpoint.path)
        with pytest.raises(UnsupportedError, match="terminal can't be handed"):
            channel.offer_terminal()


def test_descriptors_that_were_offered_are_copies_which_are_closed(tmp_path: Path) -> None:
    readable, writable = os.pipe()
    with answering(tmp_path, AGREED) as endpoint, SessionChannel(endpoint, {}) as channel:
        channel.offer_output(writable)
        os.close(writable)
        os.set_blocking(readable, False)
        with pytest.raises(BlockingIOError):
            os.read(readable, 1)
    assert os.read(readable, 1) == b"", "nobody has the other end any more"
    os.close(readable)
