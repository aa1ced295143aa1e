"""`boat image history`."""

from __future__ import annotations

import time
from typing import Any

import click

from boatyard.cli import units
from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import moment
from boatyard.cli.listing import format_option, quiet_option, show
from boatyard.cli.render.lines import one_line
from boatyard.cli.render.width import cut
from boatyard.client.calls.images import image_history, inspect_image
from boatyard.client.documents.images import ImageHistoryEntry

_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_BY = 45
_MISSING = "<missing>"


@click.command("history", context_settings=SETTINGS)
@click.argument("name", metavar="IMAGE")
@click.option("--no-trunc", is_flag=True, help="Show instructions and IDs in full.")
@click.option("-H", "--human/--no-human", default=True, help="Sizes and times for people (the default).")
@click.option("--platform", default="", metavar="OS/ARCH", help="Of this platform, where the image has several.")
@quiet_option("IDs")
@format_option
@click.pass_obj
def history(console: Console, name: str, no_trunc: bool, human: bool, platform: str, quiet: bool, form: str) -> None:
    """Show the steps an image was made by, the last one first."""
    client = daemon(console)
    entries = client.call(image_history(name, platform=platform)).entries
    newest = client.call(inspect_image(name, platform=platform)).id if entries else ""
    now = time.time()
    rows = [
        _row(entry, newest if at == 0 else _MISSING, now, full=no_trunc, human=human)
        for at, entry in enumerate(entries)
    ]
    show(console, rows, _HEADERS, form, quiet="ID" if quiet else "")


def _row(entry: ImageHistoryEntry, id: str, now: float, *, full: bool, human: bool) -> dict[str, Any]:
    by = one_line(entry.created_by)
    return {
        "ID": id if full or id == _MISSING else id.partition(":")[2][:12],
        "CreatedSince": units.age(entry.created or 0.0, now) if human else moment(entry.created),
        "CreatedAt": moment(entry.created),
        "CreatedBy": by if full else cut(by, _BY),
        "Size": units.size(entry.size) if human else entry.size,
        "Comment": entry.comment,
        "Tags": list(entry.tags),
        "DiffID": entry.diff_id,
    }
