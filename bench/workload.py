"""The workloads: contexts and Dockerfiles, made in a directory of the harness's own.

Their letters and sizes are fixed, so that figures of different days can be put side by side:

    a  cold multi-stage: a 160 MiB root file system added as tar, two parallel stages with 20 MB each, a final one
    b  the same, unchanged
    c  a context of 10,000 files of 10 KiB: cold, one file changed, unchanged
    d  one layer of about 466 MB exported to an OCI archive, with gzip and with zstd
    e  (a) with its cache exported to a registry, everything forgotten, and built with the cache imported
    f  50 small RUN steps on a cached base
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

SMALL_FILES = 10_000
SMALL_FILE_BYTES = 10 << 10


@dataclass(frozen=True, slots=True)
class Context:
    """A directory with a Dockerfile in it."""

    directory: Path

    def write(self, name: str, data: bytes | str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)


def multi_stage(directory: Path, rootfs: Path, nonce: str) -> Context:
    """Workload (a). `nonce` changes every step, so that nothing of an earlier run is found."""
    context = _empty(directory)
    os.link(rootfs, directory / "rootfs.tar") if _same_device(rootfs, directory) else shutil.copy(
        rootfs, directory / "rootfs.tar"
    )
    for number in range(20):
        context.write(f"src/file{number}", f"{number} {nonce}\n" * 50)
    context.write(
        "Dockerfile",
        f"""FROM scratch AS base
ADD rootfs.tar /
ENV NONCE={nonce}
RUN echo $NONCE > /base

FROM base AS left
RUN echo left-1-$NONCE > /left1
COPY src /src
RUN head -c 20000000 /dev/urandom > /left.bin
RUN cat /src/* > /left2

FROM base AS right
RUN echo right-1-$NONCE > /right1
RUN head -c 20000000 /dev/urandom > /right.bin

FROM base
COPY --from=left /left.bin /left2 /out/
COPY --from=right /right.bin /right1 /out/
RUN ls -l /out > /listing
CMD ["cat", "/listing"]
""",
    )
    return context


def many_files(directory: Path, base: str) -> Context:
    """Workload (c)."""
    context = _empty(directory)
    source = random.Random(1)
    for number in range(SMALL_FILES):
        path = directory / f"tree/d{number // 100:03}/f{number:05}"
        if number % 100 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(source.randbytes(SMALL_FILE_BYTES))
    context.write("Dockerfile", f"FROM {base}\nCOPY tree /tree\n")
    return context


def change_one_file(context: Context, nonce: str) -> None:
    context.write("tree/d050/f05000", nonce.encode() * 100)


def big_layer(directory: Path, base: str, megabytes: int = 466) -> Context:
    """Workload (d): a third random bytes, the rest shared libraries of this host."""
    context = _empty(directory)
    source = random.Random(2)
    third = megabytes * 1_000_000 // 3
    context.write("data/random.bin", source.randbytes(third))
    left = megabytes * 1_000_000 - third
    for path in sorted(Path("/usr/lib").rglob("*.so*")):
        if left <= 0:
            break
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()[:left]
            context.write(f"data/{len(data)}-{path.name}", data)
            left -= len(data)
    while left > 0:
        data = source.randbytes(1 << 20)[: min(left, 1 << 20)]
        context.write(f"data/filler{left}", data)
        left -= len(data)
    context.write("Dockerfile", f"FROM {base}\nCOPY data /data\n")
    return context


def small_steps(directory: Path, base: str, nonce: str, steps: int = 50) -> Context:
    """Workload (f)."""
    context = _empty(directory)
    lines = [f"FROM {base}", *(f"RUN echo {number}-{nonce} > /f{number}" for number in range(steps))]
    context.write("Dockerfile", "\n".join(lines) + "\n")
    return context


def _empty(directory: Path) -> Context:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return Context(directory)


def _same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
