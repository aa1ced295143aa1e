"""Running an image."""

from __future__ import annotations

import msgspec


class RunRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`stdio` is the token of three descriptors, `terminal` of an offer without any: exactly one of them."""

    image: str
    argv: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    """`NAME=VALUE`."""
    volumes: tuple[str, ...] = ()
    """`SOURCE:TARGET[:ro]`; sources are absolute paths on the daemon's host."""
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    network: str = "default"
    platform: str = ""
    add_hosts: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[str, ...] = ()
    memory: int = 0
    cpus: float = 0
    read_only: bool = False
    privileged: bool = False
    init: bool = False
    trust_host_ca: bool | None = None
    proxy: dict[str, str] | None = None
    stdio: str = ""
    terminal: str = ""


class RunResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    """`exit_code` is 128 + N when signal N ended the process."""

    exit_code: int
    id: str = ""


class SignalRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`signal`: a number, or a name with or without SIG."""

    signal: str
