"""Bundles run as they are, in two steps: created, and started when everything around is ready.

For those who are themselves what comes first on a machine (`logs.boot`): the container's process becomes a child of
whoever is its nearest init. Nothing is added to what the bundle's config.json says.

Specification: OCI runtime-spec, runtime.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from boatyard.errors import UnsupportedError
from boatyard.runtime import cgroups, probe
from boatyard.runtime.program import Program

_TIMEOUT = 20


@dataclass(frozen=True, slots=True)
class BundleRuntime:
    """A runtime's command lines. `state` is the directory it keeps containers in."""

    program: Program
    state: Path
    cgroups: bool = True
    """Whether it can make control groups here."""

    def create(self, id: str, bundle: Path, pid_file: Path, log: Path) -> list[str]:
        """Make the container's process, which waits. Its standard streams are those of this command."""
        return [*self._command(log), "create", "--bundle", str(bundle), "--pid-file", str(pid_file), id]

    def start(self, id: str, log: Path) -> list[str]:
        return [*self._command(log), "start", id]

    def delete(self, id: str, log: Path) -> list[str]:
        """Kill what still runs of it, and forget it."""
        return [*self._command(log), "delete", "--force", id]

    def run(self, id: str, bundle: Path, log: Path) -> list[str]:
        return [*self._command(log), "run", "--bundle", str(bundle), id]

    def _command(self, log: Path) -> list[str]:
        command = [str(self.program.path), "--root", str(self.state), "--log", str(log)]
        if self.program.kind == "runc":
            return [*command, "--log-format", "json"]
        return [*command, f"--cgroup-manager={'cgroupfs' if self.cgroups else 'disabled'}"]


def choose(state: Path, choice: str = "auto") -> BundleRuntime:
    """The first runtime that runs a trivial bundle here. UnsupportedError tells what was tried. Blocks."""
    writable = cgroups.detect().writable
    failures = []
    for program in probe.find(choice):
        runtime = BundleRuntime(program, state, writable)
        failure = _try(runtime)
        if not failure:
            return runtime
        failures.append(f"{program.path}: {failure}")
    raise UnsupportedError(
        f"no OCI runtime works here{': ' + '; '.join(failures) if failures else ' (none is installed)'}",
        hint="apt-get install crun runc",
    )


def _try(runtime: BundleRuntime) -> str:
    """Why it doesn't work; empty when it does."""
    place = Path(tempfile.mkdtemp(prefix="try-", dir=_made(runtime.state)))
    try:
        root = place / "rootfs"
        mounts = [
            {
                "destination": mount.target,
                "type": "bind",
                "source": str(mount.source),
                "options": ["rbind", "rprivate", "ro"],
            }
            for mount in probe.make_root(root)
        ]
        (root / "proc").mkdir(exist_ok=True)
        mounts.append({"destination": "/proc", "type": "proc", "source": "proc", "options": []})
        document = {
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "env": ["PATH=/bin:/usr/bin"]},
            "root": {"path": "rootfs"},
            "mounts": mounts,
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        }
        (place / "config.json").write_text(json.dumps(document))
        command = runtime.run(f"try-{os.getpid()}", place, place / "log")
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False)
        if result.returncode == 0:
            return ""
        from boatyard.runtime.failure import last_error

        said = last_error((place / "log").read_bytes() if (place / "log").exists() else b"")
        return said or result.stderr.decode(errors="replace").strip() or f"it ended with {result.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory
