"""Everything is pruned again and again while builds, exports and runs are at work: none of them may fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.yard import Yard, write

BUILDERS = 3
ROUNDS = 8

DOCKERFILE = """FROM busybox AS left
RUN echo {0}-left > /left && head -c 100000 /dev/urandom > /noise
COPY file /copied
FROM busybox AS right
RUN --mount=type=cache,target=/cache echo {0} >> /cache/log && cp /cache/log /right
FROM busybox
COPY --link file /linked
COPY --from=left /left /copied /from-left/
COPY --from=right /right /from-right
RUN --mount=type=bind,from=left,target=/mnt cat /mnt/noise > /noise
RUN --mount=type=cache,target=/shared,id=shared echo {0} > /shared/{0}
"""


@pytest.fixture
def pruned(own_yard: Yard) -> Callable[[Callable[[], None]], int]:
    """Runs work while everything is pruned in a loop; how often that was."""
    own_yard.run("bootstrap", "busybox")

    def run(work: Callable[[], None]) -> int:
        done = threading.Event()
        count = 0

        def prune() -> None:
            nonlocal count
            while not done.is_set():
                own_yard.run("builder", "prune", "--all", "--force")
                count += 1

        with ThreadPoolExecutor(1) as pool:
            pruning = pool.submit(prune)
            try:
                work()
            finally:
                done.set()
            pruning.result()
        return count

    return run


def test_no_build_fails_while_everything_is_pruned(
    own_yard: Yard, pruned: Callable[[Callable[[], None]], int], tmp_path: Path
) -> None:
    def build(builder: int) -> None:
        for number in range(ROUNDS):
            # Every other round repeats the one before: its records are found, or were pruned a moment ago.
            name = f"{builder}-{number // 2}"
            context = write(tmp_path / f"context{builder}", Dockerfile=DOCKERFILE.format(name), file=name)
            archive = tmp_path / f"{builder}.tar"
            outputs = ("-o", f"type=image,name=image{builder}", "-o", f"type=oci,dest={archive}")
            own_yard.run("build", "-q", *outputs, context)
            assert own_yard.run("run", "--rm", f"image{builder}", "cat", "/from-left/left").stdout == f"{name}-left\n"
            own_yard.run("image", "save", "-o", archive, f"image{builder}")

    def work() -> None:
        with ThreadPoolExecutor(BUILDERS) as pool:
            for done in [pool.submit(build, builder) for builder in range(BUILDERS)]:
                done.result()

    assert pruned(work) > 3
    assert "Traceback" not in own_yard.log
    own_yard.run("builder", "prune", "--all", "--force")
    left = own_yard.run("builder", "du", "--format", "{{.ID}}").stdout.split()
    assert left == []
    for builder in range(BUILDERS):
        own_yard.run("run", "--rm", f"image{builder}", "true")
    own_yard.run("image", "rm", *(f"image{builder}" for builder in range(BUILDERS)), "busybox")
    own_yard.run("image", "prune", "--force")
    snapshots = [path for path in (own_yard.data / "snapshots").iterdir() if not path.name.startswith(".")]
    assert snapshots == []
    assert list((own_yard.data / "blobs/sha256").iterdir()) == []
