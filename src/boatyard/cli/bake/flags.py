"""What the command line of `boat bake` said, as a value."""

from __future__ import annotations

import msgspec


class BakeFlags(msgspec.Struct, frozen=True, kw_only=True):
    """Field names are the flags' names; texts are as typed. None: not said."""

    targets: tuple[str, ...] = ()
    file: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    var: tuple[str, ...] = ()
    print_only: bool = False
    list: str = ""
    call: str = ""
    check: bool = False
    no_cache: bool | None = None
    pull: bool | None = None
    push: bool = False
    load: bool = False
    progress: str = "auto"
    metadata_file: str = ""
    allow: tuple[str, ...] = ()
    sbom: str = ""
    provenance: str = ""
    explain: bool = False
    trust_host_ca: bool | None = None
