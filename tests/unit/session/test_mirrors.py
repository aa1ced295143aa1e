"""Mirrors: which of them a build gets, and what becomes of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boatyard.build.source.occupancy import Occupancy
from boatyard.errors import ConflictError, UnavailableError
from boatyard.session import mirrors as module
from boatyard.session.filesync import Wanted
from boatyard.session.fsutil import transfer
from boatyard.session.mirrors import Mirror, Mirrors
from boatyard.session.offered.filesync import FileSync
from fixtures.sessionpair import linked


class Sent:
    def __init__(self) -> None:
        self.files = 0

    def __call__(self, files: int, size: int) -> None:
        self.files = files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    for name in ("a.c", "b.c", "c.h"):
        (root / name).write_text(name)
    return root


def names(mirror: Mirror) -> list[str]:
    return sorted(os.listdir(mirror.fd))


async def test_a_second_build_gets_a_mirror_of_its_own_and_nothing_is_sent_again(tmp_path: Path, source: Path) -> None:
    mirrors = Mirrors(tmp_path / "m", Occupancy())
    sent = Sent()
    async with linked([FileSync({"context": str(source)})], shared_key="k") as session:
        async with (
            mirrors.received(session, Wanted("context")) as first,
            mirrors.received(session, Wanted("context"), progress=sent) as second,
        ):
            assert first.directory != second.directory
            assert names(first) == names(second) == ["a.c", "b.c", "c.h"]
        assert sent.files == 0
        async with mirrors.received(session, Wanted("context")) as third:
            assert third.identity in (first.identity, second.identity)


async def test_other_patterns_have_a_mirror_of_their_own_and_take_what_is_the_same(
    tmp_path: Path, source: Path
) -> None:
    mirrors = Mirrors(tmp_path / "m", Occupancy())
    sent = Sent()
    async with linked([FileSync({"context": str(source)})], shared_key="k") as session:
        async with mirrors.received(session, Wanted("context", include=("*.c",))) as some:
            assert names(some) == ["a.c", "b.c"]
        async with mirrors.received(session, Wanted("context", exclude=("a.*",)), progress=sent) as others:
            assert names(others) == ["b.c", "c.h"]
            assert sent.files == 1, "only c.h is new"
        async with mirrors.received(session, Wanted("context", include=("*.c",)), progress=sent) as again:
            assert again.identity == some.identity
        assert sent.files == 0


async def test_clients_see_no_files_of_other_clients(tmp_path: Path, source: Path) -> None:
    mirrors = Mirrors(tmp_path / "m", Occupancy())
    for key, peer in (("one", ""), ("two", ""), ("", "uid 0"), ("", "uid 1")):
        sent = Sent()
        async with linked([FileSync({"context": str(source)})], shared_key=key, peer=peer) as session:
            async with mirrors.received(session, Wanted("context"), progress=sent):
                assert sent.files == 3
            async with mirrors.received(session, Wanted("context"), hint="another", progress=sent):
                assert sent.files == 3
    assert len(os.listdir(tmp_path / "m")) == 8


async def test_a_mirror_in_use_is_not_pruned_and_an_unused_one_may_be(tmp_path: Path, source: Path) -> None:
    occupancy = Occupancy()
    mirrors = Mirrors(tmp_path / "m", occupancy)
    async with linked([FileSync({"context": str(source)})], shared_key="k") as session:
        async with mirrors.received(session, Wanted("context")) as mirror:
            with pytest.raises(ConflictError):
                occupancy.remove(mirror.directory)
        occupancy.remove(mirror.directory)
        sent = Sent()
        async with mirrors.received(session, Wanted("context"), progress=sent) as after:
            assert after.identity != mirror.identity
            assert sent.files == 3


async def test_only_so_many_mirrors_of_a_directory_are_kept(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_A_DIRECTORY", 3)
    mirrors = Mirrors(tmp_path / "m", Occupancy())
    async with linked([FileSync({"context": str(source)})], shared_key="k") as session:
        for number in range(6):
            async with mirrors.received(session, Wanted("context", exclude=(f"{number}",))):
                pass
    assert len(os.listdir(tmp_path / "m")) <= 3


async def test_after_the_machine_was_down_everything_is_sent_again(tmp_path: Path, source: Path) -> None:
    for boot, expected in (("one", 3), ("one", 0), ("two", 3)):
        sent = Sent()
        mirrors = Mirrors(tmp_path / "m", Occupancy(), boot=boot)
        async with (
            linked([FileSync({"context": str(source)})], shared_key="k") as session,
            mirrors.received(session, Wanted("context"), progress=sent),
        ):
            assert sent.files == expected
    assert len(os.listdir(tmp_path / "m")) == 1


async def test_a_client_whose_times_say_nothing_sends_everything_again(tmp_path: Path, source: Path) -> None:
    mirrors = Mirrors(tmp_path / "m", Occupancy())
    async with linked([FileSync({"context": str(source)})], shared_key="k") as session:
        for _ in range(2):
            sent = Sent()
            async with mirrors.received(session, Wanted("context"), trusted=False, progress=sent) as mirror:
                assert names(mirror) == ["a.c", "b.c", "c.h"]
            assert sent.files == 3


async def test_a_mirror_whose_transfer_broke_off_is_used_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "INTERVAL", 0.0)
    mirrors = Mirrors(tmp_path / "m", Occupancy())
    (source / "z-large").write_bytes(bytes(5_000_000))

    async with linked([FileSync({"context": str(source)})], shared_key="k") as session:

        def break_off(files: int, size: int) -> None:
            if files:
                session.end("the client was killed")

        with pytest.raises(UnavailableError):
            async with mirrors.received(session, Wanted("context"), progress=break_off):
                raise AssertionError("unreachable")
    sent = Sent()
    async with (
        linked([FileSync({"context": str(source)})], shared_key="k") as session,
        mirrors.received(session, Wanted("context"), progress=sent) as mirror,
    ):
        assert names(mirror) == ["a.c", "b.c", "c.h", "z-large"]
        assert (Path(f"/proc/self/fd/{mirror.fd}") / "z-large").stat().st_size == 5_000_000
    assert len(os.listdir(tmp_path / "m")) == 1


async def test_what_is_no_mirror_is_left_alone_or_dropped(tmp_path: Path, source: Path) -> None:
    mirrors = Mirrors(tmp_path / "m", Occupancy())
    async with linked([FileSync({"context": str(source)})], shared_key="k") as session:
        async with mirrors.received(session, Wanted("context")) as mirror:
            pass
        (mirror.directory / "mirror.json").write_text("{")
        async with mirrors.received(session, Wanted("context")) as another:
            assert another.identity != mirror.identity
