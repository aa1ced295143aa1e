"""What is asked of the builder, and what it answers, as values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from boatyard.build.cache.travel import CachePlace
from boatyard.build.frontend.base import Frontend, FrontendResult
from boatyard.build.llb.graph import Graph, ProxyEnv
from boatyard.build.policy.rule import Policy
from boatyard.build.requester import Requester
from boatyard.build.tree.report import ContextReport


@dataclass(frozen=True, slots=True)
class Export:
    """One exporter and its attributes (reference/builder.md 6). Where it writes, the requester says."""

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkedRequest:
    """A build whose result is an input of another one. What it needs of its client, `requester` gives."""

    options: Mapping[str, str]
    requester: Requester


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One solve request.

    `options` are frontend attributes. With `graph`, no frontend runs; `frontend` is one that the requester brings
    along, in the place of the one the options name. `inputs` are graphs that the frontend is given. `scope` names the
    project (the client's context directory), so that misses are explained against earlier builds of the same one.
    `keep_failed`: a step that fails is offered to the requester for a shell before it is taken down. `label`
    stands before the names of its steps, `group` is that of the solver's job, `linked` are the builds that its options
    name as inputs, by id.
    """

    ref: str
    options: Mapping[str, str] = field(default_factory=dict)
    graph: Graph | None = None
    frontend: Frontend | None = None
    inputs: Mapping[str, Graph] = field(default_factory=dict)
    exports: Sequence[Export] = ()
    choose: Callable[[FrontendResult], Awaitable[Sequence[Export]]] | None = None
    """Further exporters, which the requester names when everything is solved."""
    entitlements: frozenset[str] = frozenset()
    source_policies: Sequence[Policy] = ()
    cache_from: Sequence[CachePlace] = ()
    cache_to: Sequence[CachePlace] = ()
    scope: str = ""
    project: str = ""
    """Tells projects apart where `scope` doesn't."""
    explain: bool = False
    keep_failed: bool = False
    context_report: bool = False
    internal: bool = False
    """It will be no build of the past."""
    keep_remains: bool = False
    """What failed steps leave behind is kept while the build goes on: the frontend may ask for it."""
    trust_host_ca: bool = False
    proxy: ProxyEnv | None = None
    label: str = ""
    group: str = ""
    linked: Mapping[str, LinkedRequest] = field(default_factory=dict)
    secrets_offered: frozenset[str] = frozenset()
    """Ids of secrets ("secret:ID") and agents ("ssh:ID") the client gave, to tell it which were not used."""


@dataclass(frozen=True, slots=True)
class BuildReply:
    """`response`: what the exporters say (BuildKit's keys). `metadata`: answers of frontend subrequests."""

    ref: str
    response: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    context_reports: Sequence[tuple[str, ContextReport]] = ()
    """By the name of the directory."""
