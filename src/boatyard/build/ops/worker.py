"""What ops work with: the daemon's stores and runtime (`Worker`), and what this one build brings along
(`BuildContext`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boatyard.build.copying.memory import ContextMemory
from boatyard.build.entitlements import Grant
from boatyard.build.llb.graph import Edge, ProxyEnv
from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.requester import Requester
from boatyard.build.result import Result
from boatyard.build.source.image import Images
from boatyard.build.source.occupancy import Occupancy
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.runtime.cdi.registry import Registry
from boatyard.runtime.container import ContainerSpec, Executor


@dataclass(frozen=True, slots=True)
class Worker:
    """One per daemon. `directory` is for files that sources keep (git mirrors, downloads), `occupancy` says who is at
    work in them. `cgroup_parent` is for steps that name none."""

    layers: LayerStore
    images: Images
    executor: Executor
    cache_mounts: CacheMounts
    directory: Path
    contexts: ContextMemory
    platform: Platform
    occupancy: Occupancy = field(default_factory=Occupancy)
    cgroup_parent: str = ""
    devices: Registry | None = None
    """None: there are none."""


@dataclass(frozen=True, slots=True)
class StepRemains:
    """What a step that failed was given and left behind, mount by mount; None is the empty tree, or nothing to keep (a
    secret, a cache)."""

    given: tuple[Result | None, ...]
    left: tuple[Result | None, ...]


@dataclass(frozen=True, slots=True)
class BuildContext:
    """One per build.

    `failed` is called with the exact state of a failed step, mounted and ready to run in, before it is taken down.
    `solve` lets an op solve more of a graph (LLB in LLB). `used` collects the ids of secrets and agents that were asked
    for. `remains` takes what failed steps leave behind, by vertex digest, where somebody may ask for it.
    """

    requester: Requester
    solve: Callable[[Edge], Awaitable[Any]]
    entitlements: Grant = field(default_factory=Grant)
    trust_host_ca: bool = False
    proxy: ProxyEnv | None = None
    failed: Callable[[ContainerSpec, str], Awaitable[None]] | None = None
    used: set[str] = field(default_factory=set)
    remains: dict[str, StepRemains] | None = None
