"""buildkitd and buildctl, where somebody has put them on the path; on a private root."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure import timed


def write_layout(directory: Path, tar: Path) -> str:
    """An image of one layer as an OCI layout; its manifest's digest."""
    blobs = directory / "blobs/sha256"
    shutil.rmtree(directory, ignore_errors=True)
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        encoded = hashlib.sha256(data).hexdigest()
        (blobs / encoded).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{encoded}", "size": len(data)}

    kind = "application/vnd.oci.image"
    layer = blob(tar.read_bytes(), f"{kind}.layer.v1.tar")
    rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
    config = blob(
        json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode(),
        f"{kind}.config.v1+json",
    )
    document = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": config, "layers": [layer]}
    manifest = blob(json.dumps(document).encode(), f"{kind}.manifest.v1+json")
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return str(manifest["digest"])


class Buildkit:
    name = "buildkit"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._address = f"unix://{root}/buildkitd.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._layout = root / "layout"
        self._base = ("", "")

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

    def import_base(self, tar: Path, name: str) -> None:
        """As an OCI layout that builds name as a context: there is no image store."""
        self._layout = self._root / "layout"
        self._base = (name, write_layout(self._layout, tar))

    def build(self, context: Path, tag: str) -> float:
        return timed(self._build(context, f"--output=type=image,name={tag}"))

    def export(self, context: Path, archive: Path, compression: str) -> float | None:
        output = f"type=oci,dest={archive},compression={compression},force-compression=true"
        return timed(self._build(context, f"--output={output}"))

    def travelling(self, context: Path, cache: str, *, export: bool, archive: Path | None = None) -> float | None:
        place = f"type=registry,ref={cache}"
        flags = [f"--export-cache={place},mode=max"] if export else [f"--import-cache={place}"]
        if archive:
            flags.append(f"--output=type=oci,dest={archive}")
        return timed(self._build(context, *flags))

    def _build(self, context: Path, *flags: str) -> list[str]:
        name, digest = self._base
        return self._buildctl(
            "build", "--progress=quiet", "--frontend=dockerfile.v0", f"--local=context={context}",
            f"--local=dockerfile={context}", f"--oci-layout=base={self._layout}",
            f"--opt=context:{name.removesuffix(':latest')}=oci-layout://base@{digest}", *flags,
        )  # fmt: skip

    def prune(self) -> None:
        subprocess.run(self._buildctl("prune", "--all"), check=True, capture_output=True)

    def plain_build(self, context: Path) -> tuple[list[str], Mapping[str, str]]:
        local = (f"--local=context={context}", f"--local=dockerfile={context}")
        return self._buildctl("build", "--progress=plain", "--frontend=dockerfile.v0", *local), os.environ

    def _buildctl(self, *arguments: str) -> list[str]:
        return ["buildctl", "--addr", self._address, *arguments]
