"""What is remembered of copies, on disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.copying import memory, reuse
from boatyard.build.copying.memory import ContextMemory
from boatyard.build.copying.reuse import Copied, Note

NAMES = st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"/", b"x").replace(b"\0", b"x"))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: b"/".join(parts).decode("utf-8", "surrogateescape"))
COPIES = st.builds(
    Copied,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 0o7777),
    st.integers(0, 2**32 - 2),
    st.integers(0, 2**32 - 2),
    st.integers(-(2**62), 2**62),
)


@settings(max_examples=100, deadline=None)
@given(st.text("abc", min_size=1), st.dictionaries(PATHS, COPIES, max_size=20))
def test_a_note_comes_back_as_it_was(layer: str, files: dict[str, Copied]) -> None:
    note = reuse.decode(reuse.encode(Note(layer, files)))
    assert note is not None
    assert note.layer == layer
    assert dict(note.files) == files


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_none(data: bytes) -> None:
    reuse.decode(data)
    whole = reuse.encode(Note("l", {"a": Copied(b"d" * 32, 1, 2, 3, 4)}))
    reuse.decode(whole[: len(data)] + data)


def test_notes_outlive_the_daemon(tmp_path: Path) -> None:
    ContextMemory(tmp_path).keep("key", Note("l1", {"a": Copied(b"d" * 32, 0o644, 0, 0, 1)}))
    note = ContextMemory(tmp_path).note("key")
    assert note is not None
    assert note.files["a"].mode == 0o644
    assert ContextMemory(tmp_path).note("other") is None


def test_a_damaged_note_is_forgotten(tmp_path: Path) -> None:
    ContextMemory(tmp_path).keep("key", Note("l1", {"a": Copied(b"d" * 32, 0o644, 0, 0, 1)}))
    (path,) = (tmp_path / "copies").iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert ContextMemory(tmp_path).note("key") is None


def test_the_oldest_notes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_NOTES", 3)
    kept = ContextMemory(tmp_path)
    for number in range(6):
        kept.keep(f"key {number}", Note("l", {}))
    assert len(list((tmp_path / "copies").iterdir())) == 3
    assert kept.note("key 5") is not None


def test_many_threads_keep_notes_while_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "MOST_NOTES", 3)
    kept = ContextMemory(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: kept.keep(f"key {number}", Note("l", {})), range(400)))
    assert caplog.text == ""
    kept.keep("last", Note("l", {}))
    assert len(list((tmp_path / "copies").iterdir())) == 3


def test_what_was_being_written_when_the_daemon_was_killed_goes_at_the_next_start(tmp_path: Path) -> None:
    ContextMemory(tmp_path).keep("key", Note("l", {}))
    (tmp_path / "indexes").mkdir()
    whole = {*(tmp_path / "copies").iterdir(), tmp_path / "indexes/aa.index"}
    for path in (tmp_path / "indexes/aa.index", tmp_path / "indexes/aa.1f", tmp_path / "copies/bb.2e"):
        path.write_bytes(b"half")
    ContextMemory(tmp_path)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == whole
