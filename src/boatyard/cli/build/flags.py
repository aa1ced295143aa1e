"""What the command line of `boat build` said, as a value: nothing is opened or looked up yet."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """Field names are the flags' names; texts are as typed."""

    context: str = "."
    file: str | None = None
    dockerfile: str | None = None
    """The Dockerfile's text, instead of a file."""
    tag: tuple[str, ...] = ()
    target: str = ""
    build_arg: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    annotation: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    load: bool = False
    push: bool = False
    progress: str = "auto"
    quiet: bool = False
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    iidfile: str = ""
    metadata_file: str = ""
    add_host: tuple[str, ...] = ()
    shm_size: str = ""
    ulimit: tuple[str, ...] = ()
    network: str = ""
    cgroup_parent: str = ""
    allow: tuple[str, ...] = ()
    build_context: tuple[str, ...] = ()
    resources: Mapping[str, str] = {}
    """Limits of RUN's processes, by their flags' names."""
    attest: tuple[str, ...] = ()
    provenance: str = ""
    sbom: str = ""
    check: bool = False
    call: str = ""
    explain: bool = False
    on_error: str = ""
    context_report: bool = False
    trust_host_ca: bool | None = None
    check_reproducible: bool = False
    source_date_epoch: str = ""
    source_policy_file: tuple[str, ...] = ()
