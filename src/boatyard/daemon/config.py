"""The daemon's configuration: one frozen value, from a TOML file, the environment and flags, the later ones winning.

Every key of the file is a field below, under the same name. Unknown keys are refused: a typo that silently does nothing
costs more than an error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from boatyard.client.places import Places
from boatyard.daemon import tables
from boatyard.daemon.listening import TlsConfig, check_address, parse_mode
from boatyard.daemon.quantities import Duration, Space, parse_duration, parse_space
from boatyard.errors import InvalidError, NotFoundError, StorageError
from boatyard.image import platform as platforms
from boatyard.runtime.cdi.registry import DIRECTORIES

AUTOSTART_IDLE_TIMEOUT = Duration(900)


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    step_output: bool = False
    """What steps print goes to the daemon's log, too."""
    memlogd: bool = False
    """Keep the log in a memlogd beside the daemon as well, for `boat logs`."""
    max_lines: int = 20_000
    max_bytes: Space = Space(32 << 20)
    """What it keeps at most."""


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What build steps and runs get as their default network."""

    mode: Literal["auto", "bridge", "host", "none"] = "auto"
    subnet: str = ""
    """Of the bridge, as 10.1.0.0/16; "" chooses one that the host doesn't use."""
    dns: tuple[str, ...] = ()
    """Name servers; none means the host's."""
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()


class GcPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Removes what matches all filters and was unused for `keep_duration`, until the space bounds hold."""

    filters: tuple[str, ...] = ()
    keep_duration: Duration = Duration(0)
    reserved_space: Space = Space(0)
    max_used_space: Space = Space(0)
    min_free_space: Space = Space(0)
    all: bool = False


class GcConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    reserved_space: Space | None = None
    max_used_space: Space | None = None
    min_free_space: Space | None = None
    """Bounds of the default policies; None takes theirs."""
    policies: tuple[GcPolicy, ...] = ()
    """Instead of the default policies, tried in order."""


class HistoryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_age: Duration = Duration(30 * 86400)
    max_entries: int = 200


class RuntimeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = "auto"
    """auto, crun, runc, or a program's path."""
    threads: int = 0
    """That start containers; 0 chooses."""


class CdiConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Devices of the Container Device Interface."""

    enabled: bool = True
    spec_dirs: tuple[str, ...] = DIRECTORIES
    """With specifications; a later one stands before an earlier one."""
    auto_allowed: tuple[str, ...] = ()
    """Devices, or kinds of them, that every build may use."""


class ProxyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For build steps of clients that send no proxy settings of their own."""

    http: str = ""
    https: str = ""
    ftp: str = ""
    no: str = ""
    all: str = ""

    def variables(self) -> dict[str, str]:
        """Under the names of environment variables; only those that are set."""
        named = {"HTTP": self.http, "HTTPS": self.https, "FTP": self.ftp, "NO": self.no, "ALL": self.all}
        return {f"{name}_PROXY": value for name, value in named.items() if value}


class FrontendConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dockerfile: bool = True
    """Whether clients may use the built-in frontend by its own name."""
    gateway: bool = True
    """Whether images may be run as frontends."""
    gateway_repositories: tuple[str, ...] = ()
    """Repositories of images that may; none means any."""
    insist_on_syntax_image: bool = False
    """Run the image that `# syntax=` names, even where the built-in frontend speaks that syntax."""
    python: bool = True
    """Whether Python may be run as frontends: installed packages, and files that the client grants."""
    memory: Space = Space(1 << 30)
    """Of one frontend in Python."""
    quiet_timeout: Duration = Duration(120)
    """How long a frontend outside of the builder may ask nothing and say nothing."""


class KeyPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files of a client certificate."""

    key: str
    cert: str


class RegistryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mirrors: tuple[str, ...] = ()
    http: bool = False
    insecure: bool = False
    ca: tuple[str, ...] = ()
    keypair: tuple[KeyPair, ...] = ()
    """Client certificates."""
    tls_directories: tuple[str, ...] = ()
    """With certificates and keys, as Docker's `certs.d`."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    root: str = ""
    run: str = ""
    listen: tuple[str, ...] = ()
    """`unix://PATH`, `tcp://HOST:PORT`, `vsock://CID:PORT`; none means boatd.sock in the run directory."""
    owner: int | None = None
    """User that the unix sockets belong to; None is the daemon's."""
    group: str = "boatyard"
    """Members may use the sockets. Where no group of the default's name exists, only the daemon's user may."""
    mode: str = ""
    """Of the unix sockets, as 0660; "" lets in the group where there is one, else only the daemon's user."""
    tls: TlsConfig = TlsConfig()
    idle_timeout: Duration = Duration(0)
    """Stop after so long without work; 0 never. A daemon that a client started has a default of its own."""
    max_parallelism: int = 0
    """Steps that run at once; 0 chooses by the number of CPUs."""
    trust_host_ca: bool = False
    entitlements: tuple[str, ...] = ()
    """What clients may ask for: network.host, security.insecure, device."""
    platforms: tuple[str, ...] = ()
    """What clients are told that this daemon builds for; none means what this machine runs."""
    snapshotter: Literal["auto", "overlayfs", "native"] = "auto"
    """How layers are kept: overlayfs, or copies (native)."""
    cgroup_parent: str = ""
    """Control group of the steps that name none."""
    debug_address: str = ""
    """Where the daemon tells of its insides over HTTP: `unix://PATH`, `tcp://HOST:PORT` or `HOST:PORT`."""
    source_policies: tuple[str, ...] = ()
    """Files; what they deny, no build may use."""
    cdi: CdiConfig = CdiConfig()
    log: LogConfig = LogConfig()
    network: NetworkConfig = NetworkConfig()
    gc: GcConfig = GcConfig()
    history: HistoryConfig = HistoryConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    proxy: ProxyConfig = ProxyConfig()
    frontend: FrontendConfig = FrontendConfig()
    registry: dict[str, RegistryConfig] = {}
    labels: dict[str, str] = {}
    file: str = ""
    """Where it was read from; set by `load`. No key."""


ENVIRONMENT = {
    "BOATD_ROOT": ("root",),
    "BOATD_RUN": ("run",),
    "BOATD_LISTEN": ("listen",),
    "BOATD_GROUP": ("group",),
    "BOATD_TLS_CACERT": ("tls", "ca"),
    "BOATD_TLS_CERT": ("tls", "cert"),
    "BOATD_TLS_KEY": ("tls", "key"),
    "BOATD_IDLE_TIMEOUT": ("idle_timeout",),
    "BOATD_MAX_PARALLELISM": ("max_parallelism",),
    "BOATD_LOG_LEVEL": ("log", "level"),
    "BOATD_LOG_FORMAT": ("log", "format"),
    "BOATD_NETWORK": ("network", "mode"),
    "BOATD_RUNTIME": ("runtime", "name"),
}


def load(
    places: Places,
    environ: Mapping[str, str],
    flags: Mapping[tuple[str, ...], Any],
    *,
    file: str = "",
    autostarted: bool,
) -> Config:
    """`flags`: path of a key -> value, only those given. `file` "" is the default place, where there need be none.

    InvalidError names the file and the key; NotFoundError when a `file` that was asked for is missing."""
    path = file or places.config
    raw = _read(path, must_exist=bool(file))
    origin = path if raw else ""
    for unknown in tables.unknown(raw, Config, above=()):
        raise InvalidError(f"{path}: unknown key {unknown.name!r}", hint=unknown.hint)
    for name, keys in ENVIRONMENT.items():
        if environ.get(name):
            _set(raw, keys, environ[name].split(",") if keys == ("listen",) else environ[name])
    for keys, value in flags.items():
        _set(raw, keys, value)
    raw.setdefault("root", places.root)
    raw.setdefault("run", places.run)
    if autostarted:
        raw.setdefault("idle_timeout", float(AUTOSTART_IDLE_TIMEOUT))
    return made(raw, origin)


def made(raw: dict[str, Any], origin: str) -> Config:
    """A configuration from its keys and values, `root` and `run` among them. `origin` is the file they come from, ""
    for none. InvalidError."""
    config = _convert(raw, origin or "the configuration")
    _check(config, origin)
    return msgspec.structs.replace(
        config,
        file=origin,
        root=os.path.abspath(config.root),
        run=os.path.abspath(config.run),
        source_policies=tuple(map(os.path.abspath, config.source_policies)),
        listen=config.listen or (f"unix://{os.path.abspath(config.run)}/boatd.sock",),
    )


def _read(path: str, *, must_exist: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        if must_exist:
            raise NotFoundError(f"the configuration file {path} does not exist") from None
        return {}
    except OSError as error:
        raise StorageError(f"can't read the configuration file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} is not valid TOML: {error}") from error


def _set(raw: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    for key in keys[:-1]:
        raw = raw.setdefault(key, {})
    raw[keys[-1]] = value


def _convert(raw: dict[str, Any], origin: str) -> Config:
    # Numbers from the environment are text.
    if isinstance(raw.get("max_parallelism"), str):
        text = raw["max_parallelism"]
        raw["max_parallelism"] = int(text) if text.isascii() and text.isdigit() else text
    try:
        return msgspec.convert(raw, Config, dec_hook=_quantity)
    except msgspec.ValidationError as error:
        raise InvalidError(f"{origin}: {error}") from error


def _quantity(kind: type, value: object) -> object:
    try:
        if kind is Duration:
            return parse_duration(value)
        if kind is Space:
            return parse_space(value)
    except InvalidError as error:
        # msgspec adds the place to a ValueError's text.
        raise ValueError(f"{error.message}; {error.hint}") from error
    raise NotImplementedError(kind)


def _check(config: Config, origin: str) -> None:
    where = origin or "the configuration"
    if config.max_parallelism < 0:
        raise InvalidError(f"{where}: max_parallelism can't be negative")
    for platform in config.platforms:
        platforms.parse(platform)
    if config.mode and parse_mode(config.mode) is None:
        raise InvalidError(f"{where}: mode is {config.mode!r}, not such as 0660")
    for address in config.listen:
        try:
            check_address(address, config.tls)
        except InvalidError as error:
            raise InvalidError(f"{where}: {error.message}", hint=error.hint) from error
    for entitlement in config.entitlements:
        if entitlement not in ("network.host", "security.insecure", "device"):
            raise InvalidError(
                f"{where}: unknown entitlement {entitlement!r}", hint="known: network.host, security.insecure, device"
            )
