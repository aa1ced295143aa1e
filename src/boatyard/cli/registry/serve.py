"""`boat registry serve`: a registry on this machine; `boat registry gc`: what nobody needs of it goes."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING

import click

from boatyard.cli import units
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.registry.root import opened, root_of, root_option
from boatyard.errors import InvalidError

if TYPE_CHECKING:
    import ssl


@click.command("serve", context_settings=SETTINGS)
@root_option
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:5000",
    show_default=True,
    help="Where to listen; port 0 chooses.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that serve; one a CPU, at most 4.")
@click.option("--tlscert", metavar="FILE", default="", help="Certificate: serve over TLS.")
@click.option("--tlskey", metavar="FILE", default="", help="Key of that certificate.")
@click.option("--tlscacert", metavar="FILE", default="", help="Authority whose certificates clients need.")
@click.option("--auth", is_flag=True, help="Only users may pull and push (boat registry user).")
@click.option("--anonymous-pull", is_flag=True, help="With --auth: anybody may pull.")
@click.option("--public-url", metavar="URL", default="", help="How clients reach it, when that isn't where it listens.")
@click.option("--objects", metavar="URL", default="", help="Keep blobs in a bucket: s3+https://HOST/BUCKET/PREFIX.")
@click.option("--mirror-of", metavar="HOST", default="", help="Give what that registry has, and keep it here.")
@click.option("--mirror-plain-http", is_flag=True, help="Speak to it without TLS.")
@click.option("--read-only", is_flag=True, help="Refuse pushes and deletions.")
@click.option("--rate", type=click.FloatRange(0), default=0.0, help="Requests a second of one user or address; 0: any.")
@click.option(
    "--burst", type=click.FloatRange(1), default=200.0, show_default=True, help="Requests at once, with --rate."
)
@click.option("--gc-every", metavar="DURATION", default="", help="Collect garbage regularly (1d); without it never.")
@click.option("--gc-untagged", is_flag=True, help="With it, remove manifests that no tag leads to, too.")
@click.option("--grace", metavar="DURATION", default="1d", show_default=True, help="How long what is unused is kept.")
@click.option("--debug", is_flag=True, help="Log more.")
@click.pass_obj
def serve(
    console: Console,
    root: str,
    listen: str,
    workers: int | None,
    tlscert: str,
    tlskey: str,
    tlscacert: str,
    auth: bool,
    anonymous_pull: bool,
    public_url: str,
    objects: str,
    mirror_of: str,
    mirror_plain_http: bool,
    read_only: bool,
    rate: float,
    burst: float,
    gc_every: str,
    gc_untagged: bool,
    grace: str,
    debug: bool,
) -> None:
    """Serve a registry: OCI distribution 1.1, from a directory."""
    from boatyard.registry.server.serving import bind, run
    from boatyard.registry.server.settings import Settings

    host, port = _address(listen)
    if anonymous_pull and not auth:
        raise InvalidError("--anonymous-pull says what --auth leaves open", hint="add --auth, or leave it out")
    tls = _tls(tlscert, tlskey, tlscacert)
    settings = Settings(
        root=root_of(console, root),
        read_only=read_only,
        auth=auth,
        anonymous_pull=anonymous_pull,
        public_url=public_url,
        objects=objects,
        mirror_of=mirror_of,
        mirror_plain_http=mirror_plain_http,
        rate=rate,
        burst=burst,
        grace=units.parse_duration(grace),
        collect_every=units.parse_duration(gc_every) if gc_every else 0.0,
        collect_untagged=gc_untagged,
    )
    os.makedirs(settings.root, exist_ok=True)
    sockets = bind(host, port, workers or min(4, os.cpu_count() or 1))
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    bound = sockets[0].getsockname()
    scheme = "https" if tls else "http"

    def ready() -> None:
        console.out(f"serving {settings.root} at {scheme}://{host or 'localhost'}:{bound[1]}\n")

    run(settings, sockets, tls=tls, on_ready=ready)


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise InvalidError(f"{text!r} is no address to listen at", hint="write HOST:PORT, such as 127.0.0.1:5000")
    return host.strip("[]"), int(port)


def _tls(cert: str, key: str, ca: str) -> ssl.SSLContext | None:
    if not (cert or key or ca):
        return None
    if not (cert and key):
        raise InvalidError("TLS needs a certificate and its key", hint="add --tlscert FILE and --tlskey FILE")
    from boatyard.wire.tls import server_context

    return server_context(cert, key, ca)


@click.command("gc", context_settings=SETTINGS)
@root_option
@click.option("--objects", metavar="URL", default="", help="The bucket that its blobs are kept in, if they are.")
@click.option("--untagged", is_flag=True, help="Remove manifests that no tag leads to, too.")
@click.option("--grace", metavar="DURATION", default="1d", show_default=True, help="How long what is unused is kept.")
@click.pass_obj
def gc(console: Console, root: str, objects: str, untagged: bool, grace: str) -> None:
    """Remove what no manifest needs, while the registry may be serving."""
    from boatyard.registry.server.collection import collect

    with opened(console, root, objects) as registry:
        seconds = units.parse_duration(grace)
        done = collect(registry.records, registry.blobs, now=time.time(), grace=seconds, untagged=untagged)
    console.out(
        f"removed {done.manifests} manifests, {done.blobs} blobs of repositories and {done.files} files:"
        f" {units.size(done.freed)}\n"
    )
