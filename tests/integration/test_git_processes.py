"""What git is run with, and that nothing of it is left: processes, locks, directories."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from boatyard.build.source.git import GitStep
from boatyard.errors import UnavailableError
from fixtures.filework import DirectoryRequester, Told, Workshop

pytestmark = pytest.mark.root

WRAPPER = """#!/bin/sh
printf '%s\\n' "$*" >> "{log}/arguments"
env | sort >> "{log}/environment"
case "$*" in *{stall}*)
    sleep 1000 &
    echo $! > "{log}/child.pid"
    echo $$ > "{log}/git.pid"
    wait
esac
exec {git} "$@"
"""


class Wrapped:
    """A git that writes down how it was called. Calls with `stall` in them never end."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = directory / "log"
        self.log.mkdir()
        self._directory = directory
        self._git = shutil.which("git")
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        self.stall("nothing-stalls")

    def stall(self, word: str) -> None:
        path = self._directory / "git"
        path.write_text(WRAPPER.format(log=self.log, git=self._git, stall=word))
        path.chmod(0o755)

    def said(self, name: str) -> str:
        return (self.log / name).read_text()

    async def stalled(self) -> None:
        while not (self.log / "git.pid").exists():  # noqa: ASYNC110 -- another process writes it
            await asyncio.sleep(0.01)

    def alive(self) -> list[int]:
        pids = [int(path.read_text()) for path in self.log.glob("*.pid")]
        return [pid for pid in pids if is_alive(pid)]


def is_alive(pid: int) -> bool:
    """A zombie, which only waits to be counted, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    directory = tmp_path / "wrapped"
    directory.mkdir()
    return Wrapped(directory, monkeypatch)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    (tmp_path / "shop").mkdir()
    return Workshop(tmp_path / "shop")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    (path / "file").write_text("one")
    subprocess.run(["git", "-C", path, "add", "."], check=True)
    commit(path, "first")
    return path


def commit(repository: Path, message: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, "-C", repository, "commit", "-q", "--allow-empty", "-m", message], check=True)


def step(workshop: Workshop, url: str, requester: DirectoryRequester | None = None, **attrs: str) -> GitStep:
    named = {f"git.{name}": value for name, value in attrs.items()}
    return GitStep(
        f"git://{url.partition('://')[2]}",
        {"git.fullurl": url, **named},
        requester or DirectoryRequester({}),
        workshop.store,
        workshop.root / "sources",
        workshop.occupancy,
    )


async def test_credentials_of_an_address_are_on_no_command_line(git: Wrapped, workshop: Workshop) -> None:
    op = step(workshop, "http://me:s3cret@127.0.0.1:9/repository.git")
    with pytest.raises(UnavailableError) as raised:
        await op.cache_map(Told())
    assert "s3cret" not in str(raised.value)
    assert "127.0.0.1:9/repository.git" in git.said("arguments")
    assert "s3cret" not in git.said("arguments")
    assert f"Basic {base64.b64encode(b'me:s3cret').decode()}" in git.said("environment")


async def test_the_daemons_own_keys_and_agent_are_not_used(
    git: Wrapped, workshop: Workshop, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/the-daemons-own-agent")
    monkeypatch.setenv("GIT_ASKPASS", "/usr/bin/ask")
    await step(workshop, f"file://{repository}").cache_map(Told())
    said = git.said("environment")
    assert "the-daemons-own-agent" not in said and "GIT_ASKPASS" not in said
    assert "-oIdentityFile=none" in said and "-F/dev/null" in said


async def test_an_agent_and_known_hosts_that_the_client_gives_are_used(
    git: Wrapped, workshop: Workshop, repository: Path
) -> None:
    class WithAgent(DirectoryRequester):
        async def ssh_agent(self, id: str) -> str | None:
            return f"/run/agent-{id}"

    op = step(workshop, f"file://{repository}", WithAgent({}), mountsshsock="work", knownsshhosts="host ssh-ed25519 AA")
    await op.cache_map(Told())
    said = git.said("environment")
    assert "SSH_AUTH_SOCK=/run/agent-work" in said
    assert "StrictHostKeyChecking=yes" in said


async def test_what_ssh_says_of_a_failure_is_told(workshop: Workshop) -> None:
    op = step(workshop, "ssh://git@127.0.0.1:1/thing.git", knownsshhosts="host ssh-ed25519 AA")
    with pytest.raises(UnavailableError, match="port 1: Connection refused"):
        await op.cache_map(Told())


async def test_cancelling_ends_git_and_what_it_started(git: Wrapped, workshop: Workshop, repository: Path) -> None:
    git.stall("checkout")
    op = step(workshop, f"file://{repository}")
    await op.cache_map(Told())
    task = asyncio.create_task(op.execute(Told(), []))
    await git.stalled()
    assert len(git.alive()) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert git.alive() == []
    assert os.listdir(workshop.root / "snapshots/.active") == []
    assert not workshop.occupancy.in_use(next((workshop.root / "sources/git").iterdir()))


async def test_the_locks_of_a_git_that_was_killed_are_no_hindrance(workshop: Workshop, repository: Path) -> None:
    op = step(workshop, f"file://{repository}")
    await op.cache_map(Told())
    await op.execute(Told(), [])
    (mirror,) = (workshop.root / "sources/git").iterdir()
    for lock in ("shallow.lock", "packed-refs.lock", "HEAD.lock"):
        (mirror / lock).touch()
    commit(repository, "second")
    op = step(workshop, f"file://{repository}")
    await op.cache_map(Told())
    (result,) = await op.execute(Told(), [])
    assert await result.read_file("/file") == b"one"


async def test_a_mirror_that_was_pruned_in_between_is_fetched_again(workshop: Workshop, repository: Path) -> None:
    op = step(workshop, f"file://{repository}")
    await op.cache_map(Told())
    await op.source_time()
    (mirror,) = (workshop.root / "sources/git").iterdir()
    workshop.occupancy.remove(mirror)
    (result,) = await op.execute(Told(), [])
    assert await result.read_dir("/") == ("file",)


async def test_nothing_is_left_in_the_temporary_directory(
    workshop: Workshop, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    op = step(workshop, f"file://{repository}")
    await op.cache_map(Told())
    await op.execute(Told(), [])
    assert list(temporary.iterdir()) == []
