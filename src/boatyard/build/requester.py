"""What a build may ask of the party that requested it, as a protocol.

A requester on this machine answers with open descriptors (`api.native`); one that speaks BuildKit's protocol answers
over its session. Ops, sources and exporters know only this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from boatyard.registry.credential import Credential


@dataclass(frozen=True, slots=True)
class ClientDirectory:
    """A directory of the requester's that this process can read through `fd` (open with O_DIRECTORY|O_PATH or
    O_RDONLY).

    `identity` is stable over builds for the same directory of the same client: stat caches are kept under it.
    The descriptor belongs to the context that yielded it. `given`: the directory was made for this build alone, on the
    snapshots' file system if that can be, and nobody changes its files any more. They may become files of layers by
    hard links.
    """

    fd: int
    identity: str
    given: bool = False


@dataclass(frozen=True, slots=True)
class OutputTarget:
    """Where an exporter may write: exactly one of an open writable file (or pipe) and an open directory.

    Files made in the directory are given to `uid`/`gid`, the requester's. Both descriptors belong to the requester
    object.
    """

    file_fd: int | None = None
    directory_fd: int | None = None
    uid: int = 0
    gid: int = 0


class Requester(Protocol):
    """One per build. Every method raises UnavailableError when the other end has gone."""

    def directory(
        self, name: str, *, include: Sequence[str] = (), exclude: Sequence[str] = (), follow: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        """The local directory called `name` ("context", "dockerfile", a named context). Patterns tell what will be
        read, as in BuildKit's `local` source; the directory may hold more. NotFoundError if the client offers none of
        that name."""

    async def secret(self, id: str) -> bytes | None:
        """The secret's bytes, or None if the client has none of that id."""

    async def ssh_agent(self, id: str) -> str | None:
        """A path at which this process can connect to the client's SSH agent (a unix socket), or None."""

    async def upload(self, id: str) -> int | None:
        """A readable descriptor of a stream that the client sends (a tar context on its standard input), or None.
        The caller closes it."""

    async def registry_credentials(self, host: str) -> Credential | None:
        """For a registry's domain, as references name it; None if the client has none."""

    async def output(self, index: int) -> OutputTarget | None:
        """Where the result of the request's exporter number `index` goes, or None if the client named no target."""
