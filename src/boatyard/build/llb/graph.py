"""The build graph (LLB) as frozen values.

A `Vertex` is an op and its inputs, addressed by the digest of its protobuf encoding (`llb.codec`, which alone knows
protobuf). An `Edge` is one output of a vertex. Op dataclasses mirror the messages of package `pb` field by field;
names and meaning: moby/buildkit `solver/pb/ops.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from boatyard.image.digest import Digest
from boatyard.image.platform import Platform


class NetMode(IntEnum):
    UNSET = 0
    HOST = 1
    NONE = 2


class SecurityMode(IntEnum):
    SANDBOX = 0
    INSECURE = 1


class MountType(IntEnum):
    BIND = 0
    SECRET = 1
    SSH = 2
    CACHE = 3
    TMPFS = 4


class CacheSharing(IntEnum):
    SHARED = 0
    PRIVATE = 1
    LOCKED = 2


class ContentCache(IntEnum):
    DEFAULT = 0
    ON = 1
    OFF = 2


@dataclass(frozen=True, slots=True)
class ProxyEnv:
    http_proxy: str = ""
    https_proxy: str = ""
    ftp_proxy: str = ""
    no_proxy: str = ""
    all_proxy: str = ""


@dataclass(frozen=True, slots=True)
class HostIP:
    host: str
    ip: str


@dataclass(frozen=True, slots=True)
class Ulimit:
    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Meta:
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    proxy_env: ProxyEnv | None = None
    extra_hosts: tuple[HostIP, ...] = ()
    hostname: str = ""
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str = ""
    remove_mount_stubs_recursive: bool = False
    valid_exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CacheOpt:
    id: str
    sharing: CacheSharing = CacheSharing.SHARED


@dataclass(frozen=True, slots=True)
class SecretOpt:
    id: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o400
    optional: bool = False


@dataclass(frozen=True, slots=True)
class SSHOpt:
    id: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o600
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """`input` and `output` are indexes, -1 for none. An output of -1 with `readonly` False: changes are thrown away."""

    dest: str
    input: int = -1
    selector: str = ""
    output: int = -1
    readonly: bool = False
    type: MountType = MountType.BIND
    tmpfs_size: int = 0
    cache: CacheOpt | None = None
    secret: SecretOpt | None = None
    ssh: SSHOpt | None = None
    result_id: str = ""
    content_cache: ContentCache = ContentCache.DEFAULT


@dataclass(frozen=True, slots=True)
class SecretEnv:
    id: str
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CDIDevice:
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ExecOp:
    """Run a process. Mount 0 with dest "/" is the root file system."""

    meta: Meta
    mounts: tuple[Mount, ...]
    network: NetMode = NetMode.UNSET
    security: SecurityMode = SecurityMode.SANDBOX
    secret_env: tuple[SecretEnv, ...] = ()
    cdi_devices: tuple[CDIDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceOp:
    """Bring something in. `identifier` is a URL-like name (docker-image://, local://, git://, https://,
    oci-layout://)."""

    identifier: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class User:
    """A user or group by name (looked up in /etc/passwd of file-op input `input`) or by number."""

    name: str = ""
    id: int | None = None
    input: int = -1


@dataclass(frozen=True, slots=True)
class Chown:
    user: User | None = None
    group: User | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """`timestamp` is nanoseconds since the epoch, -1 keeps the source's; `mode` -1 keeps the source's."""

    src: str
    dest: str
    owner: Chown | None = None
    mode: int = -1
    mode_str: str = ""
    follow_symlink: bool = False
    dir_copy_contents: bool = False
    attempt_unpack: bool = False
    create_dest_path: bool = False
    allow_wildcard: bool = False
    allow_empty_wildcard: bool = False
    timestamp: int = -1
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    always_replace_existing: bool = False
    required_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MkFile:
    path: str
    data: bytes = b""
    mode: int = 0o644
    owner: Chown | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True)
class MkDir:
    path: str
    mode: int = 0o755
    make_parents: bool = False
    owner: Chown | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True)
class Rm:
    path: str
    allow_not_found: bool = False
    allow_wildcard: bool = False


@dataclass(frozen=True, slots=True)
class Symlink:
    oldpath: str
    newpath: str
    owner: Chown | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True)
class FileAction:
    """`input` and `secondary_input` count the op's inputs first, then the outputs of earlier actions; -1 is scratch.
    `output` is the op's output index, or -1 for an intermediate state."""

    input: int
    action: Copy | MkFile | MkDir | Rm | Symlink
    secondary_input: int = -1
    output: int = -1


@dataclass(frozen=True, slots=True)
class FileOp:
    actions: tuple[FileAction, ...]


@dataclass(frozen=True, slots=True)
class MergeOp:
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DiffOp:
    """`lower` and `upper` are input indexes, -1 for the empty tree."""

    lower: int
    upper: int


@dataclass(frozen=True, slots=True)
class BuildOp:
    """LLB in LLB: input `builder` -1 means this solver; the definition is read from `attrs["llbbuild.filename"]` of
    input 0."""

    builder: int = -1
    inputs: Mapping[str, int] = field(default_factory=dict)
    definition: bytes = b""
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PassthroughOp:
    id: str
    outputs: tuple[int, ...] = ()


Op = ExecOp | SourceOp | FileOp | MergeOp | DiffOp | BuildOp | PassthroughOp


@dataclass(frozen=True, slots=True)
class LinuxResources:
    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""


@dataclass(frozen=True, slots=True)
class ProgressGroup:
    id: str
    name: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class OpMetadata:
    """What is known of a vertex beside its digest: it changes no cache key."""

    ignore_cache: bool = False
    description: Mapping[str, str] = field(default_factory=dict)
    export_cache: bool | None = None
    caps: Mapping[str, bool] = field(default_factory=dict)
    progress_group: ProgressGroup | None = None
    linux_resources: LinuxResources | None = None

    @property
    def name(self) -> str:
        return self.description.get("llb.customname", "")


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """Lines of `filename`, counted from 1, both inclusive."""

    filename: str
    start: int
    end: int


@dataclass(frozen=True, eq=False, slots=True)
class Vertex:
    """`digest` is that of `encoding`. Two vertices are equal when their digests are; metadata doesn't count.

    Made by `llb.codec.vertex` or `decode`. `encoding` is kept because others' bytes can't always be made again from the
    values."""

    digest: Digest
    op: Op
    inputs: tuple[Edge, ...] = ()
    platform: Platform | None = None
    metadata: OpMetadata = OpMetadata()
    locations: tuple[SourceLocation, ...] = ()
    encoding: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """As it was called, or else what it does."""
        return self.metadata.name or _title(self.op, [edge.vertex for edge in self.inputs])

    @property
    def ignore_cache(self) -> bool:
        return self.metadata.ignore_cache

    @property
    def group(self) -> ProgressGroup | None:
        return self.metadata.progress_group

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vertex) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True, slots=True)
class Edge:
    vertex: Vertex
    index: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """What a solve request names: one edge (None is scratch) and the source files its locations point into."""

    root: Edge | None
    files: Mapping[str, str] = field(default_factory=dict)


def _title(op: Op, inputs: Sequence[Vertex]) -> str:
    """As BuildKit words it, but for inputs that have no names either."""

    def side(index: int) -> str:
        if not 0 <= index < len(inputs):
            return "scratch"
        return inputs[index].metadata.name or _title(inputs[index].op, ())

    match op:
        case SourceOp():
            return op.identifier
        case ExecOp():
            return " ".join(op.meta.args)
        case FileOp():
            return ", ".join(_change(each.action) for each in op.actions)
        case MergeOp():
            return f"merge ({', '.join(map(side, range(len(inputs))))})"
        case DiffOp():
            return f"diff ({side(op.lower)}) -> ({side(op.upper)})"
        case BuildOp():
            return "build"
        case PassthroughOp():
            return f"passthrough {op.id}"


def _change(action: Copy | MkFile | MkDir | Rm | Symlink) -> str:
    match action:
        case Copy():
            return f"copy {action.src} {action.dest}"
        case Symlink():
            return f"symlink {action.newpath} -> {action.oldpath}"
        case _:
            return f"{type(action).__name__.lower()} {action.path}"
