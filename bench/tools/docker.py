"""Debian's docker.io with its BuildKit, its daemon started on a private root."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure import timed

CLIENT, DAEMON = "/usr/bin/docker", "/usr/sbin/dockerd"


class Docker:
    name = "docker"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._socket = root / "docker.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._environment = {
            **os.environ,
            "DOCKER_BUILDKIT": "1",
            "DOCKER_HOST": f"unix://{self._socket}",
            "DOCKER_CONFIG": str(root / "config"),
        }

    @staticmethod
    def installed() -> bool:
        return os.path.exists(CLIENT) and os.path.exists(DAEMON)

    def start(self) -> float:
        self._root.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        self._daemon = subprocess.Popen(
            [
                DAEMON, "--bridge=none", "--iptables=false", "--ip-forward=false", "--storage-driver=overlay2",
                f"--host=unix://{self._socket}", f"--data-root={self._root}/data", f"--exec-root={self._root}/exec",
                f"--pidfile={self._root}/docker.pid",
            ],
            stdin=subprocess.DEVNULL,
            stdout=open(self._root / "dockerd.log", "wb"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        while subprocess.run([CLIENT, "version"], env=self._environment, capture_output=True).returncode:
            if self._daemon.poll() is not None or time.perf_counter() - started > 60:
                raise RuntimeError(f"dockerd doesn't answer: {(self._root / 'dockerd.log').read_text()[-2000:]}")
            time.sleep(0.05)
        return time.perf_counter() - started

    def stop(self) -> None:
        if self._daemon:
            self._daemon.terminate()
            self._daemon.wait(60)

    def pids(self) -> Sequence[int]:
        if not self._daemon:
            return []
        children = subprocess.run(["pgrep", "-P", str(self._daemon.pid)], capture_output=True, text=True).stdout.split()
        return [self._daemon.pid, *map(int, children)]

    def _docker(self, *arguments: str) -> float:
        return timed([CLIENT, *arguments], environment=self._environment)

    def import_base(self, tar: Path, name: str) -> None:
        self._docker("import", str(tar), name)

    def build(self, context: Path, tag: str) -> float:
        return self._docker("build", "-q", "--network", "host", "-t", tag, str(context))

    def plain_build(self, context: Path) -> tuple[list[str], Mapping[str, str]]:
        return [CLIENT, "build", "--progress", "plain", str(context)], self._environment

    def export(self, context: Path, archive: Path, compression: str) -> float | None:
        return None  # BuildKit of this age can't export an OCI archive from the docker daemon

    def travelling(self, context: Path, cache: str, *, export: bool, archive: Path | None = None) -> float | None:
        return None

    def prune(self) -> None:
        self._docker("builder", "prune", "--all", "--force")
        self._docker("image", "prune", "--force")
