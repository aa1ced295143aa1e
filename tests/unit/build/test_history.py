from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boatyard.build.history import History
from boatyard.errors import ConflictError, IntegrityError, InvalidError, NotFoundError, SolveError
from boatyard.progress import Event, LogEvent, VertexEvent, WarningEvent


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(tmp_path: Path, clock: Clock) -> History:
    return History(tmp_path / "history", clock=clock)


def record(history: History, ref: str, status: str = "completed") -> None:
    history.begin(ref, ref, {}, [], "").end(status)
    history.ended(ref)


def test_a_build_is_replayed_as_it_was_told(history: History) -> None:
    recording = history.begin("r1", "app", {"target": "x"}, [{"type": "image"}], "/src")
    events: list[Event] = [
        VertexEvent(digest="d", name="step", cached=True),
        LogEvent(vertex="d", stream=1, data="hello\n", time=1.0),
    ]
    for event in events:
        recording.add(event)
    ended = recording.end(
        "completed",
        response={"containerimage.digest": "sha256:x"},
        graphs=[("linux/amd64", b"g")],
        results={"d": ("l1",)},
    )
    history.ended("r1")
    assert list(history.events("r1")) == events
    assert history.get("r1") == ended
    assert (ended.steps, ended.cached_steps, ended.results) == (1, 1, {"d": ["l1"]})
    assert history.graphs("r1") == [b"g"]


def test_a_failure_is_kept_with_its_step(history: History) -> None:
    history.begin("r1", "", {}, [], "").end("failed", error=SolveError("no", vertex="sha256:v", vertex_name="RUN x"))
    found = history.get("r1")
    assert (found.error, found.error_kind, found.failed_vertex) == ("no", "SolveError", "sha256:v")


def test_the_newest_comes_first_and_is_found_as_latest(history: History) -> None:
    record(history, "a")
    record(history, "b")
    assert [each.ref for each in history.records()] == ["b", "a"]
    assert history.get("latest").ref == "b"


def test_a_beginning_of_a_ref_is_enough_if_no_other_has_it(history: History) -> None:
    record(history, "abc1")
    record(history, "abd2")
    assert history.get("abc").ref == "abc1"
    with pytest.raises(ConflictError, match="begins the refs of 2"):
        history.get("ab")
    with pytest.raises(NotFoundError):
        history.get("x")


def test_a_build_that_was_running_when_the_daemon_died_is_interrupted(history: History, tmp_path: Path) -> None:
    recording = history.begin("r1", "", {}, [], "")
    recording.add(VertexEvent(digest="d", name="step"))
    assert history.get("r1").status == "running"
    assert History(tmp_path / "history").get("r1").status == "interrupted"


def test_a_torn_last_line_is_left_out_of_the_replay(history: History, tmp_path: Path) -> None:
    recording = history.begin("r1", "", {}, [], "")
    recording.add(VertexEvent(digest="d", name="step"))
    recording.end("completed")
    with open(tmp_path / "history/r1/events.jsonl", "ab") as file:
        file.write(b'{"type":"vert')
    assert len(list(history.events("r1"))) == 1


def test_only_so_many_builds_are_kept(tmp_path: Path, clock: Clock) -> None:
    history = History(tmp_path, max_entries=3, clock=clock)
    for number in range(6):
        record(history, f"r{number}")
    assert [each.ref for each in history.records()] == ["r5", "r4", "r3"]


def test_old_builds_go_and_pinned_ones_stay(tmp_path: Path, clock: Clock) -> None:
    history = History(tmp_path, max_age=100, clock=clock)
    record(history, "old")
    record(history, "dear")
    history.pin("dear")
    clock.now += 1000
    record(history, "new")
    assert {each.ref for each in history.records()} == {"dear", "new"}


def test_a_running_build_is_not_deleted(history: History) -> None:
    history.begin("r1", "", {}, [], "")
    with pytest.raises(ConflictError, match="running"):
        history.delete("r1")


@pytest.mark.parametrize("ref", ["../x", "a/b", "", "x" * 200, ".hidden"])
def test_a_ref_is_no_path(history: History, ref: str) -> None:
    with pytest.raises(InvalidError):
        history.begin(ref, "", {}, [], "")


def test_what_a_killed_daemon_left_half_made_is_deleted_at_start(history: History, tmp_path: Path) -> None:
    record(history, "whole")
    (tmp_path / "history/half").mkdir()
    (tmp_path / "history/half/record.json.new").write_bytes(b"{")
    (tmp_path / "history/whole/record.json.new").write_bytes(b"{")
    History(tmp_path / "history")
    assert sorted(str(path.relative_to(tmp_path / "history")) for path in (tmp_path / "history").rglob("*")) == [
        "whole",
        "whole/events.jsonl",
        "whole/record.json",
    ]


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b'{"ref": 3}'])
def test_a_damaged_record_is_named_and_hides_no_other(history: History, tmp_path: Path, garbage: bytes) -> None:
    record(history, "good")
    record(history, "bad")
    (tmp_path / "history/bad/record.json").write_bytes(garbage)
    assert [each.ref for each in history.records()] == ["good"]
    with pytest.raises(IntegrityError, match="build bad"):
        history.get("bad")
    assert history.delete("bad") == "bad"
    with pytest.raises(NotFoundError):
        history.get("bad")


def test_a_damaged_log_is_named(history: History, tmp_path: Path) -> None:
    recording = history.begin("r1", "app", {}, [], "/src")
    recording.add(LogEvent(vertex="d", stream=1, data="hello\n", time=1.0))
    recording.end("completed")
    with open(tmp_path / "history/r1/events.jsonl", "ab") as file:
        file.write(b"\xff\xfe\n")
    events = history.events("r1")
    assert isinstance(next(events), LogEvent)
    with pytest.raises(IntegrityError, match="build r1"):
        next(events)


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """Lets no file grow beyond a size: what a full disk does, for everybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1, 200, 100_000])
def test_a_full_disk_ends_the_recording_but_not_the_build(
    history: History, size: int, largest_file: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    largest_file(size)
    recording = history.begin("r1", "app", {}, [], "/src")
    for number in range(1000):
        recording.add(VertexEvent(digest=str(number), name="x" * 1000))
    ended = recording.end("completed", graphs=[("linux/amd64", b"g" * 200_000)])
    history.ended("r1")
    assert (ended.status, ended.steps) == ("completed", 1000)
    assert "build r1 can't be recorded" in caplog.text
    assert all(each.status == "completed" for each in history.records())


def test_what_a_running_build_told_so_far_can_be_read_and_then_the_rest(history: History) -> None:
    first, second = (LogEvent(vertex="d", stream=1, data=text, time=1.0) for text in ("one\n", "two\n"))
    recording = history.begin("r1", "", {}, [], "")
    recording.add(first)
    found, position = history.read("r1", 0)
    assert found == [first]
    assert history.read("r1", position) == ([], position)
    recording.add(second)
    found, position = history.read("r1", position)
    assert found == [second]
    recording.end("completed")
    history.ended("r1")
    assert history.read("r1", position) == ([], position)
    assert list(history.events("r1")) == [first, second]


def test_a_long_log_is_read_in_pieces(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boatyard.build.history.READ_AT_ONCE", 1000)
    recording = history.begin("r1", "", {}, [], "")
    told: list[Event] = [LogEvent(vertex="d", stream=1, data=f"{number}\n", time=1.0) for number in range(300)]
    for event in told:
        recording.add(event)
    recording.end("completed")
    assert len(history.read("r1", 0)[0]) < 30
    assert list(history.events("r1")) == told


def test_output_without_end_is_cut_with_a_word_about_it(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boatyard.build.recording.MOST_OUTPUT", 10)
    recording = history.begin("r1", "app", {}, [], "/src")
    for number in range(5):
        recording.add(LogEvent(vertex="d", stream=1, data=f"line{number}\n", time=1.0))
    recording.add(VertexEvent(digest="d", name="step"))
    ended = recording.end("completed")
    history.ended("r1")
    log, warning, step = history.events("r1")
    assert isinstance(log, LogEvent) and log.data == "line0\n"
    assert isinstance(warning, WarningEvent) and "not kept" in warning.short
    assert isinstance(step, VertexEvent)
    assert ended.warnings == 1
