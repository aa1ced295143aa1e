"""Exceptions that a frontend didn't mean: told with the line of its own code that they come from.

Its own is what is neither this library's nor Python's; of that, what isn't installed comes before what is.
"""

from __future__ import annotations

import os
import sysconfig
import traceback
from types import TracebackType

from boatyard.errors import BoatyardError, FrontendError, SourceExcerpt

_LIBRARY = os.path.dirname(os.path.abspath(__file__)) + os.sep
_EXAMPLE = os.path.join(_LIBRARY, "packages") + os.sep
"""Part of the library, and a frontend like others."""

_HINT = "this is a defect of the frontend; its log has the whole way there"


def told(error: BaseException) -> FrontendError:
    """The error as the builder is told it."""
    text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        excerpt = _excerpt(error.filename, error.lineno, error.end_lineno or error.lineno)
        return FrontendError(f"the frontend can't be read: {text}", source=excerpt)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_authors(frame.filename)]
    own = [frame for frame in frames if not frame.filename.startswith(sysconfig.get_path("purelib") + os.sep)] or frames
    if not own or own[-1].lineno is None:
        return FrontendError(f"the frontend failed: {text}", hint=_HINT)
    frame = own[-1]
    line = frame.lineno or 1
    raised = FrontendError(
        f"the frontend failed in {frame.name}: {text}",
        hint=_HINT,
        source=_excerpt(frame.filename, line, frame.end_lineno or line),
    )
    if isinstance(error.__cause__, BoatyardError):
        raised.__cause__ = error.__cause__
    return raised


def trace(error: BaseException) -> str:
    """The way there, from where the frontend's own code begins."""
    begin = error.__traceback__
    while begin is not None and not _is_authors(begin.tb_frame.f_code.co_filename):
        begin = begin.tb_next
    return "".join(traceback.format_exception(type(error), error, begin or _last(error.__traceback__)))


def _last(found: TracebackType | None) -> TracebackType | None:
    while found is not None and found.tb_next is not None:
        found = found.tb_next
    return found


def _is_authors(filename: str) -> bool:
    if filename.startswith(_LIBRARY):
        return filename.startswith(_EXAMPLE)
    return not filename.startswith(("<", sysconfig.get_path("stdlib") + os.sep)) or "site-packages" in filename


def _excerpt(filename: str, start: int, end: int) -> SourceExcerpt | None:
    """A file below the working directory is named as from there: so its author knows it."""
    try:
        with open(filename, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (OSError, ValueError):
        return None
    here = os.getcwd().rstrip("/") + "/"
    return SourceExcerpt(filename.removeprefix(here), text, start, end)
