"""Time and memory of commands and daemons."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class CommandError(Exception):
    """A measured command ended with an error: its output is in the message."""


def timed(command: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    result = subprocess.run(command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True)
    seconds = time.perf_counter() - started
    if result.returncode:
        tail = (result.stdout + result.stderr).decode("utf-8", "replace")[-3000:]
        raise CommandError(f"{' '.join(command)} exited {result.returncode}:\n{tail}")
    return seconds


def memory(pids: Sequence[int], field: str) -> float:
    """MB of `VmHWM` (the peak) or `VmRSS` (now), summed over the processes that still run."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{field}:"))
    return total / 1000


def reset_peak(pids: Sequence[int]) -> None:
    """Let VmHWM start again from now."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except FileNotFoundError:
            continue


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result. `ratio` is against `ratio_to`'s median of the same workload in the same run."""

    suite: str
    workload: str
    tool: str
    runs: int
    median_s: float
    peak_rss_mb: float
    ratio_to: str = ""
    ratio: float | None = None


def row(suite: str, workload: str, tool: str, seconds: Sequence[float], peak: float) -> Row:
    return Row(suite, workload, tool, len(seconds), statistics.median(seconds), peak)
