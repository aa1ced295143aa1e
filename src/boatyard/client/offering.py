"""How a build's files, agents and outputs are handed to the daemon, as a protocol.

To a daemon of this machine they go as open descriptors (`client.descriptors`); one on another machine asks for them
over a session (`client.sessionchannel`). Either way the request names them by tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from boatyard.client.descriptors import DescriptorChannel
from boatyard.client.documents.builds import Local
from boatyard.client.endpoint import Endpoint, UnixEndpoint
from boatyard.errors import UnavailableError


class Offering(Protocol):
    """A context: it must stay open until the request that uses its tokens has ended. Descriptors stay the caller's."""

    @property
    def session(self) -> str:
        """The session that the request's tokens are of; "" for none."""

    def offer_directory(self, path: str) -> Local:
        """NotFoundError, InvalidError (not a directory) or StorageError (unreadable) when it can't be opened."""

    def offer_file(self, path: str) -> str:
        """For reading."""

    def offer_bytes(self, data: bytes) -> str: ...
    def offer_agent(self, path: str) -> str:
        """The unix socket of an SSH agent."""

    def offer_upload(self, descriptor: int) -> str:
        """A stream to read."""

    def offer_output(self, descriptor: int) -> str:
        """A file or pipe to write."""

    def offer_output_directory(self, path: str, *, exact: bool = False) -> str:
        """Made when missing, with its parents. `exact`: what is in it and isn't in the output is to go."""

    def offer_terminal(self) -> str:
        """The way a terminal comes back. UnsupportedError where none can."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def open_offering(endpoint: Endpoint, environ: Mapping[str, str]) -> Offering:
    """Descriptors where the daemon is on this machine and takes them, otherwise a session. UnavailableError when it
    can't be reached. `environ`: of this user, for credentials."""
    if isinstance(endpoint, UnixEndpoint):
        try:
            return DescriptorChannel(endpoint)
        except UnavailableError:
            pass  # a forwarded socket, perhaps; if the daemon is gone, the session says so
    from boatyard.client.sessionchannel import SessionChannel

    return SessionChannel(endpoint, environ)
