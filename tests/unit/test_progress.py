"""Events as JSON."""

from __future__ import annotations

import msgspec

from boatyard.progress import Event, ExplainEvent, encode


def test_an_event_survives_json() -> None:
    event = ExplainEvent(vertex="sha256:1", name="COPY", reasons=("file é changed",))
    assert msgspec.json.decode(encode(event), type=Event) == event


def test_names_that_are_not_utf8_show_their_bytes() -> None:
    name = b"caf\xe9\xff".decode(errors="surrogateescape")
    event = ExplainEvent(vertex="sha256:1", name="COPY", reasons=(f"file {name} changed", f"file {name}/é is new"))
    assert msgspec.json.decode(encode(event), type=ExplainEvent).reasons == (
        r"file caf\xe9\xff changed",
        r"file caf\xe9\xff/é is new",
    )


def test_half_a_surrogate_pair_is_told_by_its_number() -> None:
    assert rb"\\ud800" in encode(ExplainEvent(vertex="v", name="\ud800", reasons=()))
