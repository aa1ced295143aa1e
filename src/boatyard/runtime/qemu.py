"""The emulators' programs: those that are installed, and Debian's package of them, unpacked.

A program counts only when it is static: it runs in root file systems that have none of its libraries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from boatyard.errors import NotFoundError, UnavailableError
from boatyard.runtime.emulation import Emulator
from boatyard.runtime.init import is_static

PACKAGE = "qemu-user-static"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FETCH_SECONDS = 900


def find(emulator: Emulator, kept: Path, path: str = PATH) -> Path | None:
    """A static program for it: installed, or unpacked in `kept` earlier."""
    names = (f"qemu-{emulator.name}-static", f"qemu-{emulator.name}")
    places = [Path(place) for place in path.split(":")] + [kept]
    for name in names:
        for place in places:
            program = place / name
            if os.access(program, os.X_OK) and program.is_file() and is_static(program):
                return program.resolve()
    return None


def fetch(emulators: tuple[Emulator, ...], kept: Path, environment: Mapping[str, str]) -> None:
    """Unpack these programs of Debian's package into `kept`; nothing is installed. Takes 60 MB of download. Blocks.

    Raises NotFoundError on hosts without apt, UnavailableError when its archive can't be reached.
    """
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise NotFoundError(
            f"no static QEMU is installed for {', '.join(one.platform for one in emulators)}",
            hint="install your distribution's package of it (qemu-user-static)",
        )
    with tempfile.TemporaryDirectory(prefix="boat-qemu-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # apt downloads as a user of its own
        _run(["apt-get", "download", "-qq", PACKAGE], directory, environment)
        package = next(directory.glob("*.deb"), None)
        if package is None:
            raise UnavailableError(f"apt-get gave no {PACKAGE}", hint="can this host's apt reach its archive?")
        _run(["dpkg-deb", "--extract", package.name, "files"], directory, environment)
        kept.mkdir(parents=True, exist_ok=True)
        for emulator in emulators:
            program = directory / f"files/usr/bin/qemu-{emulator.name}-static"
            if not program.exists():
                raise NotFoundError(
                    f"this release's {PACKAGE} has no emulator of {emulator.platform}",
                    hint=f"put a static qemu-{emulator.name} into /usr/local/bin",
                )
            draft = kept / f".{program.name}.new"
            shutil.copy(program, draft)
            draft.replace(kept / program.name)


def _run(command: list[str], directory: Path, environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**environment, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} didn't end within {FETCH_SECONDS} s") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UnavailableError(
            f"{' '.join(command[:2])} failed: {' '.join(said[-3:])}",
            hint=f"apt-get update; apt-get install {PACKAGE}",
        )
