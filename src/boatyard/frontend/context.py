"""What a build is made from: the file that describes it, the client's directory, and named contexts.

The rules are those of Dockerfiles (the context may be a directory of the client's, a git repository or a download;
`.dockerignore` applies): they are shared with the built-in frontend.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boatyard.build.frontend.base import FrontendRequest, FrontendResult, ResolvedImage
from boatyard.build.frontend.dockerfile import context as contexts
from boatyard.build.frontend.dockerfile import draft as drafts
from boatyard.build.frontend.dockerfile import sources
from boatyard.build.frontend.dockerfile.context import BuildContext
from boatyard.build.frontend.dockerfile.convert.paths import has_wildcards
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.frontend.dockerfile.named import NamedContexts
from boatyard.build.llb.graph import Edge, Graph
from boatyard.errors import NotFoundError, UnsupportedError
from boatyard.frontend.bridge import BaseImage, Bridge, based
from boatyard.frontend.options import Options
from boatyard.frontend.place import SourceFile
from boatyard.frontend.problem import BridgeError
from boatyard.frontend.reference import Reference
from boatyard.frontend.state import State
from boatyard.image.platform import Platform
from boatyard.image.spec import ImageConfig
from boatyard.progress import WarningEvent


@dataclass(frozen=True, slots=True)
class NamedContext:
    """A context that the request gave by name (`--build-context`). `config` where it is an image."""

    state: State
    config: ImageConfig | None = None


class Context:
    """One per build. Made by `load`."""

    def __init__(self, bridge: Bridge, loaded: BuildContext, named: NamedContexts) -> None:
        self._bridge = bridge
        self._loaded = loaded
        self._named = named
        self.file = SourceFile.of_bytes(loaded.filename, loaded.dockerfile)
        """The file that the build is described in, `--file`."""

    @property
    def data(self) -> bytes:
        """The bytes of `file`."""
        return self._loaded.dockerfile

    def files(self, *paths: str) -> State:
        """The client's directory (or what stands for it), narrowed to these paths; all of it without any. Name them:
        what isn't named isn't sent, and doesn't decide what is cached."""
        clean = [posixpath.normpath("/" + path) for path in paths]
        draft = self._loaded.draft(lambda: sources.narrowed(clean or ["/"]))
        return _state(draft, None)

    async def read_file(self, path: str) -> bytes:
        """A file of the client's directory. NotFoundError when it isn't there, or is ignored."""
        reference = await self._bridge.solve(self.files(path))
        try:
            return await reference.read_file(posixpath.normpath("/" + path))
        except BridgeError as error:
            if error.missing:
                raise NotFoundError(f"there is no file {path!r} in the build context") from error
            raise

    async def has(self, path: str) -> bool:
        """Whether there is a file or directory of that path (or pattern) in the client's directory."""
        reference = await self._bridge.solve(self.files(path))
        clean = posixpath.normpath("/" + path)
        if not has_wildcards(clean):
            return await _exists(reference, clean)
        directory, pattern = posixpath.split(clean)
        try:
            return bool(await reference.read_dir(directory, pattern=pattern))
        except BridgeError as error:
            if error.missing:
                return False
            raise

    async def image(self, reference: str, platform: Platform | None = None, *, mode: str = "default") -> BaseImage:
        """As FROM does it: what the request gives under this name (`--build-context`), or else the image. BridgeError
        when there is none."""
        wanted = platform or self._bridge.platform
        given = await self.named(reference, wanted)
        if given is None:
            return await self._bridge.image(reference, wanted, mode=mode)
        return based(given.state, given.config, reference)

    async def named(
        self, name: str, platform: Platform | None = None, *, paths: Sequence[str] = ()
    ) -> NamedContext | None:
        """What the request gives under this name in the place of a stage or an image; None when nothing."""
        wanted = platform or self._bridge.platform
        found = self._named.find(name, wanted)
        if found is None:
            return None
        clean = [posixpath.normpath("/" + path) for path in paths] or ["/"]
        loaded = await self._named.load(found, wanted, lambda: sources.narrowed(clean))
        return NamedContext(_state(loaded.output, wanted), loaded.config)


async def load(bridge: Bridge, options: Options, *, default_filename: str = "") -> Context:
    """Find the context and read the file that describes the build. NotFoundError when there is none."""
    raw = dict(options.raw)
    if default_filename and not raw.get("filename"):
        raw["filename"] = default_filename
    inputs: Mapping[str, Edge | None] = {name: state.edge for name, state in (await bridge.inputs()).items()}
    request = FrontendRequest(raw, inputs)
    seen = _Seen(bridge)
    try:
        loaded = await contexts.load(seen, request)
    except NotFoundError as error:
        raise NotFoundError(error.message, hint="name another one with --file") from error
    return Context(bridge, loaded, NamedContexts(raw, inputs, seen, options.resolve_mode))


async def _exists(reference: Reference, path: str) -> bool:
    try:
        await reference.stat(path)
    except BridgeError as error:
        if error.missing:
            return False
        raise
    return True


def _state(draft: Draft | None, platform: Platform | None) -> State:
    return State(drafts.finish(draft), platform=platform, steps=None)


class _Seen:
    """The bridge as the built-in frontend's modules know one. Implements `build.frontend.base.Bridge`."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.platform = bridge.platform
        self.entitlements: frozenset[str] = frozenset()

    async def resolve_image(self, reference: str, platform: Platform, *, mode: str = "default") -> ResolvedImage:
        store = ""
        if reference.startswith("oci-layout://"):
            store, _, digest = reference.removeprefix("oci-layout://").partition("@")
            reference = f"{store}@{digest}"
        return ResolvedImage(*await self._bridge.resolve(reference, platform, mode=mode, store=store))

    async def solve(self, graph: Graph) -> _Files:
        return _Files(await self._bridge.solve(State(graph.root, texts=graph.files)))

    async def run_frontend(self, name: str, request: FrontendRequest) -> FrontendResult:
        raise UnsupportedError("contexts are read without other frontends")

    def learn(self, files: Mapping[str, str]) -> None:
        raise UnsupportedError("nothing is warned of while contexts are read")

    def warn(self, warning: WarningEvent) -> None:
        raise UnsupportedError("nothing is warned of while contexts are read")


class _Files:
    """Implements `build.frontend.base.FileReader`."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    async def read_file(self, path: str) -> bytes:
        try:
            return await self._reference.read_file(path)
        except BridgeError as error:
            if error.missing:
                raise NotFoundError(error.message) from error
            raise

    async def read_dir(self, path: str) -> Sequence[str]:
        try:
            return [entry.name for entry in await self._reference.read_dir(path)]
        except BridgeError as error:
            if error.missing:
                raise NotFoundError(error.message) from error
            raise
