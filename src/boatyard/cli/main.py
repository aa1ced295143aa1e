"""`boat`: the entry point.

Start-up is most of what a cached build lasts, so nothing is imported here before the garbage collector is off: what
is loaded stays loaded, and looking through it for garbage a few times is a tenth of that time. For the same reason
the process ends without tearing the interpreter down; everything that must be undone was undone on the way out of the
command.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType


class Terminated(BaseException):
    """SIGTERM or SIGHUP came: everything on the stack is unwound, so that terminals and files are left in order."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `boat`. Never raises: the exit code is all there is left to say. Called without arguments, as the program,
    it does not return."""
    if arguments is not None:
        return _run(arguments)
    gc.disable()
    _open_missing_streams()
    code = _run(sys.argv[1:])
    os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    from boatyard.cli.console import Console
    from boatyard.cli.program import run

    try:
        _catch_signals()
        code = run(Console(), arguments)
    except Terminated as ended:
        code = 128 + ended.number
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # the reader went away: everything that could be said has been
    return code


def _open_missing_streams() -> None:
    """Started with a standard stream closed (`>&-`), the next file or socket would get its number, and what is printed
    would go there."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, open(number, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115  # as long as we run


def _catch_signals() -> None:
    def terminate(number: int, _: FrameType | None) -> None:
        raise Terminated(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, terminate)
