"""Debian's docker-registry, on loopback: what caches travel over."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNPACKED = Path(__file__).parents[2] / ".cache/registry/usr/bin/docker-registry"


def program() -> str | None:
    return str(_UNPACKED) if _UNPACKED.exists() else shutil.which("docker-registry")


@contextmanager
def running(root: Path) -> Iterator[str]:
    """Its host and port. Empty at first."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = root / "config.yml"
    configuration.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    found = program()
    assert found is not None
    process = subprocess.Popen([found, "serve", configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None:
                raise RuntimeError("docker-registry ended at once")
            time.sleep(0.02)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root, ignore_errors=True)
