"""Builds: the request, its result, and the history."""

from __future__ import annotations

from typing import Any

import msgspec

from boatyard.client.documents.envelope import ErrorDocument
from boatyard.client.documents.policies import SourcePolicy
from boatyard.progress import ExplainEvent, WarningEvent


class Local(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A directory the client offers. `identity` is `DEV:INODE:PATH` of the directory, numbers decimal, path resolved;
    the daemon checks the numbers against the descriptor."""

    token: str
    identity: str


class Export(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """One output. `token` names the file, pipe or directory it is written to; "" for an output that stays in the
    daemon (`type` image)."""

    type: str
    attrs: dict[str, str] = {}
    token: str = ""


class CacheOption(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    type: str
    attrs: dict[str, str] = {}
    token: str = ""
    """A directory, for `local`."""


class LinkedBuild(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A build whose result is a named context of another one. It may be linked to others itself. Fields as those of
    `BuildRequest`."""

    frontend_attrs: dict[str, str] = {}
    locals: dict[str, Local] = {}
    secrets: dict[str, str] = {}
    ssh: dict[str, str] = {}
    uploads: dict[str, str] = {}


class BuildRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`frontend_attrs` are BuildKit's (target, filename, build-arg:NAME, platform, no-cache, requestid, ...).

    `locals`: "context", "dockerfile" and named contexts. `secrets`, `ssh`: id -> token of a file, of a socket opened
    with O_PATH. `uploads`: id -> token of a stream (`frontend_attrs` names it as `upload:ID` where a context is asked
    for). `terminal` is the token of an offer without descriptors: the way a terminal comes back for
    `on_error="shell"`."""

    ref: str = ""
    """Chosen by the client; "" lets the daemon choose."""
    session: str = ""
    """The id of a session that the client has opened: tokens are then names under which that is asked for directories,
    secrets, agents and uploads; those of outputs are numbers of exporters."""
    frontend_attrs: dict[str, str] = {}
    locals: dict[str, Local] = {}
    secrets: dict[str, str] = {}
    ssh: dict[str, str] = {}
    credentials: str = ""
    """The token of a socket on which the client answers for its credentials of registries."""
    uploads: dict[str, str] = {}
    exports: tuple[Export, ...] = ()
    cache_from: tuple[CacheOption, ...] = ()
    cache_to: tuple[CacheOption, ...] = ()
    entitlements: tuple[str, ...] = ()
    source_policies: tuple[SourcePolicy, ...] = ()
    """Asked in this order, before the daemon's own."""
    proxy: dict[str, str] | None = None
    """HTTP_PROXY, HTTPS_PROXY, FTP_PROXY, NO_PROXY, ALL_PROXY of the client; None takes the daemon's configuration."""
    trust_host_ca: bool | None = None
    explain: bool = False
    on_error: str = ""
    """"" or "shell"."""
    terminal: str = ""
    no_history: bool = False
    label: str = ""
    """Stands before the names of its steps, where several builds are shown together."""
    group: str = ""
    """Builds of one group (any text) run what must not come from the cache once, all together."""
    linked: dict[str, LinkedBuild] = {}
    """Builds that named contexts refer to (`context:NAME` is `input:ID` in `frontend_attrs`), by id, which labels their
    steps."""
    context_report: bool = False


class ContextFile(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    path: str
    size: int


class ContextReport(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What of one local directory the build saw, and what the ignore file left out."""

    name: str
    files: int
    bytes: int
    read_bytes: int = 0
    """Bytes that were read now; the rest was known by its stat data."""
    largest: tuple[ContextFile, ...] = ()
    ignored_files: int = 0
    ignored_bytes: int = 0
    ignored: tuple[ContextFile, ...] = ()
    """The largest left-out paths; a directory left out as a whole is one entry."""


class Reproducibility(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The result of building twice."""

    identical: bool
    digests: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    """One line a difference: the step, the file, what differs."""


class BuildResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    ref: str
    response: dict[str, str] = {}
    """BuildKit's exporter response: containerimage.digest, containerimage.config.digest, image.name, ..."""
    exports: tuple[dict[str, str], ...] = ()
    """The response of each output, in request order."""
    metadata: dict[str, str] = {}
    """Answers of frontend subrequests: result.json, result.txt, result.statuscode."""
    warnings: int = 0
    steps: int = 0
    cached_steps: int = 0
    duration: float = 0.0
    context_reports: tuple[ContextReport, ...] = ()
    reproducibility: Reproducibility | None = None


class BuildSummary(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A build of the history. `status`: running, completed, failed or cancelled."""

    ref: str
    name: str
    status: str
    started: float
    completed: float | None = None
    steps: int = 0
    completed_steps: int = 0
    cached_steps: int = 0
    warnings: int = 0
    error: ErrorDocument | None = None


class BuildStep(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A step of a past build; `number` counts from 1 in the order of the log. `debuggable`: its state before it ran is
    still there."""

    number: int
    vertex: str
    name: str
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    skipped: bool = False
    error: str = ""
    debuggable: bool = False


class BuildDetail(BuildSummary, frozen=True, omit_defaults=True, kw_only=True):
    frontend_attrs: dict[str, str] = {}
    locals: dict[str, str] = {}
    """Name -> path on the client."""
    exports: tuple[Export, ...] = ()
    response: dict[str, str] = {}
    step_list: tuple[BuildStep, ...] = ()
    explain: tuple[ExplainEvent, ...] = ()
    warning_list: tuple[WarningEvent, ...] = ()
    materials: tuple[dict[str, str], ...] = ()
    """Base images and other pinned sources: `uri`, `digest`."""
    descriptors: dict[str, dict[str, Any]] = {}
    """Documents kept with the build (provenance, ...): name -> OCI descriptor."""


class BuildList(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    builds: tuple[BuildSummary, ...]


class BuildDelete(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of `refs` and `all`."""

    refs: tuple[str, ...] = ()
    all: bool = False


class BuildsDeleted(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    refs: tuple[str, ...]


class DebugRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Open a shell (or `argv`) at a step of a past build. `step`: its number, its digest or a prefix of that; "" the
    step that failed. `stdio` is the token of three descriptors, `terminal` of an offer without any: one of them."""

    step: str = ""
    argv: tuple[str, ...] = ()
    after: bool = False
    """The state the step left, rather than the one it found."""
    stdio: str = ""
    terminal: str = ""
