"""Streams as Docker's clients read them: JSON objects with `stream`, `status`, `aux` or `errorDetail`, a line each.

Specification: moby/moby, `pkg/jsonmessage` and `pkg/streamformatter`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from boatyard.api.engine.errors import message_of
from boatyard.progress import StatusEvent, printable

_encoder = msgspec.json.Encoder()


def line(document: Any) -> bytes:
    return _encoder.encode(document) + b"\r\n"


def text(data: str) -> bytes:
    """Something to be shown as it is."""
    return line({"stream": printable(data)})


def aux(document: Any, id: str = "") -> bytes:
    return line({"id": id, "aux": document} if id else {"aux": document})


def status(message: str, id: str = "") -> bytes:
    return line({"status": message, "id": id} if id else {"status": message})


def transfer(event: StatusEvent) -> bytes:
    """How far something has come. Clients show one line for each `id`."""
    detail = {"current": event.current, "total": event.total} if event.total else {"current": event.current}
    return line({"status": event.name, "progressDetail": detail, "id": event.id})


def error(error: BaseException, message: str = "", code: int = 0) -> bytes:
    """The last line of a stream that failed. `code` is an exit code, with which the docker command ends."""
    message = message or message_of(error)
    detail = {"code": code, "message": message} if code else {"message": message}
    return line({"errorDetail": detail, "error": message})


def plain_line(document: Any) -> bytes:
    return _encoder.encode(document) + b"\n"
