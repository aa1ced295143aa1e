"""`boat images`, `boat image ls`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from boatyard.cli import units
from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import NONE, moment, short, split
from boatyard.cli.listing import filter_option, format_option, quiet_option, show
from boatyard.client.calls.images import list_images
from boatyard.client.documents.images import ImageSummary

_HEADERS = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE"}


@click.command("images", context_settings=SETTINGS)
@click.argument("reference", required=False)
@click.option("-a", "--all", "everything", is_flag=True, hidden=True, help="Taken for Docker's sake: all are shown.")
@click.option("--digests", is_flag=True, help="Show digests.")
@click.option("--no-trunc", is_flag=True, help="Show IDs in full.")
@quiet_option("IDs")
@filter_option("-f")
@format_option
@click.pass_obj
def images(
    console: Console,
    reference: str | None,
    everything: bool,
    digests: bool,
    no_trunc: bool,
    quiet: bool,
    filters: tuple[str, ...],
    form: str,
) -> None:
    """List images.

    REFERENCE shows only images of that name; it may be a pattern. Filters: dangling=true, label=KEY[=VALUE],
    reference=PATTERN, before=IMAGE, since=IMAGE.
    """
    wanted = (*filters, *((f"reference={reference}",) if reference else ()))
    found = daemon(console).call(list_images(wanted)).images
    newest = sorted(found, key=lambda image: image.stored or image.created or 0.0, reverse=True)
    rows = [row for image in newest for row in _rows(image, time.time(), full=no_trunc)]
    headers = dict(_HEADERS)
    if digests:
        headers = {"Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", **headers}
    if quiet:
        rows = list({row["ID"]: row for row in rows}.values())
    show(console, rows, headers, form, quiet="ID" if quiet else "")
    for image in newest:
        if image.problem:
            console.err(f"{console.err_style.bad('damaged:')} {image.names[0] if image.names else short(image.id)}\n")
            console.err(f"  {console.err_style.dim('why:')} {image.problem}\n")
            console.err(f"  {console.err_style.dim('fix:')} load or build it again, or remove it: boat image rm\n")


def _rows(image: ImageSummary, now: float, *, full: bool) -> Iterator[dict[str, Any]]:
    """One a name; one for an image without any."""
    for name in image.names or ("",):
        repository, tag, _ = split(name) if name else (NONE, NONE, NONE)
        yield {
            "Repository": repository,
            "Tag": tag,
            "Digest": image.digest or NONE,
            "ID": image.id if full else short(image.id),
            "CreatedSince": units.age(image.created or 0.0, now),
            "CreatedAt": moment(image.created),
            "Size": units.size(image.size),
            "UniqueSize": units.size(image.unique_size),
            "Bytes": image.size,
            "Platforms": list(image.platforms),
            "Labels": dict(image.labels),
        }
