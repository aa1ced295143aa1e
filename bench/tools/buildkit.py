"""buildkitd and buildctl, where somebody has put them on the path; on a private root."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Buildkit:
    name = "buildkit"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._address = f"unix://{root}/buildkitd.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    @staticmethod
    def installed() -> bool:
        return shutil.which("buildkitd") is not None and shutil.which("buildctl") is not None

    def start(self) -> float:
        self._root.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        self._daemon = subprocess.Popen(
            [
                "buildkitd", "--root", str(self._root / "data"), "--addr", self._address,
                "--otel-socket-path", str(self._root / "otel.sock"), "--containerd-worker=false",
                "--oci-worker-binary=runc", "--oci-worker-net=host",
            ],
            stdin=subprocess.DEVNULL,
            stdout=open(self._root / "buildkitd.log", "wb"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        while subprocess.run(self._buildctl("debug", "info"), capture_output=True).returncode:
            if self._daemon.poll() is not None or time.perf_counter() - started > 60:
                raise RuntimeError(f"buildkitd doesn't answer: {(self._root / 'buildkitd.log').read_text()[-2000:]}")
            time.sleep(0.05)
        return time.perf_counter() - started

    def stop(self) -> None:
        if self._daemon:
            self._daemon.terminate()
            self._daemon.wait(60)

    def pids(self) -> Sequence[int]:
        return [self._daemon.pid] if self._daemon else []

    def prune(self) -> None:
        subprocess.run(self._buildctl("prune", "--all"), check=True, capture_output=True)

    def plain_build(self, context: Path) -> tuple[list[str], Mapping[str, str]]:
        local = (f"--local=context={context}", f"--local=dockerfile={context}")
        return self._buildctl("build", "--progress=plain", "--frontend=dockerfile.v0", *local), os.environ

    def _buildctl(self, *arguments: str) -> list[str]:
        return ["buildctl", "--addr", self._address, *arguments]
