"""The local source: a directory of the requester's, read in place.

Nothing is transferred or copied here: the source scans the directory once and hands on what it found. Steps that copy
from it read the files, or find that they copied them before. A step that must have a directory of its own to mount gets
a layer with a copy.

There is no key by which a directory could be found again, so this step is never cached; the steps that read from it
are, by the contents they read.

Attributes: moby/buildkit `solver/pb/attr.go` (local.includepattern, local.excludepatterns, local.followpaths).
"""

from __future__ import annotations

import asyncio
import hashlib
import stat as modes
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from boatyard.build.copying.copy import Copier, CopyOptions
from boatyard.build.copying.draft import Draft
from boatyard.build.copying.memory import ContextMemory
from boatyard.build.copying.reuse import Note, open_reuse
from boatyard.build.requester import Requester, Wanted
from boatyard.build.result import Result, Selector, entries, read_file, stat
from boatyard.build.solver.types import CacheMap, ContentKey, StepContext
from boatyard.build.tree import checksum
from boatyard.build.tree.node import Node
from boatyard.build.tree.report import ContextReport
from boatyard.build.tree.scan import ClientTree, ContextChangedError
from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image.interruption import Stop, run_interruptible
from boatyard.image.layer.chain import Chain
from boatyard.image.layer.store import LayerStore
from boatyard.paths.filter import Filter

ATTEMPTS = 5
"""So often a directory is scanned again because a file in it changed while it was read."""
FRESH = 1.0
"""Seconds for which a scan is taken for what is there now."""
_MOST_NAMED = 3


class LocalTree:
    """A view of a client's directory at one moment. Implements `build.result.Result`. Lives as long as the build."""

    def __init__(self, files: ClientTree, identity: str, filter: Filter, layers: LayerStore, memory: ContextMemory):
        self.files = files
        self.identity = identity
        self._filter = filter
        self._layers = layers
        self._memory = memory
        self._keyed = False
        self._chain: Chain | None = None
        self._copying = asyncio.Lock()

    async def current(self) -> LocalTree:
        """The directory as it is now, to be used for one step: its key and then its files."""
        files = self.files
        if files.age > FRESH and not files.given:
            files = await asyncio.to_thread(files.rescanned)
        return LocalTree(files, self.identity, self._filter, self._layers, self._memory)

    async def content_key(self, selectors: Sequence[Selector]) -> ContentKey:
        return await asyncio.to_thread(self._content_key, selectors)

    def _content_key(self, selectors: Sequence[Selector]) -> ContentKey:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                key = checksum.content_key(self.files, selectors)
                self._keyed = True
                return key
            except ContextChangedError:
                # Once a key was given, the files must stay those that it stands for.
                if self._keyed or attempt == ATTEMPTS:
                    raise
                self.files = self.files.rescanned()
        raise AssertionError("unreachable")

    async def chain(self) -> Chain:
        async with self._copying:
            if self._chain is None:
                self._chain = await run_interruptible(self._copied)
            return self._chain

    def _copied(self, stop: Stop) -> Chain:
        identified = repr((self.identity, self._filter))
        key = f"context {hashlib.sha256(identified.encode(errors='surrogateescape')).hexdigest()}"
        draft = Draft(self._layers, ())
        reuse = open_reuse(self._layers, self._memory.note(key))
        try:
            copier = Copier(self.files, draft.destination, CopyOptions(), stop, reuse=reuse)
            copier.add(self.files.root, "")
            copier.run()
            chain = draft.commit()
            self._memory.keep(key, Note(chain[-1], copier.noted))
            return chain
        finally:
            draft.discard()
            if reuse:
                reuse.close()

    @asynccontextmanager
    async def tree(self) -> AsyncIterator[Path]:
        mount = self._layers.mount(await self.chain())
        path = await asyncio.to_thread(mount.__enter__)
        try:
            yield path
        finally:
            await asyncio.to_thread(mount.__exit__, None, None, None)

    async def read_file(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        return await asyncio.to_thread(read_file, self.files, path, offset, length)

    async def read_dir(self, path: str) -> Sequence[str]:
        return tuple(node.name for node in await self.entries(path))

    async def entries(self, path: str) -> Sequence[Node]:
        return entries(self.files, path)

    async def stat(self, path: str) -> Node:
        return stat(self.files, path)

    async def report(self) -> ContextReport:
        """What it holds, and what the ignore file leaves out."""
        return await asyncio.to_thread(self.files.report)


class LocalStep:
    """The op of one local source in one build."""

    def __init__(
        self,
        identifier: str,
        attrs: Mapping[str, str],
        requester: Requester,
        layers: LayerStore,
        memory: ContextMemory,
    ) -> None:
        if attrs.get("local.metadatatransfer", "").lower() in ("1", "t", "true"):
            raise UnsupportedError("a local source without the files' contents is not supported")
        self._name = identifier.partition("://")[2]
        self._filter = Filter(
            _patterns(attrs, "local.includepattern"),
            _patterns(attrs, "local.excludepatterns"),
            _patterns(attrs, "local.followpaths"),
        )
        self._wanted = Wanted(
            self._filter.include,
            self._filter.exclude,
            self._filter.follow,
            hint=attrs.get("local.sharedkeyhint", ""),
            session=attrs.get("local.session", ""),
            afresh=attrs.get("local.differ") == "none",
        )
        self._requester = requester
        self._layers = layers
        self._memory = memory

    async def cache_map(self, step: StepContext) -> CacheMap:
        return CacheMap(digest=f"local {self._name}", cacheable=False)

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        name = f"transferring {self._name}:"

        def progress(size: int) -> None:
            step.status(name, current=size)

        async with self._requester.directory(self._name, self._wanted, progress=progress) as directory:
            index = self._memory.index(directory.identity)
            files = await asyncio.to_thread(ClientTree, directory.fd, self._filter, index, given=directory.given)
        size = _size(files) if directory.transferred is None else directory.transferred
        step.status(name, current=size, done=True)
        _warn_of_sockets(step, files)
        return [LocalTree(files, directory.identity, self._filter, self._layers, self._memory)]


def _size(files: ClientTree) -> int:
    nodes = (node for children in files.listing.children.values() for node in children)
    return sum(node.size for node in nodes if modes.S_ISREG(node.mode))


def _warn_of_sockets(step: StepContext, files: ClientTree) -> None:
    listing = files.listing
    if sockets := sorted(listing.sockets):
        named = ", ".join(f"/{path}" for path in sockets[:_MOST_NAMED])
        more = f" and {len(sockets) - _MOST_NAMED} more" if len(sockets) > _MOST_NAMED else ""
        step.warn(f"sockets can't be in an image and are left out: {named}{more}")


def _patterns(attrs: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = attrs.get(name)
    if not text:
        return ()
    try:
        return tuple(msgspec.json.decode(text, type=list[str] | None) or ())
    except msgspec.DecodeError as error:
        raise InvalidError(f"the attribute {name} is not a JSON list of strings: {error}") from error
