"""This builder, as a daemon on another machine: over TCP, without descriptors."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from bench.tools.boat import Boat


class RemoteBoat(Boat):
    name = "boat over TCP"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._port = _free_port()

    def start(self) -> float:
        self._root.mkdir(parents=True, exist_ok=True)
        configuration = self._root / "boatd.toml"
        configuration.write_text("[tls]\nallow_unauthenticated = true\n")
        started = time.perf_counter()
        self._daemon = subprocess.Popen(
            [
                self._bin / "boatd", "--config", configuration, "--root", self._root / "data",
                "--run", self._root / "run",
                "--listen", f"unix://{self._socket}", "--listen", f"tcp://127.0.0.1:{self._port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=open(self._root / "boatd.log", "wb"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        while not self._answers():
            if self._daemon.poll() is not None:
                raise RuntimeError(f"boatd ended: {(self._root / 'boatd.log').read_text()[-2000:]}")
        return time.perf_counter() - started

    def plain_build(self, context: Path) -> tuple[list[str], Mapping[str, str]]:
        environment = {**self._environment, "BOAT_HOST": f"tcp://127.0.0.1:{self._port}", "BOAT_TLS_VERIFY": "0"}
        return [str(self._bin / "boat"), "build", "--progress", "plain", str(context)], environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
