"""The daemon's own log: one line a record on standard error, as text or as JSON."""

from __future__ import annotations

import logging
import os
import time
from typing import TextIO

import msgspec

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z info boatyard.build.service: message`"""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_moment(record)} {record.levelname.lower()} {record.name}: {record.getMessage()}"
        return f"{text}\n{_trace(self, record)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["trace"] = _trace(self, record)
        return msgspec.json.encode(document).decode()


def configure(level: str, form: str, stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # asyncio's own debug lines tell nothing about us.
    logging.getLogger("asyncio").setLevel(max(_LEVELS[level], logging.INFO))


def add_copy(descriptor: int) -> None:
    """Write the log to a descriptor that doesn't block, too, as text. What it doesn't take is only where else the log
    goes."""
    handler = _Copy(descriptor)
    handler.setFormatter(TextFormatter())
    logging.getLogger().addHandler(handler)


class _Copy(logging.Handler):
    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(self._descriptor, (self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # full, or nobody reads it any more: the log proper has the line


def _moment(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    assert record.exc_info
    return formatter.formatException(record.exc_info)
