"""Builds that are inputs of another one: how their steps are named, and told apart."""

from __future__ import annotations

from boatyard.build.linked import labelled, prefixed, relabel, told_apart
from boatyard.errors import SolveError
from boatyard.progress import Event, ExplainEvent, LogEvent, VertexEvent


def test_steps_are_named_after_the_build_they_are_of() -> None:
    told: list[Event] = []
    tell = labelled(told.append, "app", {"d2": "base"})
    log = LogEvent(vertex="d1", stream=1, data="x", time=0.0)
    tell(VertexEvent(digest="d1", name="[build 1/2] RUN make", group="[build 1/2] RUN make"))
    tell(VertexEvent(digest="d2", name="exporting"))
    tell(log)
    assert told == [
        VertexEvent(digest="d1", name="[app build 1/2] RUN make", group="[app build 1/2] RUN make"),
        VertexEvent(digest="d2", name="[base] exporting"),
        log,
    ]


def test_without_a_label_only_the_steps_of_others_are_renamed() -> None:
    told: list[Event] = []
    tell = labelled(told.append, "", {"d2": "base"})
    tell(VertexEvent(digest="d1", name="[1/1] FROM x"))
    tell(VertexEvent(digest="d2", name="[1/1] FROM x"))
    assert [event.name for event in told if isinstance(event, VertexEvent)] == ["[1/1] FROM x", "[base 1/1] FROM x"]


def test_reasons_for_misses_are_named_as_their_steps() -> None:
    told: list[Event] = []
    event = ExplainEvent(vertex="d2", name="[2/2] RUN x", reasons=())
    labelled(told.append, "app", {"d2": "base"})(event)
    (found,) = told
    assert isinstance(found, ExplainEvent)
    assert found.name == "[base 2/2] RUN x"


def test_a_failure_names_the_step_as_its_events_did() -> None:
    error = SolveError("[2/2] RUN false: exit code 1", vertex="d2", vertex_name="[2/2] RUN false")
    relabel(error, "app", {"d2": "base"})
    assert error.vertex_name == "[base 2/2] RUN false"
    assert str(error) == "[base 2/2] RUN false: exit code 1"


def test_names_without_brackets_get_some() -> None:
    assert prefixed("[internal] load x", "app") == "[app internal] load x"
    assert prefixed("exporting to image", "app") == "[app] exporting to image"


def test_directories_of_the_same_name_are_told_apart_by_their_build() -> None:
    options = {"target": "x", "context:files": "local:files", "context:layout": "oci-layout://store@sha256:aa"}
    assert told_apart(options, "app") == {
        **options,
        "local-sessionid:context": "app",
        "local-sessionid:dockerfile": "app",
        "local-sessionid:files": "app",
        "local-sessionid:store": "app",
    }
