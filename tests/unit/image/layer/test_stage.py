"""Work beside its producer: stages, produced streams, and work that is done once for all who ask."""

from __future__ import annotations

import hashlib
import io
import threading

import pytest

from boatyard.image.layer.digesting import Digester, Tee
from boatyard.image.layer.once import Once
from boatyard.image.layer.produced import Produced, Sink, pump
from boatyard.image.layer.stage import Stage


def test_a_stage_works_in_order() -> None:
    done: list[int] = []
    stage: Stage[int] = Stage(done.append, depth=2, name="test")
    for number in range(100):
        stage.put(number)
    stage.close()
    assert done == list(range(100))


def test_a_failing_stage_blocks_nobody_and_tells_its_producer() -> None:
    stage: Stage[int] = Stage(lambda number: 1 // number, depth=1, name="test")
    with pytest.raises(ZeroDivisionError):
        for _ in range(100):
            stage.put(0)
        stage.close()
    stage.abort()


def test_a_digester_counts_and_hashes() -> None:
    pieces = [b"one", b"two" * 1000, b"", b"three"]
    for count in range(5):
        digester = Digester()
        for piece in pieces[:count]:
            digester.write(memoryview(piece))
        data = b"".join(pieces[:count])
        assert (digester.close(), digester.size) == ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
        digester.abort()


def test_a_tee_gives_everything_to_all() -> None:
    left, right = io.BytesIO(), io.BytesIO()
    tee = Tee(left, right)
    tee.write(memoryview(b"a"))
    tee.write(memoryview(b"b"))
    assert left.getvalue() == right.getvalue() == b"ab"


@pytest.fixture
def no_more_threads() -> object:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_what_is_produced_can_be_read(no_more_threads: object) -> None:
    def produce(sink: Sink) -> None:
        for number in range(50):
            sink.write(memoryview(b"%d " % number))

    with Produced(produce) as stream:
        assert stream.read() == b"".join(b"%d " % number for number in range(50))
        assert stream.read(1) == b""


def test_a_reader_that_goes_stops_the_producer(no_more_threads: object) -> None:
    def produce(sink: Sink) -> None:
        while True:
            sink.write(memoryview(b"more"))

    with Produced(produce) as stream:
        assert stream.read(4) == b"more"


def test_a_producer_s_failure_comes_after_what_it_wrote(no_more_threads: object) -> None:
    def produce(sink: Sink) -> None:
        sink.write(memoryview(b"good"))
        raise ValueError("bad")

    with Produced(produce) as stream:
        assert stream.read(4) == b"good"
        with pytest.raises(ValueError, match="bad"):
            stream.read(1)


def test_pump_copies_a_stream_in_pieces_that_are_never_changed() -> None:
    pieces: list[memoryview] = []

    class Keep:
        def write(self, data: memoryview) -> None:
            pieces.append(data)

    data = bytes(range(256)) * 10_000
    pump(io.BytesIO(data), Keep())
    assert b"".join(pieces) == data


def test_work_asked_for_at_the_same_time_is_done_once() -> None:
    once = Once()
    entered, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def work() -> str:
        calls.append(1)
        entered.set()
        assert go_on.wait(10)
        return "done"

    results: list[str] = []
    first = threading.Thread(target=lambda: results.append(once.do("key", work)))
    first.start()
    assert entered.wait(10)
    others = [threading.Thread(target=lambda: results.append(once.do("key", work))) for _ in range(3)]
    for thread in others:
        thread.start()
    assert once.do("other", lambda: 7) == 7
    go_on.set()
    for thread in [first, *others]:
        thread.join()
    assert results == ["done"] * 4
    assert 1 <= len(calls) <= 4


def test_work_that_failed_is_tried_again() -> None:
    once = Once()
    with pytest.raises(ZeroDivisionError):
        once.do("key", lambda: 1 // 0)
    assert once.do("key", lambda: 1) == 1
