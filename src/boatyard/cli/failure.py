"""How an error is told: what a step printed last, where in the Dockerfile it stands, then what happened, why, and
what to do.

    > [2/3] RUN make:
      | cc: error: no input files
    Dockerfile:2
       1 |     FROM debian
       2 | >>> RUN make
       3 |     COPY . /src
    error: process "/bin/sh -c make" did not complete successfully
      why: exit code 2
      fix: `boat build --on-error=shell` opens a shell where it failed
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from boatyard.cli import exits
from boatyard.cli.console import Console
from boatyard.cli.render import summary
from boatyard.cli.render.lines import LogTail, harmless, one_line
from boatyard.cli.render.width import columns
from boatyard.cli.style import Style
from boatyard.errors import BoatyardError, BuildError, SolveError, SourceExcerpt

CONTEXT = 2
"""Lines of the Dockerfile shown before and after the ones that failed."""
EXCERPT_LINES = 24
ONE_LINE = 60
"""A message up to this length says what and why in one line."""

_QUOTED = re.compile(r'"[^"]*"|`[^`]*`|\'[^\']*\'|[^"`\']|["`\']')


def tell(console: Console, error: BaseException, *, log: LogTail | None = None, step: str = "") -> int:
    """Say what went wrong; the exit code it means."""
    if isinstance(error, KeyboardInterrupt):
        return exits.CANCELLED
    code = exits.code_of(error)
    if console.debug or code == exits.INTERNAL:
        import traceback

        console.err("".join(traceback.format_exception(error)))
    for line in lines(error, console.err_style, log=log, step=step):
        console.err(line + "\n")
    if code == exits.INTERNAL:
        console.err("  This is a bug in boat. Please report it with what is printed above.\n")
    return code


def lines(error: BaseException, style: Style, *, log: LogTail | None = None, step: str = "") -> Iterator[str]:
    source = _source(error)
    if source is not None or (log is not None and log.seen):
        yield ""
    if log is not None and log.seen:
        yield from summary.output(log, step, style)
    if source is not None:
        yield from excerpt(source, style)
    what, why = explain(error)
    yield f"{style.bad('error:')} {harmless(what)}"
    if why:
        yield f"  {style.dim('why:')} {harmless(why)}"
    # What others said (a log's end, a compiler's words) keeps its lines.
    yield from (f"  {style.dim('|')} {harmless(line)}" for line in str(error).splitlines()[1:])
    if isinstance(error, BoatyardError) and error.hint:
        yield f"  {style.dim('fix:')} {harmless(error.hint)}"


def explain(error: BaseException) -> tuple[str, str]:
    """What happened and why. The reason is the chain of causes, or what a long message says after its first colon."""
    what = next(iter(str(error).splitlines()), "").rstrip(": ") or type(error).__name__
    reasons: list[str] = []
    if isinstance(error, SolveError) and error.vertex_name:
        name = one_line(error.vertex_name)
        reasons = [rest] if (rest := one_line(str(error)).removeprefix(name).removeprefix(": ")) else []
        what = f"a step failed: {name}"
    cause = error.__cause__
    while cause is not None:
        # What the system said is in the words of whoever met it: "does not exist", "permission denied".
        text = "" if isinstance(cause, OSError) else one_line(str(cause))
        if text and not any(text in told for told in (what, *reasons)):
            reasons.append(text)
        cause = cause.__cause__
    if reasons:
        return what, ": ".join(reasons)
    return _parted(what) if len(what) > ONE_LINE else (what, "")


def _parted(message: str) -> tuple[str, str]:
    """Before and after the first colon that is not in quotes."""
    for match in _QUOTED.finditer(message):
        at = match.start()
        if match[0] == ":" and at and message.startswith(": ", at):
            return message[:at], message[at + 2 :]
    return message, ""


def _source(error: BaseException | None) -> SourceExcerpt | None:
    """The outermost place that an error or its causes name."""
    while error is not None:
        if isinstance(error, BuildError) and error.source is not None:
            return error.source
        error = error.__cause__
    return None


def excerpt(source: SourceExcerpt, style: Style) -> Iterator[str]:
    """The failed lines with a marker, and some around them."""
    text = source.text.splitlines()
    start = min(max(source.start, 1), max(len(text), 1))
    end = min(max(source.end, start), len(text))
    column = f":{source.columns[0]}" if source.columns else ""
    yield style.strong(f"{harmless(source.filename)}:{start}{column}")
    first, last = max(start - CONTEXT, 1), min(end + CONTEXT, len(text))
    digits = max(len(str(last)), 4)
    for number in range(first, last + 1):
        if last - first >= EXCERPT_LINES and start + EXCERPT_LINES - 6 <= number <= end - 2:
            if number == start + EXCERPT_LINES - 6:
                yield f"{'…'.rjust(digits)} | {style.dim(f'… {end - 1 - number} lines …')}"
            continue
        marked = start <= number <= end
        line = f"{number:>{digits}} | {'>>>' if marked else '   '} {harmless(text[number - 1])}".rstrip()
        yield style.bad(line) if marked else line
        if marked and source.columns:
            yield style.bad(" " * (digits + 7) + _underline(text[number - 1], *source.columns))


def _underline(line: str, first: int, after: int) -> str:
    """Carets below these columns, as the line shows on a terminal."""
    before, marked = harmless(line[: first - 1]), harmless(line[: after - 1])
    return " " * columns(before) + "^" * max(columns(marked) - columns(before), 1)
