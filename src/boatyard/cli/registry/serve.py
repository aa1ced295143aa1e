"""`boat registry serve`: a registry on this machine."""

from __future__ import annotations

import logging
import os
import sys

import click

from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.errors import InvalidError


@click.command("serve", context_settings=SETTINGS)
@click.option("--root", metavar="DIR", default="", help="Where images are kept.")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:5000",
    show_default=True,
    help="Where to listen; port 0 chooses.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=None, help="Processes that serve; one a CPU, at most 4.")
@click.option("--read-only", is_flag=True, help="Refuse pushes and deletions.")
@click.option("--debug", is_flag=True, help="Log more.")
@click.pass_obj
def serve(console: Console, root: str, listen: str, workers: int | None, read_only: bool, debug: bool) -> None:
    """Serve a registry: OCI distribution 1.1, from a directory."""
    from boatyard.registry.server.serving import bind, run
    from boatyard.registry.server.settings import Settings

    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    host, port = _address(listen)
    settings = Settings(root=root or _default_root(console), read_only=read_only)
    os.makedirs(settings.root, exist_ok=True)
    sockets = bind(host, port, workers or min(4, os.cpu_count() or 1))
    bound = sockets[0].getsockname()

    def ready() -> None:
        console.out(f"serving {settings.root} at http://{host or '0.0.0.0'}:{bound[1]}\n")

    run(settings, sockets, tls=None, on_ready=ready)


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise InvalidError(f"{text!r} is no address to listen at", hint="write HOST:PORT, such as 127.0.0.1:5000")
    return host.strip("[]"), int(port)


def _default_root(console: Console) -> str:
    from boatyard.client.places import places

    return os.path.join(os.path.dirname(places(console.environment, os.geteuid()).root), "boatyard-registry")
