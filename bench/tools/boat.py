"""This builder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.measure import timed


class Boat:
    name = "boat"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._bin = Path(sys.executable).parent
        self._socket = root / "run/boatd.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._environment = {**os.environ, "BOAT_HOST": f"unix://{self._socket}"}

    def start(self) -> float:
        (self._root / "run").mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        self._daemon = subprocess.Popen(
            [self._bin / "boatd", "--root", self._root / "data", "--run", self._root / "run"],
            stdin=subprocess.DEVNULL,
            stdout=open(self._root / "boatd.log", "wb"),
            stderr=subprocess.STDOUT,
        )
        while not self._answers():
            if self._daemon.poll() is not None:
                raise RuntimeError(f"boatd ended: {(self._root / 'boatd.log').read_text()[-2000:]}")
        return time.perf_counter() - started

    def _answers(self) -> bool:
        import socket

        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._socket))
                connection.sendall(b"GET /boat/v1/ping HTTP/1.1\r\nHost: boat\r\nConnection: close\r\n\r\n")
                return b"200" in connection.recv(1024)
            except OSError:
                time.sleep(0.005)
                return False

    def stop(self) -> None:
        if self._daemon:
            self._daemon.terminate()
            self._daemon.wait(30)

    def pids(self) -> Sequence[int]:
        return [self._daemon.pid] if self._daemon else []

    def command(self, *arguments: str) -> float:
        """`boat ARGUMENTS`; wall seconds."""
        return timed([str(self._bin / "boat"), *arguments], environment=self._environment)

    def import_base(self, tar: Path, name: str) -> None:
        self.command("image", "import", str(tar), name)

    def build(self, context: Path, tag: str) -> float:
        return self.command("build", "-q", "-t", tag, str(context))

    def export(self, context: Path, archive: Path, compression: str) -> float | None:
        output = f"type=oci,dest={archive},compression={compression},force-compression=true"
        return self.command("build", "-q", "-o", output, str(context))

    def travelling(self, context: Path, cache: str, *, export: bool, archive: Path | None = None) -> float | None:
        flags = [f"--cache-to=type=registry,ref={cache},mode=max"] if export else [f"--cache-from={cache}"]
        output = f"type=oci,dest={archive}" if archive else "type=cacheonly"
        return self.command("build", "-q", "-o", output, *flags, str(context))

    def prune(self) -> None:
        self.command("builder", "prune", "--all", "--force")
