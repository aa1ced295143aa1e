"""What `boat build --check` found that would end the build.

The answer's text has the remarks only; the error is in its document (BuildKit's `frontend.lint`, with the hint added).
"""

from __future__ import annotations

import msgspec

from boatyard.errors import DockerfileError, InvalidError, SourceExcerpt


class _Position(msgspec.Struct):
    line: int = 1


class _Range(msgspec.Struct):
    start: _Position = msgspec.field(default_factory=_Position)
    end: _Position = msgspec.field(default_factory=_Position)


class _Location(msgspec.Struct):
    ranges: tuple[_Range, ...] | None = ()


class _Error(msgspec.Struct):
    message: str
    location: _Location = msgspec.field(default_factory=_Location)
    hint: str = ""


class _Source(msgspec.Struct):
    filename: str
    data: bytes = b""


class _Document(msgspec.Struct):
    sources: tuple[_Source, ...] | None = ()
    error: _Error | None = msgspec.field(default=None, name="buildError")


def build_error(document: str) -> DockerfileError | None:
    """The error, with the lines it is about. InvalidError when the answer is none that a check gives."""
    try:
        answer = msgspec.json.decode(document, type=_Document)
    except msgspec.DecodeError as reason:
        raise InvalidError(f"the answer to --check can't be read: {reason}") from reason
    error = answer.error
    if error is None:
        return None
    excerpt = None
    if error.location.ranges and answer.sources:
        place, source = error.location.ranges[0], answer.sources[0]
        text = source.data.decode("utf-8", "replace")
        excerpt = SourceExcerpt(source.filename, text, place.start.line, place.end.line)
    return DockerfileError(error.message, hint=error.hint or None, source=excerpt)
