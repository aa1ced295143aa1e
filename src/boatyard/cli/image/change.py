"""`boat image tag`, `rm` and `prune`."""

from __future__ import annotations

import click

from boatyard.cli import units
from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import familiar
from boatyard.cli.listing import confirmed, each, filter_option
from boatyard.client.calls.disk import prune as prune_call
from boatyard.client.calls.images import delete_images, tag_image
from boatyard.client.documents.disk import PruneRequest
from boatyard.client.documents.images import ImageDelete, ImageTag


@click.command("tag", context_settings=SETTINGS)
@click.argument("source", metavar="IMAGE")
@click.argument("target", metavar="NAME[:TAG]")
@click.pass_obj
def tag(console: Console, source: str, target: str) -> None:
    """Give an image another name."""
    daemon(console).call(tag_image(ImageTag(source=source, target=target)))


@click.command("rm", context_settings=SETTINGS)
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-f", "--force", is_flag=True, help="Remove an image with all its names; don't mind missing ones.")
@click.option("--no-prune", is_flag=True, hidden=True, expose_value=False)
@click.pass_obj
def rm(console: Console, names: tuple[str, ...], force: bool) -> None:
    """Remove images.

    An image goes when its last name goes; what only it needs is freed by the next garbage collection at the latest.
    """
    removed = daemon(console).call(delete_images(ImageDelete(names=names, force=force)))
    each(console, [f"Untagged: {familiar(name)}" for name in removed.untagged])
    each(console, [f"Deleted: {digest}" for digest in removed.deleted])


@click.command("prune", context_settings=SETTINGS)
@click.option("-f", "--force", is_flag=True, help="Don't ask.")
@filter_option()
@click.pass_obj
def prune(console: Console, force: bool, filters: tuple[str, ...]) -> None:
    """Remove images that nothing names."""
    if not confirmed(console, "This removes all images without a name. Go on?", force=force):
        return
    request = PruneRequest(filters=("type==image", *filters), images=True)
    pruned = daemon(console).call(prune_call(request))
    each(console, [f"Deleted: {record.id}" for record in pruned.records])
    console.out(f"Total reclaimed space: {units.size(pruned.bytes)}\n")
