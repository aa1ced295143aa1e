"""The daemon itself."""

from __future__ import annotations

import msgspec

from boatyard.client.documents.envelope import API_VERSION


class Version(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    version: str
    api: int = API_VERSION


class Component(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something the daemon uses: the OCI runtime, the snapshotter, git, ... `detail` says why it was chosen."""

    name: str
    version: str = ""
    detail: str = ""


class DaemonInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    version: str
    api: int
    pid: int
    started: float
    root: str
    config_file: str
    addresses: tuple[str, ...]
    autostarted: bool
    idle_timeout: float
    """Seconds; 0 never."""
    rootless: bool
    running: int
    """Requests at work now."""
    platforms: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    kernel: str = ""
    cpus: int = 0
    memory: int = 0
    labels: dict[str, str] = {}
    devices: tuple[str, ...] = ()
    """That steps may ask for (`RUN --device`)."""
    proxy: dict[str, str] = {}
    """The configured proxies for steps, by the name of the variable, without passwords."""
    warnings: tuple[str, ...] = ()


class Check(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`status`: ok, warning or failed. `hint` is the command or change that mends it."""

    name: str
    status: str
    detail: str = ""
    hint: str = ""


class Doctor(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    checks: tuple[Check, ...]


class ShutdownRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`when_idle`: refuse (ConflictError) while requests are at work; otherwise they are cancelled."""

    when_idle: bool = False


class Stopping(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    pid: int
