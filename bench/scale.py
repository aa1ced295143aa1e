"""The suite `scale`: sizes at which builders run out of memory, of option lengths or of patience. One run each; what
counts is that it ends, and the memory that the daemon took at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import workload
from bench.measure import Row, memory, reset_peak
from bench.tools.boat import Boat

SUITE = "scale"
GIGABYTE = 1_000_000_000


def run(boat: Boat, scratch: Path, only: Sequence[str], layer_gigabytes: int = 10) -> Iterator[Row]:
    boat.start()
    try:
        boat.command("bootstrap", "busybox")
        for name, work in _workloads(boat, scratch / "scale", layer_gigabytes):
            if only and name[0] not in only:
                continue
            reset_peak(boat.pids())
            started = time.perf_counter()
            work()
            seconds = time.perf_counter() - started
            yield Row(SUITE, name, boat.name, 1, seconds, memory(boat.pids(), "VmHWM"))
    finally:
        boat.stop()


def _workloads(boat: Boat, work: Path, gigabytes: int) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "a 100 builds of 20 steps at once", lambda: _many_builds(boat, work / "a")
    yield "b 100,000 files", lambda: boat.build(_many_files(work / "b"), "scale-b")
    yield f"c a layer of {gigabytes} GB, built", lambda: boat.build(_large_layer(work / "c", gigabytes), "scale-c")
    yield f"d a layer of {gigabytes} GB, exported", lambda: _exported(boat, work / "c", work / "c.tar", gigabytes)
    yield f"e a layer of {gigabytes} GB, loaded", lambda: _loaded(boat, work / "c.tar")
    yield (
        "f a Dockerfile of 1,000 steps",
        lambda: boat.build(_steps(work / "f", 1000, "RUN echo {0} > /f{0}"), "scale-f"),
    )
    yield "g an image of 125 layers", lambda: boat.build(_steps(work / "g", 125, "RUN echo {0} > /f{0}"), "scale-g")
    yield "h one container of it", lambda: boat.command("run", "--rm", "scale-g", "cat", "/f1", "/f123")


def _many_builds(boat: Boat, directory: Path) -> None:
    """20 steps each, the first ten of which all share."""
    contexts = []
    for number in range(100):
        shared = [f"RUN echo {step} > /shared{step}" for step in range(10)]
        own = [f"RUN echo {number}-{step} > /own{step}" for step in range(10)]
        context = workload.Context(directory / str(number))
        context.write("Dockerfile", "\n".join(["FROM busybox", *shared, *own, ""]))
        contexts.append(context.directory)
    with ThreadPoolExecutor(len(contexts)) as pool:
        list(pool.map(lambda pair: boat.build(pair[1], f"scale-a{pair[0]}"), enumerate(contexts)))


def _many_files(directory: Path) -> Path:
    context = workload.Context(directory)
    for number in range(100_000):
        context.write(f"tree/d{number // 1000:03}/f{number:06}", str(number))
    context.write("Dockerfile", "FROM busybox\nCOPY tree /tree\n")
    return directory


def _large_layer(directory: Path, gigabytes: int) -> Path:
    step = f"for i in $(seq {gigabytes * 10}); do head -c 100000000 /dev/urandom > /f$i; done"
    workload.Context(directory).write("Dockerfile", f"FROM busybox\nRUN {step}\n")
    return directory


def _exported(boat: Boat, context: Path, archive: Path, gigabytes: int) -> None:
    boat.export(context, archive, "zstd")
    if archive.stat().st_size < gigabytes * GIGABYTE:
        raise RuntimeError(f"{archive} is too small to hold the layer")


def _loaded(boat: Boat, archive: Path) -> None:
    boat.command("image", "rm", "scale-c")
    boat.prune()
    boat.command("image", "load", "-i", str(archive))
    archive.unlink()
    boat.prune()


def _steps(directory: Path, count: int, step: str) -> Path:
    lines = ["FROM busybox", *(step.format(number) for number in range(count - 1)), ""]
    workload.Context(directory).write("Dockerfile", "\n".join(lines))
    return directory
