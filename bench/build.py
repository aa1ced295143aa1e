"""The suite `build`: workloads (a) to (f), each builder in turn within one run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import workload
from bench.measure import Row, memory, reset_peak, row
from bench.tools import registry
from bench.tools.boat import Boat
from bench.tools.builder import Builder

BASE = "bench-base:latest"
SUITE = "build"


def nonce() -> str:
    return os.urandom(6).hex()


def rootfs(scratch: Path) -> Path:
    """A Debian root file system as tar, made by boat itself and kept between runs."""
    tar = scratch / "rootfs.tar"
    if not tar.exists():
        print("making a Debian root file system ...", file=sys.stderr)
        boat = Boat(scratch / "rootfs-root")
        boat.start()
        try:
            context = workload.Context(scratch / "rootfs-context")
            context.write("Dockerfile", "FROM debian:bookworm\n")
            boat.command("bootstrap", "debian:bookworm")
            boat.command("build", "-o", f"type=tar,dest={tar}", str(context.directory))
        finally:
            boat.stop()
    return tar


def run(builder: Builder, scratch: Path, runs: int, only: Sequence[str]) -> Iterator[Row]:
    """All workloads with one builder."""
    tar = rootfs(scratch)
    start = builder.start()
    try:
        if start:
            # With the memory it takes before any work.
            yield Row(SUITE, "daemon start", builder.name, 1, start, memory(builder.pids(), "VmRSS"))
        builder.import_base(tar, BASE)
        for name, measure in _workloads(builder, scratch, tar, runs):
            if only and name[0] not in only:
                continue
            print(f"{builder.name}: {name}", file=sys.stderr)
            reset_peak(builder.pids())
            seconds = measure()
            if seconds:
                yield row(SUITE, name, builder.name, seconds, memory(builder.pids(), "VmHWM"))
    finally:
        builder.stop()


def _workloads(
    builder: Builder, scratch: Path, tar: Path, runs: int
) -> Iterator[tuple[str, Callable[[], list[float]]]]:
    work = scratch / builder.name

    def cold() -> list[float]:
        seconds = []
        for _ in range(runs):
            builder.prune()
            context = workload.multi_stage(work / "a", tar, nonce())
            seconds.append(builder.build(context.directory, "bench-a"))
        return seconds

    def cached() -> list[float]:
        if not (work / "a").exists():
            workload.multi_stage(work / "a", tar, nonce())
        builder.build(work / "a", "bench-a")
        return [builder.build(work / "a", "bench-a") for _ in range(runs * 2)]

    yield "a cold multi-stage", cold
    yield "b fully cached", cached

    context = workload.many_files(work / "c", BASE)

    def changed() -> list[float]:
        seconds = []
        for _ in range(runs):
            workload.change_one_file(context, nonce())
            seconds.append(builder.build(context.directory, "bench-c"))
        return seconds

    yield "c many files, cold", lambda: [builder.build(context.directory, "bench-c")]
    yield "c one file changed", changed
    yield "c unchanged", lambda: [builder.build(context.directory, "bench-c") for _ in range(runs * 2)]

    big = workload.big_layer(work / "d", BASE)

    def exported(compression: str) -> list[float]:
        seconds = []
        for _ in range(runs):
            # Another layer each time: an archive of one that was exported before would only be copied together.
            big.write("data/nonce", nonce())
            builder.build(big.directory, "bench-d")
            seconds.append(builder.export(big.directory, work / "out.tar", compression))
        return [each for each in seconds if each is not None]

    yield "d OCI archive, gzip", lambda: exported("gzip")
    yield "d OCI archive, zstd", lambda: exported("zstd")

    def travelling(what: str) -> list[float]:
        """A cold build that exports its cache; after forgetting everything, one that imports it."""
        seconds = []
        for _ in range(runs):
            with registry.running(work / "registry") as host:
                context = workload.multi_stage(work / "e", tar, nonce())
                builder.prune()
                exported = builder.travelling(context.directory, f"{host}/cache:e", export=True)
                builder.prune()
                archive = work / "e.tar" if what == "archive" else None
                imported = builder.travelling(context.directory, f"{host}/cache:e", export=False, archive=archive)
                seconds.append(exported if what == "export" else imported)
        return [each for each in seconds if each is not None]

    if registry.program() is not None:
        yield "e cache exported", lambda: travelling("export")
        yield "e cache imported", lambda: travelling("import")
        yield "e imported, OCI archive", lambda: travelling("archive")

    def steps() -> list[float]:
        seconds = []
        for _ in range(runs):
            context = workload.small_steps(work / "f", BASE, nonce())
            seconds.append(builder.build(context.directory, "bench-f"))
        return seconds

    yield "f 50 RUN steps", steps
