"""What travels between a client and boatd: what all documents of the native API, `/boat/v1/`, share.

The modules of this package hold values only; the API's routes are in `api.native`, its OpenAPI description is made from
these classes. Unknown fields of answers are tolerated, unknown fields of requests are refused. Times are seconds since
the epoch, sizes bytes.

A *token* names open descriptors that the client hands over beside its request, on the descriptor socket
(`client.descriptors`). A stream is one JSON document a line: events (`boatyard.progress` and `TerminalEvent`,
`StartedEvent`), then exactly one final document, a result or `Failure`.
"""

from __future__ import annotations

import msgspec

from boatyard.progress import ExplainEvent, LogEvent, StatusEvent, VertexEvent, WarningEvent

API_VERSION = 1
PREFIX = "/boat/v1"

VERSION_HEADER = "boat-version"
"""Every request and every answer says the version of the program that sent it."""


class SourceDocument(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A place in a source file; `text` is the whole file."""

    filename: str
    text: str
    start: int
    end: int


class ErrorDocument(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An error of `boatyard.errors`; `kind` is the name of its class. `client.failure` maps both ways."""

    kind: str
    message: str
    hint: str = ""
    source: SourceDocument | None = None
    exit_code: int | None = None
    vertex: str = ""
    vertex_name: str = ""
    cause: ErrorDocument | None = None


class ErrorAnswer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The body of every answer with a status of 400 and up."""

    error: ErrorDocument


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="error"):
    """The final document of a stream that failed."""

    error: ErrorDocument
    ref: str = ""


class TerminalEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="terminal"):
    """A terminal's master descriptor is on its way to the client, on the descriptor socket's connection that offered
    `token`. The process behind it starts now; it ends when its stream goes on."""

    token: str


class StartedEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="started"):
    """The container `id` runs. Signals can be sent to it from now on."""

    id: str


StreamEvent = VertexEvent | StatusEvent | LogEvent | WarningEvent | ExplainEvent | TerminalEvent | StartedEvent


class EndResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="result"):
    """The end of a stream that has nothing more to say."""


class Done(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An answer that has nothing to say."""
