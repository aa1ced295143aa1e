"""`boat diagnose`: everything somebody needs to find out what is wrong, in one archive."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime

import click

from boatyard import __version__
from boatyard.cli import outfile, units
from boatyard.cli.console import Console
from boatyard.cli.diagnose.bundle import MANIFEST, Bundle, writing
from boatyard.cli.diagnose.collection import COLLECTORS, Place
from boatyard.cli.group import SETTINGS
from boatyard.cli.table import table
from boatyard.client.places import find_daemon, places
from boatyard.errors import InvalidError
from boatyard.logs.places import QUERY_SOCKET


@click.command("diagnose", context_settings=SETTINGS)
@click.option(
    "-o", "--output", default="", metavar="FILE", help="The archive (default: boat-diagnose-HOST-TIME.tar.gz)."
)
@click.option(
    "--log-dir", "log_directories", multiple=True, metavar="DIR", help="Log files in DIR, too; may be repeated."
)
@click.option(
    "--socket", "sockets", multiple=True, metavar="PATH", help="memlogd's query socket (default: those found)."
)
@click.option("--without", multiple=True, metavar="PART", help=f"Leave a part out: {', '.join(COLLECTORS)}.")
@click.pass_obj
def diagnose(
    console: Console,
    output: str,
    log_directories: tuple[str, ...],
    sockets: tuple[str, ...],
    without: tuple[str, ...],
) -> None:
    """Collect logs, kernel messages, versions, configuration and what `boat doctor` says into one archive.

    Passwords, tokens and the like are hidden where they can be told by their names or places. The archive says what is
    in it, and what could not be had. Nothing is sent anywhere.
    """
    for part in without:
        if part not in COLLECTORS:
            raise InvalidError(f"there is no part {part!r}", hint=f"there are {', '.join(COLLECTORS)}")
    now = int(time.time())
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    top = f"boat-diagnose-{platform.node() or 'host'}-{stamp}"
    path = output or f"{top}.tar.gz"
    place = _place(console, sockets, log_directories)
    with outfile.replacing(path) as descriptor:
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "wb", closefd=False) as file, writing(file, top, now) as bundle:
            _collect(console, place, bundle, [name for name in COLLECTORS if name not in without])
            bundle.finish(
                {
                    "made_by": f"boat {__version__}",
                    "made_at": datetime.fromtimestamp(now, UTC).isoformat(),
                    "host": platform.node(),
                    "as_user": os.geteuid(),
                    "left_out": list(without),
                }
            )
    _tell(console, bundle)
    console.out(f"{path}\n")


def _place(console: Console, sockets: tuple[str, ...], log_directories: tuple[str, ...]) -> Place:
    here = places(console.environment, os.geteuid())
    endpoint, _ = find_daemon(console.host or None, console.environment, os.geteuid())
    found = tuple(path for path in (QUERY_SOCKET, f"{here.run}/memlogdq.sock") if os.path.exists(path))
    return Place(here, endpoint, console.environment, sockets or found, log_directories)


def _collect(console: Console, place: Place, bundle: Bundle, names: list[str]) -> None:
    style = console.err_style
    for number, name in enumerate(names, start=1):
        begun = f"[{number}/{len(names)}] {name}"
        console.err(f"{style.dim(begun)} ...")
        brought = COLLECTORS[name](place, bundle)
        console.err(f"\r{style.dim(begun)}: {brought}\n" if console.err_terminal else f" {brought}\n")


def _tell(console: Console, bundle: Bundle) -> None:
    rows = [["FILE", "SIZE", "WHAT IT IS"]]
    for content in bundle.contents:
        rows.append(
            [content.name, units.size(content.size), content.about + (" (its end)" if content.truncated else "")]
        )
    rows.append([MANIFEST, "", "what each file is, with its SHA-256"])
    console.err("\n" + "".join(line + "\n" for line in table(rows)))
    for missing in bundle.missing:
        console.err(f"{console.err_style.caution('not there:')} {missing.about}: {missing.reason}\n")
    console.err("\nLook through it before you give it away: not every secret can be told from other text.\n")
