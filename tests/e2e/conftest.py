"""Daemons and base images for the tests of the whole.

Each worker has one daemon for the tests that don't harm it. Base images are made once for all workers, under a lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.served import Served, serve
from e2e.yard import Yard


@pytest.fixture(scope="session", autouse=True)
def _root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts and containers")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory all workers of a run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A running daemon with the image `busybox`. Tests share it: they use tags of their own."""
    yard = Yard(tmp_path_factory.mktemp("yard"))
    yard.start()
    yard.run("bootstrap", "busybox")
    yield yard
    assert yard.stop() == 0, yard.log
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if str(yard.root) in line]


@pytest.fixture(scope="session")
def debian(shared: Path) -> Callable[[Yard], None]:
    """Puts `debian:bookworm-slim` into a daemon's store; it is made once a run."""

    def put(yard: Yard) -> None:
        archive = shared / "debian.tar"
        with open(shared / "debian.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not archive.exists():
                yard.run("bootstrap", "debian:bookworm-slim")
                yard.run("image", "save", "-o", archive.with_suffix(".new"), "debian:bookworm-slim")
                archive.with_suffix(".new").rename(archive)
        if yard.run("image", "inspect", "debian:bookworm-slim", check=False).returncode:
            yard.run("image", "load", "-i", archive)

    return put


@pytest.fixture
def own_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A daemon that a test may harm."""
    # Not below the test's own directory: paths of sockets are short.
    yard = Yard(tmp_path_factory.mktemp("own"))
    yard.start()
    yield yard
    if yard.daemon and yard.daemon.poll() is None:
        yard.stop()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A directory that is served over HTTP."""
    with serve(tmp_path / "served") as served:
        yield served
