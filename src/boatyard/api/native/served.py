"""The requester of a native build whose client is on another machine: what the request names by tokens is asked of a
session, under these tokens."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from boatyard.api.buildkit.requester import Places, SessionRequester
from boatyard.build import request as requests
from boatyard.build.requester import WHOLE, ClientDirectory, OutputTarget, Progress, Wanted
from boatyard.client.documents.builds import BuildRequest, Export, LinkedBuild, Local
from boatyard.errors import BoatyardError, InvalidError, NotFoundError
from boatyard.image.digest import Digest
from boatyard.image.interruption import run_settled
from boatyard.image.platform import Platform
from boatyard.image.snapshot.area import remove_tree
from boatyard.registry.credential import Credential
from boatyard.session import filesend
from boatyard.session.session import Session

_MOST_OUTPUTS = 1000


@asynccontextmanager
async def open_served(request: BuildRequest, places: Places) -> AsyncIterator[ServedRequester]:
    """For the time of a build, which ends when the session does. UnavailableError when that doesn't come."""
    async with SessionRequester(request.session, places, _outputs(request)) as asked, AsyncExitStack() as held:
        session = await asked.session()
        async with session.needed():
            yield ServedRequester(request, asked, session, places.scratch, held)


class ServedRequester:
    """Satisfies `build.requester.Requester`. One per build, and one for each build that it is linked to."""

    def __init__(
        self,
        request: BuildRequest | LinkedBuild,
        asked: SessionRequester,
        session: Session,
        scratch: Path,
        held: AsyncExitStack,
    ) -> None:
        self._request = request
        self._asked = asked
        self._session = session
        self._scratch = scratch
        self._held = held
        self.linked: Mapping[str, ServedRequester] = {}
        if isinstance(request, BuildRequest):
            self.linked = {
                id: ServedRequester(build, asked, session, scratch, held) for id, build in request.linked.items()
            }

    def abort(self) -> None:
        """Nothing that was given out is read by anybody any more."""
        self._asked.abort()

    @asynccontextmanager
    async def directory(
        self, name: str, wanted: Wanted = WHOLE, *, progress: Progress | None = None
    ) -> AsyncIterator[ClientDirectory]:
        token = self._local(name).token
        # Builds that are linked say whose directory it is where a session stands; all are of one.
        wanted = replace(wanted, session="")
        async with AsyncExitStack() as stack:
            try:
                directory = await stack.enter_async_context(self._asked.directory(token, wanted, progress=progress))
            except BoatyardError as error:
                error.message = error.message.replace(token, name)
                error.args = (error.message,)
                raise
            yield directory

    @asynccontextmanager
    async def layout(
        self, name: str, digest: Digest | None, platform: Platform, *, session: str = ""
    ) -> AsyncIterator[ClientDirectory]:
        async with self._asked.layout(self._local(name).token, digest, platform) as directory:
            yield directory

    async def secret(self, id: str) -> bytes | None:
        token = self._request.secrets.get(id)
        return None if token is None else await self._asked.secret(token)

    async def ssh_agent(self, id: str) -> str | None:
        token = self._request.ssh.get(id)
        return None if token is None else await self._asked.ssh_agent(token)

    async def upload(self, id: str) -> int | None:
        token = self._request.uploads.get(id)
        return None if token is None else await self._asked.upload(token)

    async def registry_credentials(self, host: str) -> Credential | None:
        return await self._asked.registry_credentials(host)

    async def output(self, index: int) -> OutputTarget | None:
        exports = self._request.exports if isinstance(self._request, BuildRequest) else ()
        if not 0 <= index < len(exports) or not exports[index].token:
            return None
        number = _number(exports[index].token)
        if _is_tree(exports[index]):
            return await self._layout_target(number)
        return await self._asked.output(number)

    async def _layout_target(self, number: int) -> OutputTarget:
        """A layout that is made here, and then sent as a directory."""
        directory = tempfile.mkdtemp(prefix="layout-", dir=self._scratch)
        self._held.push_async_callback(run_settled, remove_tree, directory)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._held.callback(os.close, descriptor)

        async def finish() -> None:
            await filesend.send_directory(self._session, number, descriptor)

        return OutputTarget(directory_fd=descriptor, finish=finish)

    def _local(self, name: str) -> Local:
        local = self._request.locals.get(name)
        if local is None:
            offered = ", ".join(sorted(self._request.locals)) or "none"
            raise NotFoundError(f"the client offers no local directory called {name!r}", hint=f"it offers: {offered}")
        return local


def _outputs(request: BuildRequest) -> list[requests.Export]:
    """What each of the session's exporters is for, by its number."""
    outputs: list[requests.Export] = []
    for export in request.exports:
        if not export.token:
            continue
        number = _number(export.token)
        outputs += [requests.Export("image")] * (number + 1 - len(outputs))
        outputs[number] = requests.Export(export.type)
    return outputs


def _number(token: str) -> int:
    if not token.isascii() or not token.isdigit() or int(token) >= _MOST_OUTPUTS:
        raise InvalidError(f"the token of an output of a session is the number of an exporter, not {token[:40]!r}")
    return int(token)


def _is_tree(export: Export) -> bool:
    return export.type != "local" and export.attrs.get("tar") in ("false", "0")
