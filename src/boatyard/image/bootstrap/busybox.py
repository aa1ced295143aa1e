"""A static busybox image: one binary and its names, from the Debian package busybox-static."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from boatyard.errors import UnavailableError, UnsupportedError
from boatyard.image.bootstrap.files import LayerFiles
from boatyard.image.platform import Platform, host_platform
from boatyard.image.spec import RunConfig

PACKAGE = "busybox-static"
CONFIG = RunConfig(env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",), cmd=("sh",))

_PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = b"root:x:0:\ndaemon:x:1:\nwww-data:x:33:\ntty:x:5:\nnogroup:x:65534:\n"


async def make(platform: Platform, files: LayerFiles, epoch: int | None, log: Callable[[bytes], None]) -> RunConfig:
    """Fill a layer. The host's own static busybox is taken where it has one, else the package is downloaded."""
    if platform != host_platform():
        raise UnsupportedError(f"a busybox image for {platform} is not supported yet", hint="leave --arch out")
    await asyncio.to_thread(_make, files, log)
    return CONFIG


def _make(files: LayerFiles, log: Callable[[bytes], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="boat-bootstrap-") as directory:
        binary = Path("/bin/busybox")
        if not is_static(binary):
            binary = _downloaded(Path(directory), log)
        data = binary.read_bytes()
        applets = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files.directory("bin")
    files.write("bin/busybox", data, 0o755)
    for applet in sorted(set(applets) - {"busybox"}):
        files.symlink(f"bin/{applet}", "busybox")
    for name, mode in (
        ("etc", 0o755),
        ("home", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("var", 0o755),
    ):
        files.directory(name, mode)
    for name, mode in (("usr/sbin", 0o755), ("usr/bin", 0o755), ("var/tmp", 0o1777), ("var/www", 0o755)):
        files.directory(name, mode)
    files.symlink("usr/bin/env", "../../bin/busybox")
    files.write("etc/passwd", _PASSWD, 0o644)
    files.write("etc/group", _GROUP, 0o644)
    files.write("etc/shadow", b"root:*:::::::\n", 0o600)


def is_static(path: Path) -> bool:
    """Whether a file is an ELF executable that asks for no interpreter."""
    try:
        header = path.read_bytes()[:4096]
    except OSError:
        return False
    if header[:4] != b"\x7fELF":
        return False
    wide = header[4] == 2
    order = "little" if header[5] == 1 else "big"

    def number(offset: int, size: int) -> int:
        return int.from_bytes(header[offset : offset + size], order)  # type: ignore[arg-type]

    table, size, count = (
        (number(32, 8), number(54, 2), number(56, 2)) if wide else (number(28, 4), number(42, 2), number(44, 2))
    )
    interpreter = 3  # PT_INTERP
    return all(number(table + index * size, 4) != interpreter for index in range(count))


def _downloaded(directory: Path, log: Callable[[bytes], None]) -> Path:
    log(f"downloading the Debian package {PACKAGE}\n".encode())
    try:
        subprocess.run(["apt-get", "-q", "download", PACKAGE], cwd=directory, capture_output=True, check=True)
        (package,) = directory.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, directory / "root"], capture_output=True, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError, ValueError) as error:
        reason = (
            error.stderr.decode("utf-8", "replace").strip()
            if isinstance(error, subprocess.CalledProcessError)
            else error
        )
        raise UnavailableError(
            f"can't download {PACKAGE}: {reason}", hint=f"apt-get update, then apt-get install {PACKAGE}"
        ) from error
    for candidate in ("bin/busybox", "usr/bin/busybox"):
        if os.path.exists(directory / "root" / candidate):
            return directory / "root" / candidate
    raise UnavailableError(f"the package {PACKAGE} holds no busybox")
