"""What a command knows of the place it was started in: its streams, its environment, the global flags.

One per run of `boat`, handed to every command. Results go to standard output, everything said to a person to standard
error.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping
from typing import TextIO

from boatyard.cli.style import Style, colour_wanted
from boatyard.errors import StorageError


class ReaderGoneError(Exception):
    """Whoever read what this command writes has gone: nothing more can be said, and nothing is wrong."""


class Console:
    """`host` is empty when the environment decides."""

    def __init__(self, environment: Mapping[str, str] | None = None, host: str = "", debug: bool = False) -> None:
        self.environment = dict(os.environ) if environment is None else environment
        self.host = host
        self.debug = debug

    def out(self, text: str) -> None:
        _write(sys.stdout, text)

    def err(self, text: str) -> None:
        _write(sys.stderr, text)

    def out_bytes(self, data: bytes) -> None:
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    @property
    def out_terminal(self) -> bool:
        return _is_terminal(sys.stdout)

    @property
    def err_terminal(self) -> bool:
        return _is_terminal(sys.stderr)

    @property
    def in_terminal(self) -> bool:
        return _is_terminal(sys.stdin)

    @property
    def err_style(self) -> Style:
        return Style(colour_wanted(self.environment, terminal=self.err_terminal))

    @property
    def out_style(self) -> Style:
        return Style(colour_wanted(self.environment, terminal=self.out_terminal))

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal that standard error is on; 80 by 24 when it can't be told."""
        try:
            columns, rows = os.get_terminal_size(sys.stderr.fileno())
        except (OSError, ValueError):
            return 80, 24
        return columns or 80, rows or 24


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _write(stream: TextIO, text: str) -> None:
    """All of `text`, though the terminal may have been made non-blocking by another program, and may not know every
    letter."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if not encoding.lower().startswith("utf"):
        text = text.replace("…", "~")
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        stream.write(text)
        return
    stream.flush()
    rest = memoryview(text.encode(encoding, "backslashreplace"))
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            raise StorageError(f"can't write to {getattr(stream, 'name', 'a file')}: {error.strerror}") from error
