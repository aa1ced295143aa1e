"""Events as JSON."""

from __future__ import annotations

import msgspec

from boatyard.progress import Event, ExplainEvent, VertexEvent, encode


def test_an_event_survives_json() -> None:
    event = ExplainEvent(vertex="sha256:1", name="COPY", reasons=("file é changed",))
    assert msgspec.json.decode(encode(event), type=Event) == event


def test_names_that_are_not_utf8_show_their_bytes() -> None:
    event = VertexEvent(digest="sha256:1", name="COPY", error=b"no caf\xe9\xff".decode(errors="surrogateescape"))
    assert msgspec.json.decode(encode(event), type=VertexEvent).error == r"no caf\xe9\xff"


def test_half_a_surrogate_pair_is_told_by_its_number() -> None:
    assert rb"\\ud800" in encode(ExplainEvent(vertex="v", name="\ud800", reasons=()))
