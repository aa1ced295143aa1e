"""The suite `session`: a context of 10,000 files (100 MB) that travels from a client that can't hand over descriptors.

Each builder in turn within one run: boat over TCP on the loopback, Docker over its socket, and buildkitd with buildctl
where they are on the path. `transfer` is what progress tells of the context's step, to a tenth of a second.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bench import workload
from bench.build import nonce
from bench.measure import CommandError, Row, memory, reset_peak, row
from bench.workload import Context

SUITE = "session"
_TRANSFERRED = re.compile(r"transferring context: [0-9.]+MB ([0-9.]+)s done")


class Client(Protocol):
    name: str

    def start(self) -> float: ...
    def stop(self) -> None: ...
    def pids(self) -> Sequence[int]: ...
    def prune(self) -> None: ...
    def plain_build(self, context: Path) -> tuple[list[str], Mapping[str, str]]:
        """A command that builds without storing a result where it can, shows plain progress, and its environment."""


def run(builder: Client, scratch: Path, runs: int, only: Sequence[str]) -> Iterator[Row]:
    context = workload.many_files(scratch / f"{builder.name.replace(' ', '-')}-context", "scratch")
    builder.start()
    try:
        for name, (seconds, peak) in _measured(builder, context, runs).items():
            if seconds and (not only or name[0] in only):
                yield row(SUITE, name, builder.name, seconds, peak)
    finally:
        builder.stop()


def _measured(builder: Client, context: Context, runs: int) -> dict[str, tuple[list[float], float]]:
    print(f"{builder.name}: {SUITE}", file=sys.stderr)
    cold, transfer, changed, unchanged = [], [], [], []
    reset_peak(builder.pids())
    for _ in range(runs):
        builder.prune()
        total, transferred = _build(builder, context)
        cold.append(total)
        transfer += transferred
    peak = memory(builder.pids(), "VmHWM")
    for _ in range(runs):
        workload.change_one_file(context, nonce())
        changed.append(_build(builder, context)[0])
        unchanged.append(_build(builder, context)[0])
    return {
        "g context over a session, cold": (cold, peak),
        "h its transfer": (transfer, peak),
        "i one file changed": (changed, peak),
        "j unchanged": (unchanged, peak),
    }


def _build(builder: Client, context: Context) -> tuple[float, list[float]]:
    """Seconds of the command, and of the transfer if megabytes travelled."""
    command, environment = builder.plain_build(context.directory)
    started = time.perf_counter()
    done = subprocess.run(command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise CommandError(f"{' '.join(command)} exited {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return seconds, [float(found) for found in _TRANSFERRED.findall(done.stdout + done.stderr)]
