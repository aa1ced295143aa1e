"""A client's credentials of registries, on a socket that goes along with a request: asked for only when a registry
asks.

The daemon writes a line, `{"host": DOMAIN}`. The client answers with a line: `{"username": ..., "password": ...}` or
one of the other kinds, `{}` for none, or `{"error": ...}`. One question at a time.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from boatyard.client.descriptors import DescriptorChannel
from boatyard.errors import BoatyardError

LONGEST_LINE = 64 << 10


class Question(msgspec.Struct, frozen=True):
    host: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Fields as of `registry.credential.Credential`."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    error: str = ""


@contextmanager
def offered(channel: DescriptorChannel, find: Callable[[str], Answer]) -> Iterator[str]:
    """The token of a socket on which a thread of this process answers. `find` is given a registry's domain."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            token = channel.offer(theirs.fileno())
        threading.Thread(target=_answer, args=(ours, find), name="credentials", daemon=True).start()
        try:
            yield token
        finally:
            try:
                ours.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the daemon closed its end


def _answer(connection: socket.socket, find: Callable[[str], Answer]) -> None:
    try:
        with connection.makefile("rwb") as stream:
            while line := stream.readline(LONGEST_LINE):
                try:
                    answer = find(msgspec.json.decode(line, type=Question).host)
                except (BoatyardError, msgspec.MsgspecError) as error:
                    answer = Answer(error=str(error))
                stream.write(msgspec.json.encode(answer) + b"\n")
                stream.flush()
    except (OSError, ValueError):
        return  # the request has ended
