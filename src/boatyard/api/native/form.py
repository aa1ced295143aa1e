"""The native API's answers: JSON documents, and streams of one document a line with the final one last."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from boatyard.api.native.errors import body_of, status_of
from boatyard.api.stream import send_document
from boatyard.client.documents.envelope import Failure, StreamEvent
from boatyard.client.failure import describe
from boatyard.progress import encode
from boatyard.wire.asgi import Send

CONTENT_TYPE = b"application/x-ndjson"

_encoder = msgspec.json.Encoder()


class Lines:
    """Implements `api.stream.Form`. A failure names the `ref` of the build."""

    content_type = CONTENT_TYPE

    def __init__(self, ref: Callable[[], str] = str) -> None:
        self._ref = ref

    def events(self, events: Sequence[StreamEvent]) -> bytes:
        try:
            return _encoder.encode_lines(events)
        except UnicodeEncodeError:
            return b"".join(encode(event) + b"\n" for event in events)

    def result(self, result: msgspec.Struct) -> bytes:
        return encode(result) + b"\n"

    def failure(self, error: BaseException) -> bytes:
        return encode(Failure(error=describe(error), ref=self._ref())) + b"\n"

    async def refuse(self, send: Send, error: BaseException) -> None:
        await send_error(send, error)


async def send_error(send: Send, error: BaseException) -> None:
    await send_document(send, status_of(error), body_of(error))
