"""Steps that several builds tell of are shown once."""

from __future__ import annotations

from boatyard.cli.bake.streams import SharedSteps
from boatyard.client.documents.envelope import StreamEvent
from boatyard.progress import LogEvent, StatusEvent, VertexEvent, WarningEvent


def step(started: float | None = None, completed: float | None = None, error: str = "", **more: bool) -> VertexEvent:
    return VertexEvent(digest="v", name="RUN make", started=started, completed=completed, error=error, **more)


def shown(*told: tuple[str, StreamEvent]) -> list[StreamEvent]:
    steps = SharedSteps()
    return [event for name, each in told for event in steps.shown(name, each)]


def test_the_first_teller_is_listened_to() -> None:
    log = LogEvent(vertex="v", stream=1, data="x", time=1.0)
    status = StatusEvent(vertex="v", id="layer", current=1, total=2, name="layer")
    told = [("a", step(1.0)), ("b", step(1.0)), ("a", log), ("b", log), ("b", status), ("a", status)]
    told += [("b", step(1.0, 2.0)), ("a", step(1.0, 2.0))]
    assert shown(*told) == [step(1.0), log, status, step(1.0, 2.0)]


def test_warnings_of_all_are_shown() -> None:
    warning = WarningEvent(short="careful")
    assert shown(("a", warning), ("b", warning)) == [warning, warning]


def test_another_goes_on_with_a_step_that_its_teller_gave_up() -> None:
    gone = step(1.0, 2.0, "cancelled")
    log = LogEvent(vertex="v", stream=1, data="still here", time=3.0)
    assert shown(("a", step(1.0)), ("b", step(1.0)), ("a", gone), ("b", log), ("b", step(1.0, 4.0))) == [
        step(1.0),
        step(1.0),
        log,
        step(1.0, 4.0),
    ]


def test_a_step_that_all_gave_up_is_cancelled() -> None:
    gone = step(1.0, 2.0, "cancelled")
    assert shown(("a", step(1.0)), ("b", step(1.0)), ("b", gone), ("a", gone)) == [step(1.0), gone]


def test_a_step_that_runs_anew_is_shown_anew() -> None:
    assert shown(("a", step(1.0, 2.0)), ("b", step(3.0)), ("b", step(3.0, 4.0))) == [
        step(1.0, 2.0),
        step(3.0),
        step(3.0, 4.0),
    ]
