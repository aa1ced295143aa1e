"""A client's directory, received into one of ours."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from boatyard.build.source.occupancy import Occupancy
from boatyard.errors import NotFoundError, UnavailableError, UnsupportedError
from boatyard.session.filesync import Wanted
from boatyard.session.fsutil import transfer
from boatyard.session.mirrors import Mirrors
from boatyard.session.offered.filesync import FileSync
from boatyard.session.registry import Sessions
from boatyard.session.session import Session
from fixtures.sessionpair import linked

CONTEXT = Wanted("context")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "empty").write_text("")
    (root / "sub" / "b.txt").write_text("b" * 100_000)
    (root / "link").symlink_to("sub/b.txt")
    os.link(root / "a.txt", root / "sub" / "same-as-a")
    return root


@pytest.fixture
def mirrors(tmp_path: Path) -> Mirrors:
    return Mirrors(tmp_path / "mirrors", Occupancy())


class Sent:
    def __init__(self) -> None:
        self.files = 0

    def __call__(self, files: int, size: int) -> None:
        self.files = files


async def transferred(mirrors: Mirrors, session: Session, wanted: Wanted = CONTEXT) -> tuple[dict[str, str], int]:
    """What the mirror holds, and how many files came."""
    sent = Sent()
    async with mirrors.received(session, wanted, progress=sent) as mirror:
        files = Path(f"/proc/self/fd/{mirror.fd}")
        return {path: described(files / path) for path in listed(files)}, sent.files


def listed(root: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(top, name), root) for top, dirs, files in os.walk(root) for name in dirs + files
    )


def described(path: Path) -> str:
    status = path.lstat()
    what = os.readlink(path) if path.is_symlink() else "" if path.is_dir() else path.read_bytes()[:1000]
    return f"{status.st_mode:o} {status.st_mtime_ns} {what}"


async def test_everything_arrives_as_it_is(source: Path, mirrors: Mirrors) -> None:
    async with linked([FileSync({"context": str(source)})]) as session:
        files, sent = await transferred(mirrors, session)
    assert files == {path: described(source / path) for path in listed(source)}
    assert sent == 3, "a hard link isn't sent twice"


async def test_only_what_has_changed_is_sent_again(source: Path, mirrors: Mirrors) -> None:
    async with linked([FileSync({"context": str(source)})]) as session:
        await transferred(mirrors, session)
        _, unchanged = await transferred(mirrors, session)
        (source / "empty").write_text("not any more")
        (source / "link").unlink()
        files, changed = await transferred(mirrors, session)
    assert (unchanged, changed) == (0, 1)
    assert files == {path: described(source / path) for path in listed(source)}


async def test_a_client_without_directories_is_told_from_one_without_this_one(mirrors: Mirrors) -> None:
    async with linked([]) as session:
        with pytest.raises(UnsupportedError, match="offers no directories"):
            await transferred(mirrors, session)
    async with linked([FileSync({})]) as session:
        with pytest.raises(NotFoundError, match="no access allowed to dir"):
            await transferred(mirrors, session)


async def test_a_session_is_waited_for_and_not_for_ever() -> None:
    sessions = Sessions(wait=0.01)
    with pytest.raises(UnavailableError, match="no session 'x' came within"):
        await sessions.get("x")


async def test_builds_that_share_a_session_are_nothing_to_each_other(
    source: Path, tmp_path: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is given up in the middle; the other one and a third get everything."""
    monkeypatch.setattr(transfer, "INTERVAL", 0.0)
    (source / "large").write_bytes(os.urandom(20_000_000))
    async with linked([FileSync({"context": str(source)})]) as session:
        begun = asyncio.Event()

        async def one() -> None:
            async with mirrors.received(session, CONTEXT, progress=lambda files, size: begun.set()):
                raise AssertionError("unreachable")

        giving_up = asyncio.ensure_future(one())
        other = asyncio.ensure_future(transferred(mirrors, session, Wanted("context", exclude=("empty",))))
        await begun.wait()
        giving_up.cancel()
        await asyncio.wait([giving_up])
        assert giving_up.cancelled()
        files, _ = await other
        assert session.is_live
        again, _ = await transferred(mirrors, session)
    assert set(again) - set(files) == {"empty"}
