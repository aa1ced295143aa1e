"""`boat builder du` and `prune`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from boatyard.cli import units
from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import moment
from boatyard.cli.listing import FORMAT_HELP, confirmed, each, show
from boatyard.cli.render.lines import one_line
from boatyard.cli.table import table
from boatyard.client.calls import disk
from boatyard.client.documents.disk import PruneRequest, UsageRecord

_HEADERS = {
    "ID": "ID",
    "Type": "TYPE",
    "Reclaimable": "RECLAIMABLE",
    "Size": "SIZE",
    "LastUsedSince": "LAST ACCESSED",
    "Description": "DESCRIPTION",
}
_FILTERS = (
    "Filters: id, type, description, inuse, mutable, immutable, shared, private, parents; as KEY=VALUE or KEY~=PATTERN."
)
_DESCRIPTION = 60


@click.command("du", context_settings=SETTINGS, epilog=_FILTERS)
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Count only what matches.")
@click.option("-v", "--verbose", is_flag=True, help="Show everything known of each record.")
@click.option("--no-trunc", is_flag=True, help="Show IDs and descriptions in full.")
@click.option("--format", "form", default="table", metavar="FORMAT", help=FORMAT_HELP)
@click.pass_obj
def du(console: Console, filters: tuple[str, ...], verbose: bool, no_trunc: bool, form: str) -> None:
    """Show what the build cache takes on disk."""
    usage = daemon(console).call(disk.usage([_filter(text) for text in filters]))
    records = sorted(usage.records, key=lambda record: record.size, reverse=True)
    now = time.time()
    if verbose:
        each(console, (line for record in records for line in _details(record, now)))
    else:
        show(console, [_row(record, now, full=no_trunc) for record in records], _HEADERS, form)
    if verbose or form == "table":
        totals = [
            ["Shared:", units.size(usage.shared)],
            ["Private:", units.size(usage.private)],
            ["Reclaimable:", units.size(usage.reclaimable)],
            ["Total:", units.size(usage.total)],
        ]
        each(console, table(totals))


@click.command("prune", context_settings=SETTINGS, epilog=_FILTERS)
@click.option("-a", "--all", "everything", is_flag=True, help="Internal and frontend records too.")
@click.option("-f", "--force", is_flag=True, help="Don't ask.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Remove only what matches; or until=24h.")
@click.option("--keep-duration", default="", metavar="TIME", help="Keep what was used within this time, such as 48h.")
@click.option("--reserved-space", "--keep-storage", default="", metavar="SIZE", help="Keep this much in any case.")
@click.option("--max-used-space", default="", metavar="SIZE", help="Keep at most this much.")
@click.option("--min-free-space", default="", metavar="SIZE", help="Remove until this much of the disk is free.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@click.option("-v", "--verbose", is_flag=True, help="Show everything known of each record.")
@click.pass_obj
def prune(
    console: Console,
    everything: bool,
    force: bool,
    filters: tuple[str, ...],
    keep_duration: str,
    reserved_space: str,
    max_used_space: str,
    min_free_space: str,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Remove build cache that nothing uses now."""
    ages = [text for text in filters if text.startswith(("until=", "unused-for="))]
    durations = [keep_duration, *(text.partition("=")[2] for text in ages)]
    request = PruneRequest(
        filters=tuple(_filter(text) for text in filters if text not in ages),
        all=everything,
        keep_duration=max((units.parse_duration(text) for text in durations if text), default=0.0),
        reserved_space=_bytes(reserved_space),
        max_used_space=_bytes(max_used_space),
        min_free_space=_bytes(min_free_space),
        dry_run=dry_run,
    )
    what = "all build cache" if everything else "build cache that nothing uses"
    if not confirmed(console, f"This removes {what}. Go on?", force=force or dry_run):
        return
    pruned = daemon(console).call(disk.prune(request))
    now = time.time()
    if verbose:
        each(console, (line for record in pruned.records for line in _details(record, now)))
    elif pruned.records:
        show(console, [_row(record, now, full=False) for record in pruned.records], _HEADERS)
    console.out(f"{'Would reclaim' if dry_run else 'Total'}: {units.size(pruned.bytes)}\n")


def _bytes(text: str) -> int:
    return units.parse_size(text) if text else 0


def _filter(text: str) -> str:
    """Docker writes `type=regular` where BuildKit's own language has `type==regular`; `inuse` alone asks for
    presence."""
    name, equals, value = text.partition("=")
    if not equals or value.startswith("=") or name.endswith(("~", "!")):
        return text
    return f"{name}=={value}"


def _row(record: UsageRecord, now: float, *, full: bool) -> dict[str, Any]:
    description = one_line(record.description)
    if not full and len(description) > _DESCRIPTION:
        description = description[: _DESCRIPTION - 1] + "…"
    return {
        "ID": record.id if full else record.id[:24],
        "Type": record.type,
        "Reclaimable": not record.in_use,
        "Size": units.size(record.size),
        "LastUsedSince": units.age(record.last_used or record.created, now),
        "Description": description,
        "CreatedSince": units.age(record.created, now),
        "CreatedAt": moment(record.created),
        "UsageCount": record.usage_count,
        "InUse": record.in_use,
        "Mutable": record.mutable,
        "Shared": record.shared,
        "Parents": list(record.parents),
        "Bytes": record.size,
    }


def _details(record: UsageRecord, now: float) -> Iterator[str]:
    row = _row(record, now, full=True)
    shown = {
        "ID": row["ID"],
        "Parents": " ".join(row["Parents"]) or "-",
        "Created at": row["CreatedAt"],
        "Mutable": str(record.mutable).lower(),
        "Reclaimable": str(not record.in_use).lower(),
        "Shared": str(record.shared).lower(),
        "Size": row["Size"],
        "Description": row["Description"],
        "Usage count": str(record.usage_count),
        "Last used": row["LastUsedSince"],
        "Type": record.type,
    }
    yield from table([[f"{name}:", value] for name, value in shown.items()])
    yield ""
