"""What is mounted into a step: directories of other states, caches, secrets, agents, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from boatyard.build.llb import graph
from boatyard.build.llb.graph import CacheOpt, CacheSharing, MountType, SecretOpt, SSHOpt
from boatyard.errors import InvalidError

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Mount(Generic[S]):
    """`mount` is complete but for the numbers of its input and output. `source` is the state that is mounted."""

    mount: graph.Mount
    source: S | None = None

    @property
    def writable_output(self) -> bool:
        """Whether what the step writes there is kept, as an output of its own."""
        return self.mount.type is MountType.BIND and not self.mount.readonly


def bind(source: S, target: str, *, path: str = "/", writable: bool = False) -> Mount[S]:
    """The directory or file `path` of a state. What a step writes to a writable one is in
    `Execution.outputs[target]`."""
    selector = "" if path in ("", "/") else path
    return Mount(graph.Mount(target, selector=selector, readonly=not writable), source)


def cache(target: str, *, id: str = "", sharing: str = "shared", source: S | None = None, path: str = "/") -> Mount[S]:
    """A directory that outlives the build, by `id` (the target where there is none). `sharing`: shared, private or
    locked. A new one begins with the files of `source`."""
    kinds = {"shared": CacheSharing.SHARED, "private": CacheSharing.PRIVATE, "locked": CacheSharing.LOCKED}
    if sharing not in kinds:
        raise InvalidError(f"unknown sharing {sharing!r} of a cache", hint=f"it is {', '.join(kinds)}")
    selector = "" if path in ("", "/") else path
    option = CacheOpt(id or target, kinds[sharing])
    return Mount(graph.Mount(target, selector=selector, type=MountType.CACHE, cache=option), source)


def secret(
    id: str, target: str = "", *, mode: int = 0o400, uid: int = 0, gid: int = 0, required: bool = True
) -> Mount[S]:
    """A secret as a file, `/run/secrets/ID` where no target is given. Not required: nothing is mounted when the client
    has none."""
    option = SecretOpt(id, uid, gid, mode, not required)
    return Mount(graph.Mount(target or f"/run/secrets/{id}", type=MountType.SECRET, secret=option))


def ssh(
    id: str = "default", target: str = "", *, mode: int = 0o600, uid: int = 0, gid: int = 0, required: bool = True
) -> Mount[S]:
    """The client's SSH agent as a socket; SSH_AUTH_SOCK names it."""
    option = SSHOpt(id, uid, gid, mode, not required)
    return Mount(graph.Mount(target or f"/run/buildkit/ssh_agent.{id}", type=MountType.SSH, ssh=option))


def tmpfs(target: str, *, size: int = 0) -> Mount[S]:
    """Memory: empty, and gone after the step. `size` in bytes, 0 is no limit."""
    return Mount(graph.Mount(target, type=MountType.TMPFS, tmpfs_size=size))
