"""The ring against plain lists."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from boatyard.logs.memlogd.bounds import Bounds
from boatyard.logs.memlogd.chunk import Chunk, Sources
from boatyard.logs.memlogd.ring import Ring

NAMES = (b"spam", b"quiet", b"other")

writes = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 12), st.integers(0, 9)), max_size=40)
"""Source, lines, length of a line."""


class Filled:
    """A ring, and all that was ever written to it: source and number of each line."""

    def __init__(self, bounds: Bounds) -> None:
        self.sources = Sources()
        self.ring = Ring(bounds, self.sources)
        self.written: list[tuple[bytes, int]] = []
        self.index = 0

    def write(self, name: bytes, count: int, length: int) -> None:
        source = self.sources.get(name)
        data = b"".join(b"%d" % (source.taken + n + 1) + b"." * length + b"\n" for n in range(count))
        self.ring.add(Chunk(self.index, 0, source, source.taken + 1, count, data, False))
        self.written += [(name, source.taken + n + 1) for n in range(count)]
        source.taken += count
        self.index += 1

    def held(self) -> list[tuple[bytes, int]]:
        found = []
        for held in self.ring.contents():
            lines = held.data()[:-1].split(b"\n")
            assert len(lines) == held.chunk.count - held.skip
            for number, line in enumerate(lines, start=held.chunk.number + held.skip):
                assert int(line.rstrip(b".")) == number
                found.append((held.chunk.source.name, number))
        assert len(found) == self.ring.lines
        return found


@given(writes, st.integers(1, 30))
def test_without_fairness_the_last_lines_of_all_are_held(rows: list[tuple[bytes, int, int]], bound: int) -> None:
    filled = Filled(Bounds(bound))
    for row in rows:
        filled.write(*row)
        assert filled.held() == filled.written[-bound:]


@given(writes, st.integers(1, 30))
def test_with_fairness_every_source_keeps_its_last_lines_up_to_its_share(
    rows: list[tuple[bytes, int, int]], bound: int
) -> None:
    filled = Filled(Bounds(bound, fair=True))
    for row in rows:
        filled.write(*row)
        held = filled.held()
        assert len(held) == min(bound, len(filled.written))
        assert held == sorted(held, key=filled.written.index)
        counts = Counter(name for name, _ in held)
        ever = Counter(name for name, _ in filled.written)
        for name, total in ever.items():
            mine = [number for source, number in held if source == name]
            assert mine == list(range(total - len(mine) + 1, total + 1)), "not the last ones"
            if len(mine) < total:
                # Nobody who lost lines could have kept more without a larger one's losing less.
                assert counts[name] >= max(counts.values()) - 1


@given(writes, st.integers(12, 120), st.booleans())
def test_bytes_are_bounded_too(rows: list[tuple[bytes, int, int]], bound: int, fair: bool) -> None:
    filled = Filled(Bounds(1000, bound, line_length=11, fair=fair))
    for row in rows:
        filled.write(*row)
        held = filled.held()
        assert sum(len(one.chunk.data) for one in filled.ring.contents()) == filled.ring.bytes <= bound
        latest = defaultdict(int, filled.written)
        for name in {name for name, _ in held}:
            mine = [number for source, number in held if source == name]
            assert mine == list(range(latest[name] - len(mine) + 1, latest[name] + 1))
        assert filled.written[-1] in held, "the newest line of all is always there"


def test_a_flood_leaves_the_last_words_of_the_quiet() -> None:
    filled = Filled(Bounds(100, fair=True))
    filled.write(b"quiet", 3, 0)
    for _ in range(1000):
        filled.write(b"spam", 50, 0)
    held = filled.held()
    assert [row for row in held if row[0] == b"quiet"] == [(b"quiet", 1), (b"quiet", 2), (b"quiet", 3)]
    assert len(held) == 100


def test_many_sources_of_one_line_each_make_way_for_newer_ones() -> None:
    filled = Filled(Bounds(100, fair=True))
    for number in range(1000):
        filled.write(b"source%d" % number, 1, 0)
    assert filled.held() == [(b"source%d" % number, 1) for number in range(900, 1000)]
    assert len(filled.sources._known) == 100


def test_names_are_forgotten_in_the_end_and_numbers_go_on_until_then() -> None:
    sources = Sources(past=2)
    for name in (b"a", b"b", b"c"):
        source = sources.get(name)
        source.taken = 7
        sources.release(source)
    assert [sources.get(name).taken for name in (b"a", b"b", b"c")] == [7, 7, 7]
    assert [sources.get(name).base for name in (b"a", b"b", b"c", b"new")] == [7, 0, 0, 7]
