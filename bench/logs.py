"""The suite `logs`: memlogd's throughput, latency, memory and start, and logwrite's way into files.

The sender and the followers are the harness's own, the same for every memlogd: LinuxKit's (`--memlogd PATH`) can be
measured in the same run. Senders hand over a pipe and write 64 lines a write call. CPU is the daemon's alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from bench.measure import memory

TOGETHER = 64
QUIET = 1.0
"""Seconds without a byte after which a follower has everything."""
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of the result; what a workload doesn't measure is None."""

    workload: str
    tool: str
    lines_a_second: float | None = None
    cpu_us_a_line: float | None = None
    arrived: float | None = None
    """Of the lines that were written, the part that a follower (or the files) got."""
    p50_us: float | None = None
    p99_us: float | None = None
    memory_mb: float | None = None
    seconds: float | None = None


class Memlogd:
    """One memlogd with sockets of its own. Use it as a context."""

    def __init__(self, program: Path, directory: Path, *flags: str) -> None:
        self.log, self.query = str(directory / "l.sock"), str(directory / "q.sock")
        for path in (self.log, self.query):
            Path(path).unlink(missing_ok=True)
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [program, "-socket-log", self.log, "-socket-query", self.query, *flags], stdout=subprocess.DEVNULL
        )
        while not self._answers():
            time.sleep(0.0005)
        self.start = time.perf_counter() - started

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(self.query)
            except OSError:
                return False
        return True

    def __enter__(self) -> Memlogd:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def cpu(self) -> float:
        return cpu(self.process.pid)

    def memory(self, field: str = "VmHWM") -> float:
        return memory([self.process.pid], field)


def cpu(pid: int) -> float:
    """Seconds of user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(scratch: Path, programs: dict[str, Path], only: Sequence[str]) -> Iterator[LogRow]:
    for tool, program in programs.items():
        for name, measure in _workloads(program, scratch):
            if only and name[0] not in only:
                continue
            print(f"{tool}: {name}", file=sys.stderr)
            for figures in measure(tool == "boat"):
                yield LogRow(f"{name}{figures.pop('of', '')}", tool, **figures)


def _workloads(program: Path, scratch: Path) -> Iterator[tuple[str, Callable[[bool], list[dict[str, Any]]]]]:
    def flow(**settings: Any) -> Callable[[bool], list[dict[str, Any]]]:
        return lambda _: [_flow(program, scratch, **settings)]

    yield "a start to accepting", lambda _: [_start(program, scratch)]
    yield "b 100 B, 1 writer", flow(lines=1 << 20)
    yield "b 100 B, 8 writers", flow(lines=1 << 20, writers=8)
    yield "b 1000 B, 8 writers", flow(lines=1 << 19, writers=8, size=1000)
    yield "c 100 B, 1 writer, 1 follower", flow(lines=1 << 19, followers=1)
    yield "c 100 B, 8 writers, 1 follower", flow(lines=1 << 19, writers=8, followers=1)
    yield "d 300,000 lines/s, 1 writer, 1 follower", flow(lines=900_000, followers=1, rate=300_000)
    yield "d 300,000 lines/s, 8 writers, 1 follower", flow(lines=900_000, writers=8, followers=1, rate=300_000)
    yield "e write to follower", lambda _: [_latency(program, scratch)]
    yield "f memory, ring of 5,000 lines of", lambda _: [_ring(program, scratch, size) for size in (100, 1000)]
    yield "f memory, 1,000 idle sources", lambda _: [_idle(program, scratch)]
    yield (
        "g into files, 1,000,000 lines/s, writers: ",
        lambda ours: [_files(program, scratch, writers) for writers in (1, 8) if ours],
    )


def _start(program: Path, scratch: Path) -> dict[str, Any]:
    seconds = []
    for _ in range(15):
        with Memlogd(program, scratch) as memlogd:
            seconds.append(memlogd.start)
            resident = memlogd.memory("VmRSS")
    return {"seconds": sorted(seconds)[len(seconds) // 2], "memory_mb": resident}


def _flow(
    program: Path,
    scratch: Path,
    *,
    lines: int,
    writers: int = 1,
    followers: int = 0,
    size: int = 100,
    rate: float = 0,
    reader: Callable[[str, Any], None] | None = None,
) -> dict[str, Any]:
    with Memlogd(program, scratch) as memlogd:
        begin, ends, received = multiprocessing.Event(), multiprocessing.Queue(), multiprocessing.Queue()
        readers = [
            multiprocessing.Process(target=reader or _follow, args=(memlogd.query, received)) for _ in range(followers)
        ]
        for process in readers:
            process.start()
        each = lines // writers // TOGETHER
        senders = [
            multiprocessing.Process(
                target=_send, args=(memlogd.log, f"w{number}", each, size, rate / writers, begin, ends)
            )
            for number in range(writers)
        ]
        for process in senders:
            process.start()
        time.sleep(0.5)  # for all of them to be there
        before = memlogd.cpu()
        begin.set()
        times = [ends.get() for _ in senders]
        got = [received.get() for _ in readers]
        count = each * TOGETHER * writers
        used = memlogd.cpu() - before
        for process in (*senders, *readers):
            process.join()
        elapsed = max(end for _, end in times) - min(start for start, _ in times)
        return {
            "lines_a_second": count / elapsed,
            "cpu_us_a_line": used / count * 1e6,
            "arrived": min(got) / count if got else None,
            "memory_mb": memlogd.memory(),
        }


def _send(path: str, name: str, blocks: int, size: int, rate: float, begin: Event, ends: Any) -> None:
    writable = _hand_over(path, name)
    block = (b"x" * (size - 1) + b"\n") * TOGETHER
    begin.wait()
    started = time.perf_counter()
    for number in range(1, blocks + 1):
        os.write(writable, block)
        if rate and (ahead := started + number * TOGETHER / rate - time.perf_counter()) > 0.0005:
            time.sleep(ahead)
    ends.put((started, time.perf_counter()))
    os.close(writable)


def _follow(path: str, received: Any) -> None:
    """Counts lines, until nothing came for a while. LinuxKit's protocol."""
    count = 0
    with _query(path, b"\1") as sock:
        buffer = bytearray(1 << 18)
        while True:
            # At the beginning, the writers are still to come.
            sock.settimeout(QUIET if count else 10 * QUIET)
            try:
                taken = sock.recv_into(buffer)
            except TimeoutError:
                break
            count += buffer.count(b"\n", 0, taken)
    received.put(count)


def _latency(program: Path, scratch: Path, samples: int = 3000) -> dict[str, Any]:
    """A line now and then, each with the moment it was written."""
    with Memlogd(program, scratch) as memlogd, _query(memlogd.query, b"\1") as sock:
        writable = _hand_over(memlogd.log, "late")
        writer = multiprocessing.Process(target=_write_moments, args=(writable, samples))
        sock.settimeout(10)
        microseconds = []
        writer.start()
        rest = b""
        while len(microseconds) < samples:
            data = sock.recv(1 << 16)
            now = time.perf_counter_ns()
            *lines, rest = (rest + data).split(b"\n")
            microseconds += [(now - int(json.loads(line)["msg"])) / 1000 for line in lines]
        writer.join()
        os.close(writable)
        microseconds.sort()
        return {"p50_us": microseconds[samples // 2], "p99_us": microseconds[samples * 99 // 100]}


def _write_moments(writable: int, samples: int) -> None:
    for _ in range(samples):
        time.sleep(0.001)
        os.write(writable, b"%d\n" % time.perf_counter_ns())


def _ring(program: Path, scratch: Path, size: int) -> dict[str, Any]:
    with Memlogd(program, scratch) as memlogd:
        writable = _hand_over(memlogd.log, "full")
        for _ in range(20_000 // TOGETHER):
            os.write(writable, (b"x" * (size - 1) + b"\n") * TOGETHER)
        os.close(writable)
        _dump(memlogd)
        return {"of": f" {size} B", "memory_mb": memlogd.memory("VmRSS")}


def _idle(program: Path, scratch: Path, count: int = 1000) -> dict[str, Any]:
    with Memlogd(program, scratch) as memlogd:
        writable = [_hand_over(memlogd.log, f"idle{number}") for number in range(count)]
        _dump(memlogd)
        resident = memlogd.memory("VmRSS")
        for descriptor in writable:
            os.close(descriptor)
        return {"memory_mb": resident}


def _files(program: Path, scratch: Path, writers: int, lines: int = 3_000_000) -> dict[str, Any]:
    """With our logwrite behind it: what arrives in the files, and what that costs logwrite."""
    directory = scratch / "log"
    shutil.rmtree(directory, ignore_errors=True)

    def logwrite(query: str, received: Any) -> None:
        flags = ["-socket", query, "-log-dir", str(directory), "-max-log-size", str(1 << 30)]
        process = subprocess.Popen([BIN / "logwrite", *flags], stderr=subprocess.DEVNULL)
        size, quiet = -1, time.monotonic()
        while not size or time.monotonic() - quiet < 3 * QUIET:
            time.sleep(0.1)
            now = sum(path.stat().st_size for path in directory.glob("w*.log"))
            if now != size:
                size, quiet = now, time.monotonic()
        received.put(
            sum(line.split(b" ", 2)[1] != b"logwrite" for path in directory.glob("w*.log") for line in open(path, "rb"))
        )
        process.terminate()
        process.wait()

    figures = _flow(program, scratch, lines=lines, writers=writers, followers=1, rate=1_000_000, reader=logwrite)
    shutil.rmtree(directory, ignore_errors=True)
    return {"of": str(writers), **figures}


def _dump(memlogd: Memlogd) -> int:
    """Everything memlogd has; by then it has read what was written before."""
    count = 0
    with _query(memlogd.query, b"\0") as sock:
        while data := sock.recv(1 << 18):
            count += data.count(b"\n")
    return count


def _query(path: str, mode: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.sendall(mode)
    return sock


def _hand_over(path: str, name: str) -> int:
    """The writable end of a pipe that memlogd has."""
    readable, writable = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(path)
        socket.send_fds(sock, [name.encode()], [readable])
    os.close(readable)
    return writable


def table(rows: Sequence[LogRow]) -> str:
    head = ("workload", "memlogd", "lines/s", "us/line", "arrived", "p50 us", "p99 us", "MB", "ms")
    lines = [head]
    for row in rows:
        lines.append(
            (
                row.workload,
                row.tool,
                _shown(row.lines_a_second, "{:,.0f}"),
                _shown(row.cpu_us_a_line, "{:.2f}"),
                _shown(row.arrived, "{:.1%}"),
                _shown(row.p50_us, "{:.0f}"),
                _shown(row.p99_us, "{:.0f}"),
                _shown(row.memory_mb, "{:.1f}"),
                _shown(None if row.seconds is None else row.seconds * 1000, "{:.1f}"),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def write_json(rows: Sequence[LogRow], path: Path) -> None:
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
