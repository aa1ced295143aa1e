"""Docker's API of a yard as raw HTTP, and the docker commands of this machine pointed at it."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from e2e.yard import BoatError, Yard

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".cache/docker/usr/bin/docker"
"""Where ./dev puts the command of Debian's package."""


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines() if line]

    @property
    def text(self) -> str:
        """What a build said."""
        return "".join(line.get("stream", "") for line in self.lines)


def ask(
    yard: Yard,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    **query: Any,
) -> Answer:
    """One request and its whole answer. `query`: lists repeat."""
    connection = Connection(yard.socket)
    target = path + (f"?{urlencode(query, doseq=True)}" if query else "")
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def tar_of(files: Mapping[str, str | bytes]) -> bytes:
    """A context. A name that ends with a slash is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            data = content.encode() if isinstance(content, str) else content
            entry.mode, entry.size = 0o644, len(data)
            if name.endswith("/"):
                entry.type, entry.mode, entry.size = tarfile.DIRTYPE, 0o755, 0
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def build(yard: Yard, files: Mapping[str, str | bytes] | bytes, **query: Any) -> Answer:
    """`POST /build`. A lone Dockerfile may be written as {"Dockerfile": ...}."""
    archive = files if isinstance(files, bytes) else tar_of(files)
    return ask(yard, "POST", "/build", archive, headers={"Content-Type": "application/x-tar"}, **query)


@dataclass
class Docker:
    """A docker command. `version` as it says itself."""

    program: str
    version: str
    yard: Yard
    config: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self, *arguments: str | Path, check: bool = True, input: bytes | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            env=self.variables(),
            cwd=cwd,
            timeout=120,
        )
        result = subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
        if check and result.returncode:
            what = f"docker {' '.join(map(str, arguments))} exited {result.returncode}"
            raise BoatError(f"{what}:\n{result.stdout}{result.stderr}\n{self.yard.log[-3000:]}")
        return result

    def variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "DOCKER_HOST": f"unix://{self.yard.socket}",
            "DOCKER_CONFIG": str(self.config),
            "DOCKER_BUILDKIT": "0",
            **self.environment,
        }


def buildx_plugin() -> Path | None:
    """Where the docker command would find it."""
    own = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    system = (f"/usr/{directory}/docker" for directory in ("local/lib", "local/libexec", "lib", "libexec"))
    return next((path for root in (own, *system) if (path := Path(root, "cli-plugins/docker-buildx")).exists()), None)


def with_buildx(config: Path, plugin: Path) -> None:
    """Let a docker command whose configuration is in `config` find the plugin."""
    plugins = config / "cli-plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / plugin.name).symlink_to(plugin)


def docker_programs() -> dict[str, str]:
    """By major version: the docker commands of this machine."""
    found: dict[str, str] = {}
    directories = [Path(directory) for directory in os.environ["PATH"].split(os.pathsep)]
    for program in (UNPACKED, *(directory / "docker" for directory in directories)):
        if shutil.which(program):
            said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
            if said.startswith("Docker version "):
                found.setdefault(said.split()[2].partition(".")[0], str(program))
    return found
