"""The requester of a native build: everything it may be asked for came as open descriptors."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from boatyard.api.native.keys import ClientKeys
from boatyard.api.native.offers import Handover, Offers
from boatyard.api.native.relays import Relays, check_access
from boatyard.build.requester import WHOLE, ClientDirectory, OutputTarget, Progress, Wanted
from boatyard.client.descriptors import MAX_SECRET
from boatyard.client.documents.builds import BuildRequest, LinkedBuild, Local
from boatyard.errors import InvalidError, NotFoundError
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.registry.credential import Credential
from boatyard.wire.peer import Peer
from boatyard.wire.pipes import until_readable

_PIECE = 65536


@asynccontextmanager
async def open_requester(request: BuildRequest, offers: Offers, peer: Peer) -> AsyncIterator[DescriptorRequester]:
    """Claims every descriptor the request names, at once: offers don't wait for long. All are closed at the end."""
    requester = DescriptorRequester(request, peer)
    everyone = (requester, *requester.linked.values())
    try:
        for each in everyone:
            for token in each.tokens():
                each.add(await offers.claim(token, peer.uid))
            each.check()
        yield requester
        for each in everyone:
            await each.finish()
    finally:
        for each in everyone:
            await each.close()


class DescriptorRequester:
    """Satisfies `build.requester.Requester`. One per build. `user` is that of the build which a linked one is of."""

    def __init__(self, request: BuildRequest, peer: Peer, user: DescriptorRequester | None = None) -> None:
        self._request = request
        self._peer = peer
        self._handovers: dict[str, Handover] = {}
        self._secrets: dict[str, asyncio.Task[bytes]] = {}
        self._uploads_taken: set[str] = set()
        self._relays = Relays()
        self.linked = {id: DescriptorRequester(_alone(build), peer, self) for id, build in request.linked.items()}
        """Those of the builds that this one is linked to, by id."""
        self._user = user
        self._keys = ClientKeys(None)

    def tokens(self) -> Iterable[str]:
        request = self._request
        named = [local.token for local in request.locals.values()]
        named += [*request.secrets.values(), *request.ssh.values(), *request.uploads.values()]
        named += [export.token for export in request.exports]
        named.append(request.credentials)
        named += [option.token for option in (*request.cache_from, *request.cache_to)]
        return dict.fromkeys(token for token in named if token)

    def add(self, handover: Handover) -> None:
        self._handovers[handover.token] = handover

    def check(self) -> None:
        """InvalidError when a descriptor is not of the kind its name wants."""
        request = self._request
        for name, local in request.locals.items():
            _check_directory(self._descriptor(local.token), name, local)
        for id, token in request.ssh.items():
            if not stat.S_ISSOCK(os.fstat(self._descriptor(token)).st_mode):
                raise InvalidError(f"what was given as ssh agent {id!r} is not a unix socket")
        if request.credentials:
            self._keys = ClientKeys(self._descriptor(request.credentials))
        for id, token in request.uploads.items():
            check_access(self._descriptor(token), os.O_RDONLY, f"upload {id!r}")
        for index, export in enumerate(request.exports):
            if export.token and not _is_directory(self._descriptor(export.token)):
                check_access(self._descriptor(export.token), os.O_WRONLY, f"output {index + 1} (type {export.type})")

    async def finish(self) -> None:
        """Everything that was written has arrived after this."""
        await self._relays.finish()

    def abort(self) -> None:
        """Nothing that reads from or writes to the client's pipes waits any longer. Nothing more will arrive."""
        for each in (self, *self.linked.values()):
            each._relays.abort()

    async def close(self) -> None:
        for task in self._secrets.values():
            task.cancel()
        if self._secrets:
            await asyncio.wait(self._secrets.values())
        await self._relays.close()
        await self._keys.close()
        for handover in self._handovers.values():
            handover.close()

    @asynccontextmanager
    async def directory(
        self, name: str, wanted: Wanted = WHOLE, *, progress: Progress | None = None
    ) -> AsyncIterator[ClientDirectory]:
        """The patterns are of no use here: the reader sees the whole directory, and nothing is sent."""
        local = self._request.locals.get(name)
        if local is None:
            raise NotFoundError(f"the client offers no local directory called {name!r}", hint=_offered(self._request))
        descriptor = os.dup(self._descriptor(local.token))
        try:
            yield ClientDirectory(descriptor, f"{self._peer.uid}:{local.identity}")
        finally:
            os.close(descriptor)

    def layout(
        self, name: str, digest: Digest | None, platform: Platform, *, session: str = ""
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        return self.directory(name)

    async def secret(self, id: str) -> bytes | None:
        """Read once, since a pipe gives its bytes once. InvalidError when larger than 500 KiB."""
        token = self._request.secrets.get(id)
        if token is None:
            return None
        if id not in self._secrets:
            self._secrets[id] = asyncio.ensure_future(_read_secret(self._descriptor(token), id))
        return await asyncio.shield(self._secrets[id])

    async def ssh_agent(self, id: str) -> str | None:
        token = self._request.ssh.get(id)
        # A descriptor opened with O_PATH can't be connected to, but its name in /proc can.
        return None if token is None else f"/proc/{os.getpid()}/fd/{self._descriptor(token)}"

    async def upload(self, id: str) -> int | None:
        """The stream can be taken once: InvalidError the second time."""
        token = self._request.uploads.get(id)
        if token is None:
            return None
        if id in self._uploads_taken:
            raise InvalidError(f"the upload {id!r} was read already: a stream can be read once")
        self._uploads_taken.add(id)
        return self._relays.readable(self._descriptor(token))

    async def registry_credentials(self, host: str) -> Credential | None:
        return await (self if self._user is None else self._user)._keys.registry_credentials(host)

    async def output(self, index: int) -> OutputTarget | None:
        exports = self._request.exports
        if not 0 <= index < len(exports) or not exports[index].token:
            return None
        descriptor = self._descriptor(exports[index].token)
        uid, gid = self._peer.uid, self._peer.gid
        if _is_directory(descriptor):
            return OutputTarget(directory_fd=descriptor, uid=uid, gid=gid)
        return OutputTarget(file_fd=self._relays.writable(descriptor), uid=uid, gid=gid)

    def cache_directory(self, token: str) -> int:
        """The directory of a `type=local` cache, which belongs to this object."""
        descriptor = self._descriptor(token)
        if not _is_directory(descriptor):
            raise InvalidError("what was given for a local cache is not a directory")
        return descriptor

    def _descriptor(self, token: str) -> int:
        descriptors = self._handovers[token].descriptors
        if len(descriptors) != 1:
            raise InvalidError(f"one descriptor was expected with a token, {len(descriptors)} came")
        return descriptors[0]


def _alone(build: LinkedBuild) -> BuildRequest:
    """What a linked build's client gave, as a request."""
    return BuildRequest(locals=build.locals, secrets=build.secrets, ssh=build.ssh, uploads=build.uploads)


def _check_directory(descriptor: int, name: str, local: Local) -> None:
    """The identity keys the stat cache, so nobody may claim another directory's; and a directory that was opened for
    reading proves that the client may list it, which O_PATH wouldn't."""
    status = os.fstat(descriptor)
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidError(f"what was given as the local directory {name!r} is not a directory")
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_PATH:
        raise InvalidError(f"the local directory {name!r} was not opened for reading")
    device, _, rest = local.identity.partition(":")
    inode, _, path = rest.partition(":")
    if (device, inode) != (str(status.st_dev), str(status.st_ino)) or not path:
        raise InvalidError(f"the identity of the local directory {name!r} is not that of the descriptor")


def _is_directory(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def _offered(request: BuildRequest) -> str:
    return f"it offers: {', '.join(sorted(request.locals))}" if request.locals else "it offers none"


async def _read_secret(descriptor: int, id: str) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        data = await asyncio.to_thread(_read_file, descriptor)
    elif stat.S_ISFIFO(mode):
        data = await _read_pipe(descriptor)
    else:
        raise InvalidError(f"the secret {id!r} is neither a file nor a pipe")
    if len(data) > MAX_SECRET:
        raise InvalidError(f"the secret {id!r} is larger than {MAX_SECRET // 1024} KiB")
    return data


def _read_file(descriptor: int) -> bytes:
    data = bytearray()
    while len(data) <= MAX_SECRET and (piece := os.pread(descriptor, _PIECE, len(data))):
        data += piece
    return bytes(data)


async def _read_pipe(descriptor: int) -> bytes:
    # Opened anew, because O_NONBLOCK on the client's own description would show at the client.
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    data = bytearray()
    try:
        while len(data) <= MAX_SECRET:
            await until_readable(own)
            piece = os.read(own, _PIECE)
            if not piece:
                break
            data += piece
    finally:
        os.close(own)
    return bytes(data)
