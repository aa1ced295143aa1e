from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from boatyard.cli.console import Console
from boatyard.cli.program import run
from fixtures.native_daemon import NativeDaemon


@dataclass(frozen=True)
class Told:
    """What a command left behind."""

    code: int
    out: str
    err: str


Boat = Callable[..., Told]


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeDaemon]:
    with NativeDaemon(tmp_path_factory.mktemp("run")) as daemon:
        yield daemon


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a context in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


@pytest.fixture
def boat(daemon: NativeDaemon, work: Path, capfd: pytest.CaptureFixture[str]) -> Boat:
    """Run `boat` in this process against the daemon of the test."""

    def call(*words: str, **environment: str) -> Told:
        console = Console({"HOME": str(work), "TERM": "xterm", **environment}, host=daemon.address)
        code = run(console, words)
        return Told(code, *capfd.readouterr())

    return call
