"""`boat pull` and `boat push`: images from and to registries, by way of the daemon's store."""

from __future__ import annotations

import time
from contextlib import ExitStack

import click

from boatyard.cli import units
from boatyard.cli.connection import daemon, descriptors
from boatyard.cli.console import Console
from boatyard.cli.follow import follow
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import familiar
from boatyard.cli.registry.keys import offered_credentials
from boatyard.cli.render.choice import MODES, renderer
from boatyard.client.calls.images import pull_image, push_image, tag_image
from boatyard.client.documents.images import ImagePull, ImagePush, ImageTag

_progress = click.option("--progress", type=click.Choice(MODES), default="auto", help="How progress is shown.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print nothing but the digest.")


@click.command("pull", context_settings=SETTINGS)
@click.argument("image", metavar="NAME[:TAG|@DIGEST]")
@click.option("--platform", multiple=True, metavar="OS/ARCH", help="For another platform than this host's.")
@click.option("--all-platforms", is_flag=True, help="For every platform there is.")
@_progress
@_quiet
@click.pass_obj
def pull(
    console: Console, image: str, platform: tuple[str, ...], all_platforms: bool, progress: str, quiet: bool
) -> None:
    """Fetch an image from its registry into the store.

    Layers that are there already are not fetched again.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        client = daemon(console)
        channel = stack.enter_context(descriptors(client))
        request = ImagePull(
            name=image,
            platforms=tuple(each for text in platform for each in text.split(",")),
            all_platforms=all_platforms,
            credentials=stack.enter_context(offered_credentials(channel, console.environment)),
        )
        shown = renderer(console, "quiet" if quiet else progress)
        pulled = follow(console, client.stream(pull_image(request)), shown, channel=channel)
    if quiet:
        console.out(f"{pulled.digest}\n")
        return
    news = f"fetched in {units.seconds(time.monotonic() - started)}" if pulled.new else "is up to date"
    console.out(f"{familiar(pulled.name)}: {news}\n{pulled.digest}\n")


@click.command("push", context_settings=SETTINGS)
@click.argument("image", metavar="NAME[:TAG]")
@click.argument("target", metavar="[TARGET[:TAG]]", default="")
@click.option("--platform", default="", metavar="OS/ARCH", help="Only the image for this platform.")
@click.option(
    "--compression",
    type=click.Choice(("gzip", "zstd", "uncompressed")),
    default="gzip",
    help="Of layers that were made here; others stay as they came.",
)
@click.option("--compression-level", type=int, default=None, metavar="N", help="How hard to try.")
@_progress
@_quiet
@click.pass_obj
def push(
    console: Console,
    image: str,
    target: str,
    platform: str,
    compression: str,
    compression_level: int | None,
    progress: str,
    quiet: bool,
) -> None:
    """Send an image to the registry that its name says.

    With TARGET the image gets that name first. What the registry has is not sent again.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        client = daemon(console)
        if target:
            client.call(tag_image(ImageTag(source=image, target=target)))
        channel = stack.enter_context(descriptors(client))
        request = ImagePush(
            name=target or image,
            platform=platform,
            compression={"uncompressed": "tar"}.get(compression, compression),
            compression_level=compression_level,
            credentials=stack.enter_context(offered_credentials(channel, console.environment)),
        )
        shown = renderer(console, "quiet" if quiet else progress)
        pushed = follow(console, client.stream(push_image(request)), shown, channel=channel)
    if quiet:
        console.out(f"{pushed.digest}\n")
        return
    console.out(f"{familiar(pushed.name)}: pushed in {units.seconds(time.monotonic() - started)}\n{pushed.digest}\n")
