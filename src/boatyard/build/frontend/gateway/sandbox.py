"""What of this host a frontend in Python sees: the daemon's own Python, read-only, and nothing else.

The same paths inside as outside, so that nothing has to be told where it is: the interpreter, its libraries, the
packages that it finds. No /etc, no /home, no /var; no network; no privileges.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from boatyard.errors import UnsupportedError
from boatyard.runtime.container import BindMount

LINKED = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
"""Links into /usr on most systems, directories on others."""

USER = "65534:65534"
_ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/:/usr/sbin/nologin\nfrontend:x:65534:65534:frontend:/tmp:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nfrontend:x:65534:\n",
}
# -P: the daemon's working directory is nobody's library.
_QUESTION = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, *sys.path]))"
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class PythonPlaces:
    """`paths` are bound read-only; `search` is what PYTHONPATH has to add."""

    interpreter: str
    paths: tuple[str, ...]
    search: tuple[str, ...] = ()

    def mounts(self) -> tuple[BindMount, ...]:
        return tuple(BindMount(Path(path), path, readonly=True) for path in self.paths)


def find(interpreter: str = sys.executable, environ: Mapping[str, str] = os.environ) -> PythonPlaces:
    """Asks the interpreter where its libraries are; blocks. UnsupportedError when it can't be asked, or when others
    than its owner can't read it."""
    kept = {name: value for name, value in environ.items() if name in ("PATH", "PYTHONPATH", "PYTHONHOME")}
    try:
        said = subprocess.run(
            [interpreter, "-s", "-P", "-c", _QUESTION],
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        ).stdout
        prefix, base, *search = msgspec.json.decode(said, type=list[str])
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        raise UnsupportedError(f"the daemon's own Python can't be asked where it is: {error}") from error
    there = [path for path in (base, prefix, *search) if path.startswith("/") and path != "/" and os.path.exists(path)]
    system = [path for path in ("/usr", *LINKED, "/nix/store") if os.path.isdir(path) and not os.path.islink(path)]
    paths = outermost((*system, *there))
    for path in paths:
        _check_readable(path)
    extra = environ.get("PYTHONPATH", "").split(os.pathsep)
    return PythonPlaces(interpreter, paths, tuple(path for path in map(os.path.abspath, filter(None, extra))))


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Without those that lie beneath others."""
    found: list[str] = []
    for path in sorted(set(map(os.path.normpath, paths))):
        if not any(path.startswith(other + "/") for other in found):
            found.append(path)
    return tuple(found)


def _check_readable(path: str) -> None:
    mode = os.stat(path).st_mode
    wanted = 0o005 if stat.S_ISDIR(mode) else 0o004
    if mode & wanted != wanted:
        raise UnsupportedError(
            f"frontends in Python run as nobody, who can't read {path}",
            hint=f"chmod -R o+rX {path}, or install Boatyard where everybody can read it",
        )


def furnish(root: Path) -> None:
    """What the root holds beside the mounts: the system's links, and accounts. Blocks."""
    for path in LINKED:
        if os.path.islink(path):
            (root / path[1:]).symlink_to(os.readlink(path))
    for name, text in _ACCOUNTS.items():
        (root / name).parent.mkdir(mode=0o755, exist_ok=True)
        (root / name).write_text(text)


def environment(places: PythonPlaces, more: Sequence[str]) -> tuple[str, ...]:
    return (
        "PATH=/usr/bin:/bin",
        "HOME=/tmp",
        "LANG=C.UTF-8",
        "PYTHONDONTWRITEBYTECODE=1",
        "PYTHONUNBUFFERED=1",
        *([f"PYTHONPATH={os.pathsep.join(places.search)}"] if places.search else []),
        *more,
    )
