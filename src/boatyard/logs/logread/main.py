"""`logread`: LinuxKit's flags, and more."""

from __future__ import annotations

import os
import signal
import sys
import time

from boatyard.errors import BoatyardError, InvalidError
from boatyard.logs import moment
from boatyard.logs.flags import Flag, Value, parse_or_exit
from boatyard.logs.logread import output
from boatyard.logs.logread.output import Rendered
from boatyard.logs.logread.reading import Reading
from boatyard.logs.places import QUERY_SOCKET
from boatyard.logs.request import DUMP, DUMP_AND_FOLLOW, FOLLOW
from boatyard.logs.selection import Selection

FLAGS = (
    Flag("socket", QUERY_SOCKET, "memlogd's query socket"),
    Flag("f", False, "follow: what comes from now on"),
    Flag("F", False, "what is there, then follow"),
    Flag("source", (), "only sources of that name, which may have * ? [..]; may be repeated"),
    Flag("without", (), "no sources of that name; may be repeated"),
    Flag("since", "", "nothing older: 2026-11-23T19:24:32Z, or how long ago, such as 90s, 1h30m, 2d"),
    Flag("until", "", "nothing newer; ends when that moment is over"),
    Flag("grep", "", "only lines in which this regular expression is found", word="regexp"),
    Flag("n", -1, "of what is there, only so many lines"),
    Flag("json", False, "one JSON object a line, as memlogd sends them"),
    Flag("message", False, "the lines alone, without time and source"),
    Flag("color", "auto", "always, never, or auto: on a terminal"),
)


def main() -> None:
    # Whoever reads us may go, and whoever watches may have seen enough: both end a program like this one at once.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    values, rest = parse_or_exit("logread", FLAGS, sys.argv[1:])
    try:
        if rest:
            raise InvalidError(f"logread takes no arguments, but there is {rest[0]!r}", hint="see logread -h")
        _reading(values).run(_rendered(values), write)
    except BoatyardError as error:
        sys.stderr.write(f"logread: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        raise SystemExit(2 if isinstance(error, InvalidError) else 1) from error


def _reading(values: dict[str, Value]) -> Reading:
    now = time.time_ns()

    def when(name: str) -> int:
        text = values[name]
        assert isinstance(text, str)
        if not text:
            return 0
        try:
            return moment.when(text, now)
        except ValueError as error:
            raise InvalidError(f"-{name}: {error}", hint="write 2026-11-23T19:24:32Z, or 90s, 1h30m, 2d") from error

    sources, without, tail = values["source"], values["without"], values["n"]
    assert isinstance(sources, tuple) and isinstance(without, tuple) and isinstance(tail, int)
    selection = Selection(
        sources=sources, without=without, since=when("since"), until=when("until"), grep=str(values["grep"])
    )
    mode = DUMP_AND_FOLLOW if values["F"] else FOLLOW if values["f"] else DUMP
    return Reading(str(values["socket"]), mode, selection, tail=tail if tail >= 0 else None)


def _rendered(values: dict[str, Value]) -> Rendered:
    colour = values["color"]
    if colour not in ("auto", "always", "never"):
        raise InvalidError(f"-color is {colour!r}", hint="there are auto, always and never")
    if values["json"]:
        return output.json
    if values["message"]:
        return output.messages
    wanted = os.isatty(1) and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb")
    return output.coloured if colour == "always" or (colour == "auto" and wanted) else output.text


def write(data: bytes) -> None:
    """All of it to standard output, though somebody may have made that non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(1, view) :]
        except BlockingIOError:
            import select

            select.select([], [1], [])
