"""What a build may ask of the party that requested it, as a protocol.

A requester on this machine answers with open descriptors (`api.native`); one that speaks BuildKit's protocol answers
over its session. Ops, sources and exporters know only this page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.registry.credential import Credential


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a directory will be read: patterns as in BuildKit's `local` source. `hint` tells directories of one name
    apart, `session` names the session that offers it, where it isn't the build's own. `afresh`: where files have to
    travel, all are to, even those that look the same."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()
    hint: str = ""
    session: str = ""
    afresh: bool = False


WHOLE = Wanted()


@dataclass(frozen=True, slots=True)
class ClientDirectory:
    """A directory of the requester's that this process can read through `fd` (open with O_DIRECTORY|O_PATH or
    O_RDONLY).

    `identity` is stable over builds for the same directory of the same client: stat caches are kept under it.
    The descriptor belongs to the context that yielded it. `given`: the directory was made for this build alone, on the
    snapshots' file system if that can be, and nobody changes its files any more. They may become files of layers by
    hard links. `transferred`: bytes that had to travel for it; None when it is the directory itself.
    """

    fd: int
    identity: str
    given: bool = False
    transferred: int | None = None


Progress = Callable[[int], None]
"""Takes the bytes that travelled so far."""


class TreeTarget(Protocol):
    """Where the `local` exporter's files go, where that is no directory of this machine."""

    async def send(self, directory: int, *, whole: bool, latest: int | None, progress: Progress) -> None:
        """All that is in an open directory. `whole`: what the requester has there beside that goes (mode=delete).
        `latest`: no file is younger than that, in seconds since the epoch. Returns when all has arrived."""


@dataclass(frozen=True, slots=True)
class OutputTarget:
    """Where an exporter may write: exactly one of an open writable file (or pipe), an open directory, and a tree that
    is somewhere else.

    Files made in the directory are given to `uid`/`gid`, the requester's. Both descriptors belong to the requester
    object. `finish` is called when everything was written; it returns when that has arrived.
    """

    file_fd: int | None = None
    directory_fd: int | None = None
    tree: TreeTarget | None = None
    uid: int = 0
    gid: int = 0
    finish: Callable[[], Awaitable[None]] | None = None


class Requester(Protocol):
    """One per build. Every method raises UnavailableError when the other end has gone."""

    def directory(
        self, name: str, wanted: Wanted = WHOLE, *, progress: Progress | None = None
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        """The local directory called `name` ("context", "dockerfile", a named context). `wanted` tells what will be
        read; the directory may hold more. Its files can be read until the build ends. NotFoundError if the client
        offers none of that name."""

    def layout(
        self, name: str, digest: Digest | None, platform: Platform, *, session: str = ""
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        """The OCI image layout called `name`, a directory that holds at least what the image `digest` needs on a
        platform. NotFoundError as above."""

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
