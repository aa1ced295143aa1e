"""Sizes at which option lengths, descriptors, memory or patience give out. Larger ones are in the bench (suite
`scale`)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e import traces
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime

MEMORY = 500 * 1000 * 1000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yard = Yard(tmp_path_factory.mktemp("large"))
    yard.start()
    yard.run("bootstrap", "busybox")
    yield yard
    peak = traces.peak_memory(yard)
    assert yard.stop() == 0, yard.log
    assert peak < MEMORY


def test_many_builds_at_once_share_their_steps(large: Yard, tmp_path: Path) -> None:
    shared = "".join(f"RUN echo {step} > /shared{step}\n" for step in range(5))

    def build(number: int) -> str:
        own = "".join(f"RUN echo {number}-{step} > /own{step}\n" for step in range(5))
        context = write_files(tmp_path / str(number), {"Dockerfile": f"FROM busybox\n{shared}{own}"})
        return large.run("build", "-t", f"many:{number}", context).stdout

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(build, range(40)))
    for number in (0, 17, 39):
        said = large.run("run", "--rm", f"many:{number}", "cat", "/shared4", "/own4").stdout
        assert said == f"4\n{number}-4\n"
    digests = {
        large.run("image", "inspect", f"many:{number}", "--format", "{{.RootFS.Layers}}").stdout for number in (0, 1)
    }
    assert len(digests) == 2


def test_an_image_of_more_layers_than_overlayfs_takes(large: Yard, tmp_path: Path) -> None:
    """In one page of mount options, as docker gives them."""
    steps = "".join(f"RUN echo {number} > /f{number}; rm -f /f{number - 2}\n" for number in range(200))
    context = write_files(tmp_path, {"Dockerfile": f"FROM busybox\n{steps}"})
    large.run("build", "-t", "tall", context)
    assert large.run("run", "--rm", "tall", "sh", "-c", "cat /f*").stdout.split() == ["198", "199"]
    large.run("image", "save", "-o", tmp_path / "tall.tar", "tall")
    large.run("image", "rm", "tall")
    large.run("image", "load", "-i", tmp_path / "tall.tar")
    assert large.run("run", "--rm", "tall", "sh", "-c", "cat /f*").stdout.split() == ["198", "199"]


def test_a_context_of_many_files(large: Yard, tmp_path: Path) -> None:
    for number in range(30_000):
        path = tmp_path / f"tree/d{number // 1000}/f{number}"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"%d" % number)
    write_files(tmp_path, {"Dockerfile": "FROM busybox\nCOPY tree /tree\nRUN find /tree -type f | wc -l > /count\n"})
    large.run("build", "-t", "wide", tmp_path)
    assert large.run("run", "--rm", "wide", "cat", "/count").stdout == "30000\n"
