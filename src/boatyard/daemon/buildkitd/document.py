"""buildkitd.toml as values: every table and key that BuildKit knows, with its spelling and its units.

As buildkitd does, this takes keys in any case. Unknown ones, which buildkitd passes over in silence, are passed over
with a warning: a program that starts buildkitd with a configuration of its own must find it start.

Specification: moby/buildkit `docs/buildkitd.toml.md`, `cmd/buildkitd/config/`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from boatyard.daemon import tables
from boatyard.daemon.quantities import Duration, Space, parse_duration
from boatyard.errors import InvalidError, StorageError


class BuildkitSpace(Space):
    """Bytes, or hundredths of the disk. Units count in 1024s, as BuildKit counts them here."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Most of its keys are spelled maxAge; those that aren't say so."""


class Log(Table, frozen=True):
    format: str = ""
    level: str = ""


class Tls(Table, frozen=True):
    cert: str = ""
    key: str = ""
    ca: str = ""


class Grpc(Table, frozen=True):
    address: tuple[str, ...] = ()
    debug_address: str = ""
    uid: int | None = None
    gid: int | None = None
    security_descriptor: str = ""
    tls: Tls = Tls()


class Otel(Table, frozen=True):
    socket_path: str = ""


class Cdi(Table, frozen=True):
    disabled: bool = False
    spec_dirs: tuple[str, ...] = ()
    auto_allowed: tuple[str, ...] = ()


class GcPolicy(Table, frozen=True):
    all: bool = False
    filters: tuple[str, ...] = ()
    keep_duration: Duration = Duration(0)
    keep_bytes: BuildkitSpace | None = None
    """The old name of the next."""
    reserved_space: BuildkitSpace | None = None
    max_used_space: BuildkitSpace | None = None
    min_free_space: BuildkitSpace | None = None


class Worker(Table, frozen=True):
    """What both kinds of worker have."""

    enabled: bool | None = None
    labels: dict[str, str] = {}
    platforms: tuple[str, ...] = ()
    snapshotter: str = ""
    rootless: bool = False
    gc: bool | None = None
    gc_keep_storage: BuildkitSpace | None = msgspec.field(name="gckeepstorage", default=None)
    """The old name of the next."""
    reserved_space: BuildkitSpace | None = None
    max_used_space: BuildkitSpace | None = None
    min_free_space: BuildkitSpace | None = None
    gc_policy: tuple[GcPolicy, ...] = msgspec.field(name="gcpolicy", default=())
    network_mode: str = ""
    cni_config_path: str = ""
    cni_binary_path: str = ""
    cni_pool_size: int = 0
    bridge_name: str = ""
    bridge_subnet: str = ""
    apparmor_profile: str = msgspec.field(name="apparmor-profile", default="")
    selinux: bool = False
    max_parallelism: int = msgspec.field(name="max-parallelism", default=0)
    default_cgroup_parent: str = ""


class OciWorker(Worker, frozen=True):
    no_process_sandbox: bool = False
    user_remap_unsupported: str = ""
    binary: str = ""
    proxy_snapshotter_path: str = ""
    stargz_snapshotter: dict[str, Any] = {}


class ContainerdRuntime(Table, frozen=True):
    name: str = ""
    path: str = ""
    options: dict[str, Any] = {}


class ContainerdWorker(Worker, frozen=True):
    address: str = ""
    namespace: str = ""
    runtime: ContainerdRuntime = ContainerdRuntime()


class Workers(Table, frozen=True):
    oci: OciWorker = OciWorker()
    containerd: ContainerdWorker = ContainerdWorker()


class KeyPair(Table, frozen=True):
    key: str = ""
    cert: str = ""


class Registry(Table, frozen=True):
    mirrors: tuple[str, ...] = ()
    http: bool = False
    insecure: bool = False
    ca: tuple[str, ...] = ()
    keypair: tuple[KeyPair, ...] = ()
    tls_config_dir: tuple[str, ...] = msgspec.field(name="tlsconfigdir", default=())


class Dns(Table, frozen=True):
    nameservers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    search_domains: tuple[str, ...] = ()


class History(Table, frozen=True):
    max_age: Duration | None = None
    max_entries: int | None = None


class DockerfileFrontend(Table, frozen=True):
    enabled: bool = True


class GatewayFrontend(Table, frozen=True):
    enabled: bool = True
    allowed_repositories: tuple[str, ...] = ()


class Frontends(Table, frozen=True):
    dockerfile: DockerfileFrontend = msgspec.field(name="dockerfile.v0", default=DockerfileFrontend())
    gateway: GatewayFrontend = msgspec.field(name="gateway.v0", default=GatewayFrontend())


class System(Table, frozen=True):
    platforms_cache_max_age: Duration | None = None
    max_registry_concurrency: int | None = None


class CacheBackends(Table, frozen=True):
    gha: dict[str, Any] = {}


class Document(Table, frozen=True):
    debug: bool = False
    trace: bool = False
    root: str = ""
    insecure_entitlements: tuple[str, ...] = msgspec.field(name="insecure-entitlements", default=())
    proxy_network: bool = False
    provenance_env_dir: str = ""
    log: Log = Log()
    grpc: Grpc = Grpc()
    otel: Otel = Otel()
    cdi: Cdi = Cdi()
    worker: Workers = Workers()
    registry: dict[str, Registry] = {}
    dns: Dns = Dns()
    history: History = History()
    frontend: Frontends = Frontends()
    system: System = System()
    cache: CacheBackends = CacheBackends()
    ghacache: dict[str, Any] = {}
    """Where its documentation puts what it reads from `cache.gha`."""


def read(path: str) -> tuple[Document, list[str]]:
    """The file at `path`, where there need be none, and warnings. InvalidError names the key."""
    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except FileNotFoundError:
        return Document(), []
    except OSError as error:
        raise StorageError(f"can't read the configuration file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} is not valid TOML: {error}") from error
    return parse(raw, path)


def parse(raw: Mapping[str, Any], path: str) -> tuple[Document, list[str]]:
    spelled = _spelled(raw, Document)
    warnings = [
        f"{path}: unknown key {unknown.name!r} has no effect ({unknown.hint})"
        for unknown in tables.unknown(spelled, Document)
    ]
    try:
        return msgspec.convert(_known(spelled, Document), Document, dec_hook=_quantity), warnings
    except msgspec.ValidationError as error:
        raise InvalidError(f"{path}: {error}") from error


def _spelled(raw: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """With keys in the case of the structure's."""
    names = {name.lower(): name for name in tables.keys(kind)}
    return _mapped({names.get(key.lower(), key): value for key, value in raw.items()}, kind, _spelled)


def _known(raw: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Without the keys that the structure doesn't have."""
    known = tables.keys(kind)
    return _mapped({key: value for key, value in raw.items() if key in known}, kind, _known)


def _mapped(raw: dict[str, Any], kind: type[msgspec.Struct], change: Any) -> dict[str, Any]:
    """Do the same to the tables inside."""
    types = tables.keys(kind)
    for key, value in raw.items():
        inner = tables.table_type(types[key]) if key in types else None
        if inner is None:
            continue
        if isinstance(value, list):
            raw[key] = [change(each, inner) if isinstance(each, dict) else each for each in value]
        elif isinstance(value, dict) and inner is types[key]:
            raw[key] = change(value, inner)
        elif isinstance(value, dict):
            raw[key] = {name: change(each, inner) if isinstance(each, dict) else each for name, each in value.items()}
    return raw


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def _quantity(kind: type, value: object) -> object:
    try:
        if kind is Duration:
            return parse_duration(value)
        if kind is BuildkitSpace:
            return space(value)
    except InvalidError as error:
        # msgspec adds the place to a ValueError's text.
        raise ValueError(f"{error.message}; {error.hint}") from error
    raise NotImplementedError(kind)


def space(value: object) -> BuildkitSpace:
    """A number is bytes. InvalidError."""
    text = str(value).strip().strip('"') if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text.endswith("%") and text[:-1].isdecimal():
        found = BuildkitSpace(int(text[:-1]))
        found.percent = True
        return found
    if match := _SIZE.fullmatch(text):
        return BuildkitSpace(int(float(match[1]) * 1024 ** _POWERS[match[2].lower()]))
    raise InvalidError(f"{value!r} is not a size", hint='write it as 512000000, "512MB" or "20%" (of the disk)')
