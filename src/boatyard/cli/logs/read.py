"""`boat logs`: what memlogd has, for people."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.listing import show
from boatyard.client.places import places
from boatyard.errors import InvalidError
from boatyard.logs import moment
from boatyard.logs.events import Known, Lines
from boatyard.logs.logread import output
from boatyard.logs.logread.reading import Reading
from boatyard.logs.places import QUERY_SOCKET
from boatyard.logs.request import DUMP, DUMP_AND_FOLLOW, FOLLOW, Request
from boatyard.logs.selection import Selection
from boatyard.logs.stream import Stream

_NEVER = 1 << 62
_HEADERS = {"Source": "SOURCE", "Lines": "LINES", "Status": "STATUS"}


@click.command("logs", context_settings=SETTINGS)
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@click.option("-a", "--all", "everything", is_flag=True, help="Every source.")
@click.option("--list", "listing", is_flag=True, help="List the sources that memlogd knows.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what comes.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of what is there.")
@click.option("--since", default="", metavar="WHEN", help="Nothing older: 2026-11-23T19:24:32Z, or 90s, 1h30m, 2d ago.")
@click.option("--until", default="", metavar="WHEN", help="Nothing newer.")
@click.option("--grep", default="", metavar="REGEXP", help="Only lines in which this is found.")
@click.option("--without", multiple=True, metavar="SOURCE", help="Leave a source out.")
@click.option("--format", "form", default="", metavar="FORMAT", help="text, json or message; with --list as elsewhere.")
@click.option(
    "--socket",
    default="",
    envvar="BOAT_LOGS",
    metavar="PATH",
    help="memlogd's query socket (default: the machine's, else the one beside boatd; also: BOAT_LOGS).",
)
@click.pass_obj
def logs(
    console: Console,
    sources: tuple[str, ...],
    everything: bool,
    listing: bool,
    follow: bool,
    tail: int | None,
    since: str,
    until: str,
    grep: str,
    without: tuple[str, ...],
    form: str,
    socket: str,
) -> None:
    """Show log lines that memlogd has: of SOURCEs, whose names may have `*`, `?` and `[..]`, or of all.

    A service's standard output is the source NAME.out, its standard error NAME.
    """
    socket = socket or query_socket(console)
    if listing:
        _list(console, socket, form)
        return
    if bool(sources) == everything:
        raise InvalidError(
            "which sources?" if not sources else "--all goes without names",
            hint="name some, or say --all; `boat logs --list` lists them",
        )
    now = time.time_ns()
    selection = Selection(
        sources=sources, without=without, since=_when("since", since, now), until=_when("until", until, now), grep=grep
    )
    new_only = follow and tail == 0
    mode = FOLLOW if new_only else DUMP_AND_FOLLOW if follow else DUMP
    reading = Reading(socket, mode, selection, tail=None if new_only else tail)
    reading.run(_rendered(console, form), console.out_bytes)


def query_socket(console: Console) -> str:
    """The machine's memlogd where there is one, else that of this user's daemon."""
    beside = os.path.join(places(console.environment, os.geteuid()).run, "memlogdq.sock")
    return beside if os.path.exists(beside) and not os.path.exists(QUERY_SOCKET) else QUERY_SOCKET


def _rendered(console: Console, form: str) -> output.Rendered:
    known = {"text": output.text, "json": output.json, "message": output.messages}
    if form:
        if form not in known:
            raise InvalidError(f"unknown format {form!r}", hint=f"there are {', '.join(known)}")
        return known[form]
    return output.coloured if console.out_style.colour else output.text


def _list(console: Console, socket: str, form: str) -> None:
    found: dict[bytes, tuple[int, bool | None]] = {}
    for event in _everything(socket):
        if isinstance(event, Known):
            found[event.source] = (event.number - event.base, event.open)
        elif isinstance(event, Lines):  # LinuxKit's memlogd: what it still has
            found[event.source] = (found.get(event.source, (0, None))[0] + event.count, None)
    show(console, [_row(name, *found[name]) for name in sorted(found)], _HEADERS, form or "table")


def _everything(socket: str) -> list[Known | Lines]:
    from boatyard.logs.continuity import Continuity

    continuity = Continuity()
    events: list[Known | Lines] = []
    with Stream(socket, Request(DUMP, since=_NEVER, states=True)) as stream:
        while (frames := stream.read()) is not None:
            for frame in frames:
                events += [event for event in continuity.take(frame) if isinstance(event, Known | Lines)]
    return events


def _row(name: bytes, lines: int, is_open: bool | None) -> dict[str, Any]:
    status = "unknown" if is_open is None else "open" if is_open else "ended"
    return {"Source": name.decode("utf-8", "replace"), "Lines": lines, "Status": status}


def _when(option: str, text: str, now: int) -> int:
    if not text:
        return 0
    try:
        return moment.when(text, now)
    except ValueError as error:
        raise InvalidError(f"--{option}: {error}", hint="write 2026-11-23T19:24:32Z, or 90s, 1h30m, 2d") from error
