"""A static busybox image: one binary and its names, from the Debian package busybox-static."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from boatyard.errors import UnavailableError
from boatyard.image.bootstrap import debian
from boatyard.image.bootstrap.files import LayerFiles
from boatyard.image.bootstrap.program import run_program
from boatyard.image.interruption import run_settled
from boatyard.image.platform import Platform, host_platform
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.spec import RunConfig

PACKAGE = "busybox-static"
CONFIG = RunConfig(env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",), cmd=("sh",))

_PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_DIRECTORIES = (
    ("etc", 0o755), ("home", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr", 0o755), ("usr/sbin", 0o755),
    ("usr/bin", 0o755), ("var", 0o755), ("var/tmp", 0o1777), ("var/www", 0o755),
)  # fmt: skip
_GROUP = b"root:x:0:\ndaemon:x:1:\nwww-data:x:33:\ntty:x:5:\nnogroup:x:65534:\n"


async def make(platform: Platform, files: LayerFiles, epoch: int | None, log: Callable[[bytes], None]) -> RunConfig:
    """Fill a layer. The host's own static busybox is taken where it has one, else the package is downloaded."""
    own = Path("/bin/busybox")
    directory = Path(await run_settled(tempfile.mkdtemp, prefix="boat-bootstrap-"))
    try:
        binary = own if is_static(own) else await _downloaded(directory, log)
        # Its list of applets is that of the same package for other architectures, whose programs may not run here.
        if platform == host_platform():
            await run_settled(_fill, binary, files, binary)
        else:
            await run_settled(_fill, binary, files, await _foreign(platform, directory, log))
    finally:
        await run_settled(remove_tree, str(directory))
    return CONFIG


def _fill(lister: Path, files: LayerFiles, binary: Path) -> None:
    data = binary.read_bytes()
    applets = subprocess.run([lister, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files.directory("bin")
    files.write("bin/busybox", data, 0o755)
    for applet in sorted(set(applets) - {"busybox"}):
        files.symlink(f"bin/{applet}", "busybox")
    for name, mode in _DIRECTORIES:
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


async def _downloaded(directory: Path, log: Callable[[bytes], None]) -> Path:
    log(f"downloading the Debian package {PACKAGE}\n".encode())
    await _run(directory, log, "apt-get", "-q", "download", PACKAGE)
    packages = list(directory.glob("*.deb"))
    if len(packages) != 1:
        raise UnavailableError(f"apt-get downloaded no {PACKAGE}", hint=f"apt-get install {PACKAGE}")
    await _run(directory, log, "dpkg-deb", "-x", packages[0], directory / "root")
    return _program(directory / "root")


def _program(root: Path) -> Path:
    for candidate in ("bin/busybox", "usr/bin/busybox"):
        if is_static(root / candidate):
            return root / candidate
    raise UnavailableError(f"the package {PACKAGE} holds no static busybox")


async def _foreign(platform: Platform, directory: Path, log: Callable[[bytes], None]) -> Path:
    log(f"downloading the Debian package {PACKAGE} for {platform}\n".encode())
    directory.chmod(0o755)  # apt downloads as a user of its own
    directory = directory / "foreign"
    directory.mkdir()
    await debian.unpack_package(PACKAGE, platform, directory, log)
    return _program(directory / "root")


async def _run(directory: Path, log: Callable[[bytes], None], *command: str | Path) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        code, said = await run_program(command, environment=environment, directory=directory, log=log)
    except FileNotFoundError as error:
        raise UnavailableError(
            f"can't download {PACKAGE}: there is no {command[0]} on this host",
            hint="put a static busybox at /bin/busybox",
        ) from error
    if code:
        raise UnavailableError(
            f"can't download {PACKAGE}: {said.strip() or code}",
            hint=f"apt-get update, then apt-get install {PACKAGE}",
        )
