"""What Docker's API asks of the rest of the daemon, one protocol a noun. Wired in `daemon.wiring`.

The values are those of the native API's documents, where it has them: both faces speak to the same services. Every
method may raise errors of `boatyard.errors`. Cancelling a call stops what it does and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from boatyard.build.request import BuildReply, BuildRequest, Export
from boatyard.build.requester import Requester
from boatyard.build.service import Planned
from boatyard.build.source.image import Keys
from boatyard.client.documents.disk import Pruned, PruneRequest, Usage
from boatyard.client.documents.envelope import StreamEvent
from boatyard.client.documents.images import (
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
from boatyard.client.documents.system import DaemonInfo
from boatyard.engine.events import Events
from boatyard.image.platform import Platform
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.progress import Emit

if TYPE_CHECKING:
    from boatyard.session.registry import Sessions


class SystemService(Protocol):
    async def info(self) -> DaemonInfo: ...


@dataclass(frozen=True, slots=True)
class ManifestDetail:
    """One manifest of an image. `kind`: image, attestation or unknown; an attestation's `subject` is what it is about.
    `available`: everything of it is here. Sizes in bytes: of its blobs, and of its layers unpacked."""

    descriptor: Descriptor
    kind: str
    available: bool
    content_size: int
    unpacked_size: int = 0
    subject: str = ""


@dataclass(frozen=True, slots=True)
class LayerUse:
    """Bytes of all layers of all images, each counted once; and, by an image's digest, of those layers of it that other
    images have, too."""

    total: int
    shared: Mapping[str, int]


class BuildService(Protocol):
    async def run(
        self, request: BuildRequest, requester: Requester, emit: Emit, *, planned: Planned | None = None
    ) -> BuildReply:
        """With the daemon's own settings where the request says nothing."""

    def cancel(self, ref: str) -> None:
        """ConflictError when no such build runs."""


class SessionClient(Requester, Protocol):
    """A requester that is asked over a session."""

    def abort(self) -> None:
        """No thread waits for the client any longer. Called before the build is cancelled."""


class SessionBuilds(Protocol):
    """What builds over a session take from the face that speaks BuildKit's own protocol."""

    def requester(self, session: str, exports: Sequence[Export]) -> AbstractAsyncContextManager[SessionClient]:
        """The client whose session that is, for one build."""

    def status(self, sources: Callable[[], Mapping[str, str]]) -> Callable[[Sequence[StreamEvent]], Iterable[bytes]]:
        """Makes BuildKit's StatusResponse messages of a build's events, encoded. `sources` are its source files by
        name."""


class DiskService(Protocol):
    async def usage(self, filters: Sequence[str]) -> Usage: ...
    async def prune(self, request: PruneRequest) -> Pruned: ...


class ImageService(Protocol):
    async def resolve_image(self, name: str) -> None:
        """NotFoundError when there is no such image, whatever is wrong with it; ConflictError when the name is the
        beginning of several IDs."""

    async def list_images(self, filters: Sequence[str]) -> Sequence[ImageSummary]: ...
    async def inspect_image(self, name: str, platform: str) -> ImageDetail: ...
    async def image_manifests(self, name: str) -> Sequence[ManifestDetail]: ...
    async def layer_use(self) -> LayerUse: ...
    async def image_history(self, name: str, platform: str) -> ImageHistory: ...
    async def delete_images(self, request: ImageDelete) -> ImagesDeleted: ...
    async def tag_image(self, source: str, target: str) -> str:
        """The new name in full."""

    async def load_images(self, archive_fd: int, emit: Emit) -> ImagesLoaded: ...
    async def import_image(self, request: ImageImport, archive_fd: int, emit: Emit) -> ImagesLoaded: ...
    async def save_images(self, request: ImageSave, target_fd: int, emit: Emit) -> ImagesSaved: ...
    async def pull_image(self, request: ImagePull, keys: Keys, emit: Emit) -> ImagePulled: ...
    async def push_image(self, request: ImagePush, keys: Keys, emit: Emit) -> ImagePushed: ...
    async def check_registry(self, host: str, keys: Keys) -> None:
        """DeniedError when it doesn't take the credentials, UnavailableError when it is no registry."""

    async def look_up(self, reference: Reference, keys: Keys) -> RegistryImage:
        """What a registry has under a name. NotFoundError."""


@dataclass(frozen=True, slots=True)
class RegistryImage:
    target: Descriptor
    platforms: Sequence[Platform]


@dataclass(frozen=True, slots=True)
class Services:
    """What this daemon offers. `scratch`: where contexts of builds are unpacked, on the file system of the snapshots.
    `driver`: what keeps layers as files. `grpc` makes the protocol for a connection that is to speak BuildKit's gRPC,
    `sessions` gives the registry of those that clients open; with `session_builds`, whole builds are made that way."""

    system: SystemService
    images: ImageService
    builds: BuildService
    disk: DiskService
    events: Events
    scratch: Path
    driver: str = ""
    grpc: Callable[[], asyncio.Protocol] | None = None
    sessions: Callable[[], Sessions] | None = None
    session_builds: SessionBuilds | None = None

    @property
    def speaks_buildkit(self) -> bool:
        return self.session_builds is not None
