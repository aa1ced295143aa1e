"""`boat bootstrap`: base images made from a distribution's own archive, without a registry."""

from __future__ import annotations

import time

import click

from boatyard.cli import units
from boatyard.cli.build.plan import proxies
from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.follow import follow
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import familiar
from boatyard.cli.render.choice import MODES, renderer
from boatyard.client.calls.images import bootstrap as bootstrap_call
from boatyard.client.documents.images import BootstrapRequest
from boatyard.errors import InvalidError


@click.command("bootstrap", context_settings=SETTINGS)
@click.argument("image", metavar="debian:SUITE[-slim]|busybox")
@click.option("-t", "--tag", multiple=True, metavar="NAME[:TAG]", help="Name the image so, instead of IMAGE.")
@click.option("--suite", default="", metavar="NAME", help="The release (default: what IMAGE says).")
@click.option("--variant", default="", metavar="NAME", help="How much of it: minbase, essential, apt, ...")
@click.option("--mirror", default="", metavar="URL", help="Where packages come from (default: as this host).")
@click.option("--arch", default="", metavar="ARCH", help="The architecture (default: this host's).")
@click.option("--include", multiple=True, metavar="PKG[,PKG]", help="More packages.")
@click.option("--no-cache", is_flag=True, help="Make it anew.")
@click.option("--progress", type=click.Choice(MODES), default="auto", help="How progress is shown.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the image's ID.")
@click.pass_obj
def bootstrap(
    console: Console,
    image: str,
    tag: tuple[str, ...],
    suite: str,
    variant: str,
    mirror: str,
    arch: str,
    include: tuple[str, ...],
    no_cache: bool,
    progress: str,
    quiet: bool,
) -> None:
    """Make a base image without a registry: a minimal Debian from its archive, or a static busybox.

    The same packages and SOURCE_DATE_EPOCH give the same image.
    """
    started = time.monotonic()
    client = daemon(console)
    request = BootstrapRequest(
        image=image,
        tags=tag,
        suite=suite,
        variant=variant,
        mirror=mirror,
        arch=arch,
        include=tuple(package for text in include for package in text.split(",") if package),
        source_date_epoch=_epoch(console.environment.get("SOURCE_DATE_EPOCH", "")),
        no_cache=no_cache,
        proxy=proxies(console.environment),
    )
    shown = renderer(console, "quiet" if quiet else progress)
    made = follow(console, client.stream(bootstrap_call(request)), shown)
    if quiet:
        console.out(made.id + "\n")
        return
    names = ", ".join(familiar(name) for name in made.names) or made.id
    console.out(f"{names}: {units.size(made.size)} in {units.seconds(time.monotonic() - started)}\n")


def _epoch(text: str) -> int | None:
    if not text:
        return None
    if not text.isdigit():
        raise InvalidError(f"SOURCE_DATE_EPOCH={text!r} is not a number of seconds", hint="date +%s prints one")
    return int(text)
