"""`boat logd`: memlogd, started from `boat`."""

from __future__ import annotations

import os
import sys

import click

from boatyard.cli.group import SETTINGS
from boatyard.logs.memlogd import bounds
from boatyard.logs.places import LOG_SOCKET, QUERY_SOCKET

_PROGRAM = "from boatyard.logs.memlogd.main import main; main()"


@click.command("logd", context_settings=SETTINGS)
@click.option(
    "--socket-log", default=LOG_SOCKET, metavar="PATH", help=f"Where descriptors are handed over ({LOG_SOCKET})."
)
@click.option(
    "--socket-query", default=QUERY_SOCKET, metavar="PATH", help=f"Where readers are answered ({QUERY_SOCKET})."
)
@click.option("--max-lines", default=bounds.MAX_LINES, help=f"Lines kept in memory ({bounds.MAX_LINES}).")
@click.option("--max-line-len", default=bounds.MAX_LINE_LENGTH, help=f"Bytes of a line ({bounds.MAX_LINE_LENGTH}).")
@click.option("--max-bytes", default=0, help="Bytes kept in memory (as many as the lines have).")
@click.option("--backlog", default=bounds.BACKLOG, help="Bytes kept for readers that are slower than the writers.")
@click.option(
    "--fair/--first-in-first-out", default=True, help="Who loses lines when memory is full: who has the most."
)
@click.option("--split/--cut", default=True, help="Lines that are too long go on as other lines, or are cut off.")
@click.option("-d", "--detach", is_flag=True, help="Go to the background as soon as both sockets accept.")
@click.option("-q", "--quiet", is_flag=True, help="Don't write the lines to standard output, too.")
def logd(detach: bool, **options: object) -> None:
    """Keep log lines in memory: memlogd, which takes descriptors and reads them.

    Fair, and without a line cut off; the program `memlogd` has LinuxKit's flags, and its defaults.
    """
    flags = [f"-{name.replace('_', '-')}={_value(value)}" for name, value in options.items()]
    if detach:
        flags.append("-daemonize")
    sys.stdout.flush()
    # In its own process image: what the command line needed would stay in memory as long as it runs.
    os.execv(sys.executable, [sys.executable, "-c", _PROGRAM, *flags])


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
