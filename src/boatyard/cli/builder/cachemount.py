"""`boat builder cache-mount`: the files of `RUN --mount=type=cache`, listed, carried elsewhere, removed."""

from __future__ import annotations

import time
from typing import Any

import click

from boatyard.cli import units
from boatyard.cli.connection import daemon, descriptors
from boatyard.cli.console import Console
from boatyard.cli.follow import follow
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.archive import reading, writing
from boatyard.cli.image.names import moment
from boatyard.cli.listing import each, format_option, quiet_option, show
from boatyard.cli.render.choice import renderer
from boatyard.client.calls import disk
from boatyard.client.documents.disk import CacheMount, CacheMountDelete, CacheMountTransfer
from boatyard.errors import InvalidError

_HEADERS = {
    "ID": "ID",
    "Size": "SIZE",
    "Sharing": "SHARING",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST ACCESSED",
    "InUse": "IN USE",
}


@click.command("ls", context_settings=SETTINGS)
@quiet_option("IDs")
@format_option
@click.pass_obj
def ls(console: Console, quiet: bool, form: str) -> None:
    """List cache mounts and what they take."""
    mounts = daemon(console).call(disk.list_cache_mounts()).mounts
    now = time.time()
    rows = [_row(mount, now) for mount in sorted(mounts, key=lambda mount: mount.size, reverse=True)]
    show(console, rows, _HEADERS, form, quiet="ID" if quiet else "")


@click.command("export", context_settings=SETTINGS)
@click.argument("id")
@click.option("-o", "--output", default="", metavar="FILE", help="The file to write (default: standard output).")
@click.option(
    "--compression", type=click.Choice(["none", "gzip", "zstd"]), default=None, help="Default: by the file's name."
)
@click.pass_obj
def export(console: Console, id: str, output: str, compression: str | None) -> None:
    """Write a cache mount's files to a tar archive."""
    client = daemon(console)
    with writing(console, output) as descriptor, descriptors(client) as channel:
        chosen = compression or _by_name(output)
        request = CacheMountTransfer(
            id=id, token=channel.offer(descriptor), compression="" if chosen == "none" else chosen
        )
        done = follow(console, client.stream(disk.export_cache_mount(request)), renderer(console, "auto"))
    console.err(f"exported {_files(done.files)}, {units.size(done.bytes)}\n")


@click.command("import", context_settings=SETTINGS)
@click.argument("id")
@click.option("-i", "--input", "source", default="", metavar="FILE", help="The archive (default: standard input).")
@click.pass_obj
def import_(console: Console, id: str, source: str) -> None:
    """Fill a cache mount from a tar archive, over what is in it."""
    client = daemon(console)
    with reading(console, source) as descriptor, descriptors(client) as channel:
        request = CacheMountTransfer(id=id, token=channel.offer(descriptor))
        done = follow(console, client.stream(disk.import_cache_mount(request)), renderer(console, "auto"))
    console.err(f"imported {_files(done.files)}, {units.size(done.bytes)}\n")


@click.command("rm", context_settings=SETTINGS)
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("-a", "--all", "everything", is_flag=True, help="Remove all of them.")
@click.pass_obj
def rm(console: Console, ids: tuple[str, ...], everything: bool) -> None:
    """Remove cache mounts that no build uses now."""
    if bool(ids) == everything:
        raise InvalidError("name the cache mounts to remove, or say --all", hint="`boat builder cache-mount ls`")
    deleted = daemon(console).call(disk.delete_cache_mounts(CacheMountDelete(ids=ids, all=everything)))
    each(console, deleted.ids)
    console.out(f"Total reclaimed space: {units.size(deleted.bytes)}\n")


def _files(count: int) -> str:
    return f"{count} file{'s' if count != 1 else ''}"


def _by_name(path: str) -> str:
    if path.endswith((".gz", ".tgz")):
        return "gzip"
    return "zstd" if path.endswith((".zst", ".zstd")) else "none"


def _row(mount: CacheMount, now: float) -> dict[str, Any]:
    return {
        "ID": mount.id,
        "Size": units.size(mount.size),
        "Sharing": mount.sharing,
        "CreatedSince": units.age(mount.created or 0.0, now),
        "CreatedAt": moment(mount.created),
        "LastUsedSince": units.age(mount.last_used or 0.0, now),
        "UsageCount": mount.usage_count,
        "InUse": mount.in_use,
        "Bytes": mount.size,
    }
