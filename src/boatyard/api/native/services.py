"""What the native API asks of the rest of the daemon, one protocol a noun. Wired in `daemon.wiring`.

Every method may raise errors of `boatyard.errors`. Cancelling a call stops what it does and leaves nothing behind.
`emit` takes events on the event loop's thread. Descriptors that are passed in stay the caller's, and no thread may use
them any more when the method returns or raises; a thread that waits for one is woken up before the call is cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from boatyard.api.native.keys import ClientKeys
from boatyard.build.requester import Requester
from boatyard.client.documents.builds import (
    BuildDelete,
    BuildDetail,
    BuildRequest,
    BuildResult,
    BuildSummary,
    DebugRequest,
)
from boatyard.client.documents.disk import (
    CacheMount,
    CacheMountDelete,
    CacheMountsDeleted,
    CacheMountTransferred,
    Pruned,
    PruneRequest,
    Usage,
)
from boatyard.client.documents.images import (
    Bootstrapped,
    BootstrapRequest,
    ImageDelete,
    ImageDetail,
    ImageHistory,
    ImageImport,
    ImagePull,
    ImagePulled,
    ImagePush,
    ImagePushed,
    ImageSave,
    ImagesDeleted,
    ImagesLoaded,
    ImagesSaved,
    ImageSummary,
)
from boatyard.client.documents.platforms import PlatformRequest, PlatformsChanged, PlatformState
from boatyard.client.documents.runs import RunRequest
from boatyard.client.documents.system import Check, DaemonInfo
from boatyard.progress import Emit, Event
from boatyard.runtime.container import Stdio, TerminalReceiver

if TYPE_CHECKING:
    from boatyard.api.buildkit.requester import Places


class LinkedRequester(Requester, Protocol):
    """A build's, with those of the builds that it is linked to, by id."""

    @property
    def linked(self) -> Mapping[str, Requester]: ...


class BuildService(Protocol):
    async def build(
        self, request: BuildRequest, requester: LinkedRequester, emit: Emit, terminal: TerminalReceiver | None
    ) -> BuildResult:
        """`terminal` is None unless the client asked for a shell on failure. It may be called from any thread, once
        for each shell."""

    async def list_builds(self, *, limit: int, status: str) -> Sequence[BuildSummary]:
        """Newest first, running ones included. `limit` 0 is all, `status` "" any."""

    async def inspect_build(self, ref: str) -> BuildDetail:
        """`ref`: a unique prefix, or "latest". NotFoundError, ConflictError when ambiguous."""

    def build_logs(self, ref: str, *, follow: bool) -> AsyncIterator[Event]: ...

    async def cancel_build(self, ref: str) -> BuildDetail:
        """Returns when it has ended. ConflictError when it had already."""

    async def delete_builds(self, request: BuildDelete) -> Sequence[str]:
        """The refs that are gone. ConflictError for a running one."""

    async def debug_build(
        self, ref: str, request: DebugRequest, stdio: Stdio | TerminalReceiver, emit: Emit
    ) -> int: ...


class ImageService(Protocol):
    async def list_images(self, filters: Sequence[str]) -> Sequence[ImageSummary]: ...
    async def inspect_image(self, name: str, platform: str) -> ImageDetail: ...
    async def image_history(self, name: str, platform: str) -> ImageHistory: ...
    async def delete_images(self, request: ImageDelete) -> ImagesDeleted: ...
    async def tag_image(self, source: str, target: str) -> str:
        """The new name in full."""

    async def load_images(self, archive_fd: int, emit: Emit) -> ImagesLoaded:
        """`archive_fd` may be a pipe: it is read once, blocking, in a thread."""

    async def import_image(self, request: ImageImport, archive_fd: int, emit: Emit) -> ImagesLoaded: ...
    async def save_images(self, request: ImageSave, target_fd: int, emit: Emit) -> ImagesSaved:
        """`target_fd` may be a pipe. NotFoundError before anything is written."""

    async def pull_image(self, request: ImagePull, keys: ClientKeys, emit: Emit) -> ImagePulled: ...
    async def push_image(self, request: ImagePush, keys: ClientKeys, emit: Emit) -> ImagePushed: ...
    async def bootstrap(self, request: BootstrapRequest, emit: Emit) -> Bootstrapped: ...


class DiskService(Protocol):
    async def usage(self, filters: Sequence[str]) -> Usage: ...
    async def prune(self, request: PruneRequest) -> Pruned: ...
    async def list_cache_mounts(self) -> Sequence[CacheMount]: ...
    async def export_cache_mount(
        self, id: str, target_fd: int, compression: str, emit: Emit
    ) -> CacheMountTransferred: ...
    async def import_cache_mount(self, id: str, archive_fd: int, emit: Emit) -> CacheMountTransferred: ...
    async def delete_cache_mounts(self, request: CacheMountDelete) -> CacheMountsDeleted: ...


class RunService(Protocol):
    async def run(
        self, request: RunRequest, stdio: Stdio | TerminalReceiver, on_start: Callable[[str], None], emit: Emit
    ) -> int:
        """The exit code. `on_start` is called on the event loop with the container's ID, which `signal` takes."""

    async def signal(self, id: str, signal: str) -> None: ...


class PlatformService(Protocol):
    async def list_platforms(self) -> Sequence[PlatformState]:
        """This machine's own first."""

    async def install_platforms(self, request: PlatformRequest) -> PlatformsChanged:
        """May fetch a package. DeniedError without root's rights."""

    async def uninstall_platforms(self, request: PlatformRequest) -> PlatformsChanged:
        """NotFoundError for one that was named and isn't installed."""


class SystemService(Protocol):
    async def info(self) -> DaemonInfo: ...
    async def doctor(self) -> Sequence[Check]: ...
    async def shutdown(self, *, when_idle: bool) -> None:
        """Returns at once; the daemon stops behind it. ConflictError when it should be idle and isn't."""


@dataclass(frozen=True, slots=True)
class Services:
    """What this daemon offers. A part that is None has no routes."""

    system: SystemService
    builds: BuildService | None = None
    places: Callable[[], Places] | None = None
    """Where sessions of builds come together; None where clients can open none."""
    images: ImageService | None = None
    disk: DiskService | None = None
    runs: RunService | None = None
    platforms: PlatformService | None = None
