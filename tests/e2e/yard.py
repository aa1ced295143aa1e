"""A daemon of the tests' own, and the `boat` command pointed at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent


class BoatError(AssertionError):
    """A command ended otherwise than the test expects: what it printed is in the message."""


@dataclass
class Yard:
    """`root` holds everything of one daemon. Not started until `start`."""

    root: Path
    flags: Sequence[str] = ()
    daemon: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return self.root / "run/boatd.sock"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> str:
        path = self.root / "boatd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        (self.root / "run").mkdir(parents=True, exist_ok=True)
        with open(self.root / "boatd.log", "ab") as log:
            self.daemon = subprocess.Popen(
                [BIN / "boatd", "--root", self.data, "--run", self.root / "run", *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_until_ready()

    def wait_until_ready(self, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while self.run("version", check=False).returncode:
            if self.daemon is None or self.daemon.poll() is not None or time.monotonic() > deadline:
                raise BoatError(f"boatd doesn't answer:\n{self.log[-4000:]}")

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def stop(self) -> int:
        assert self.daemon is not None
        self.daemon.terminate()
        return self.daemon.wait(30)

    def command(self, *arguments: str | Path) -> list[str]:
        return [str(BIN / "boat"), *map(str, arguments)]

    def variables(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            **os.environ,
            "BOAT_HOST": f"unix://{self.socket}",
            "NO_COLOR": "1",
            **self.environment,
            **(environment or {}),
        }

    def run(
        self,
        *arguments: str | Path,
        check: bool = True,
        input: bytes | None = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 240,
    ) -> subprocess.CompletedProcess[str]:
        """`boat ARGUMENTS`; its output as text. Fails the test when `check` and it fails."""
        result = subprocess.run(
            self.command(*arguments),
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            env=self.variables(environment),
            cwd=cwd,
            timeout=timeout,
        )
        done = subprocess.CompletedProcess(
            result.args,
            result.returncode,
            result.stdout.decode(errors="replace"),
            result.stderr.decode(errors="replace"),
        )
        if check and done.returncode:
            what = f"boat {' '.join(map(str, arguments))} exited {done.returncode}"
            raise BoatError(f"{what}:\n{done.stdout}{done.stderr}\n{self.log[-3000:]}")
        return done

    def fails(self, *arguments: str | Path, **options: object) -> str:
        """A command that must fail, with a message; what it said on standard error."""
        result = self.run(*arguments, check=False, **options)  # type: ignore[arg-type]
        if result.returncode == 0:
            raise BoatError(f"boat {' '.join(map(str, arguments))} should have failed:\n{result.stdout}{result.stderr}")
        assert "Traceback" not in result.stderr
        return result.stderr


def write(directory: Path, **files: str | bytes) -> Path:
    """A context: `Dockerfile="..."`; other names with a double underscore for a dot, or through `write_files`."""
    return write_files(directory, {name.replace("__", "."): text for name, text in files.items()})


def write_files(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return directory
