"""Programs of other architectures: which ones the kernel hands to an emulator (binfmt_misc), and telling it of more.

Specification: kernel docs admin-guide/binfmt-misc.rst. How programs of an architecture are recognised: the ELF header.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from boatyard.errors import ConflictError, DeniedError, NotFoundError, UnsupportedError
from boatyard.runtime import kernel

BINFMT = Path("/proc/sys/fs/binfmt_misc")
FLAGS = "OPF"
"""O: the program is handed over opened, so that one that may be run but not read works. P: with its argv[0]. F: the
emulator is opened now, so that it needn't be in containers. Not C: set-user-ID programs would give their rights to an
emulator that obeys its environment."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """QEMU's name of an architecture, and how its programs begin: ELF class (32 or 64), byte order, machine."""

    name: str
    platform: str
    bits: int
    order: str
    machine: int

    @property
    def handler(self) -> str:
        """The name that everybody registers it under."""
        return f"qemu-{self.name}"


EMULATORS: Mapping[str, Emulator] = {
    emulator.handler: emulator
    for emulator in (
        Emulator("aarch64", "linux/arm64", 64, "little", 183),
        Emulator("arm", "linux/arm/v7", 32, "little", 40),
        Emulator("i386", "linux/386", 32, "little", 3),
        Emulator("loongarch64", "linux/loong64", 64, "little", 258),
        Emulator("mips64", "linux/mips64", 64, "big", 8),
        Emulator("mips64el", "linux/mips64le", 64, "little", 8),
        Emulator("ppc64le", "linux/ppc64le", 64, "little", 21),
        Emulator("riscv64", "linux/riscv64", 64, "little", 243),
        Emulator("s390x", "linux/s390x", 64, "big", 22),
        Emulator("x86_64", "linux/amd64", 64, "little", 62),
    )
}


@dataclass(frozen=True, slots=True)
class Handler:
    """One enabled registration. Only with `fixed` does it work in a container: the kernel then opened the emulator
    beforehand, outside.
    """

    name: str
    interpreter: str
    fixed: bool

    @property
    def platform(self) -> str:
        """The platform it is for, or "" when it is no emulator of one."""
        emulator = EMULATORS.get(self.name.removesuffix("-static"))
        return emulator.platform if emulator else ""


def parse_handler(name: str, text: str) -> Handler | None:
    """From the text of a file in binfmt_misc; None when it is disabled or tells no interpreter."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "enabled":
        return None
    interpreter = flags = ""
    for line in lines[1:]:
        key, _, value = line.partition(" ")
        if key == "interpreter":
            interpreter = value.strip()
        elif key == "flags:":
            flags = value.strip()
    return Handler(name, interpreter, "F" in flags) if interpreter else None


def handlers(directory: Path = BINFMT) -> list[Handler]:
    """What is registered; [] where binfmt_misc is not mounted."""
    found = []
    try:
        for path in sorted(directory.iterdir()):
            if path.name not in ("register", "status"):
                handler = parse_handler(path.name, path.read_text())
                if handler is not None:
                    found.append(handler)
    except OSError:
        return []
    return found


def platforms(directory: Path = BINFMT) -> tuple[str, ...]:
    """Platforms whose programs run in containers here, beside the machine's own."""
    return tuple(dict.fromkeys(one.platform for one in handlers(directory) if one.platform and one.fixed))


def rule(emulator: Emulator, program: Path) -> bytes:
    """What is written to `register`. Programs are those of any system's ABI, linked statically or not."""
    code = emulator.machine.to_bytes(2, "little" if emulator.order == "little" else "big")
    kind, any_kind = (b"\x02\x00", b"\xfe\xff") if emulator.order == "little" else (b"\x00\x02", b"\xff\xfe")
    ident = b"\x7fELF" + bytes((emulator.bits // 32, 1 if emulator.order == "little" else 2, 1))
    magic = ident + bytes(9) + kind + code
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + any_kind + b"\xff\xff"
    fields = ("", emulator.handler, "M", "", _escaped(magic), _escaped(mask), str(program), FLAGS)
    return ":".join(fields).encode()


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def is_mounted(directory: Path = BINFMT) -> bool:
    try:
        return (directory / "status").exists()
    except OSError:  # an automount point that nobody answers
        return False


def provide(directory: Path = BINFMT) -> bool:
    """Mount binfmt_misc if it isn't; whether it is now. To be called in a mount namespace of one's own."""
    if is_mounted(directory):
        return True
    try:
        kernel.mount("binfmt_misc", str(directory), "binfmt_misc", kernel.MS_NOSUID | kernel.MS_NODEV)
    except OSError:  # a kernel without it, or without the right to: `boat doctor` says what that means
        return False
    return is_mounted(directory)


def register(emulator: Emulator, program: Path, directory: Path = BINFMT) -> None:
    """Let the kernel run programs of an architecture with a static emulator. One that is registered already is
    replaced. Raises DeniedError without the right to, UnsupportedError on kernels without binfmt_misc."""
    require(directory)
    try:
        for name in (emulator.handler, f"{emulator.handler}-static"):
            if (directory / name).exists():
                (directory / name).write_bytes(b"-1")
        (directory / "register").write_bytes(rule(emulator, program))
    except OSError as error:
        raise _refused(error, f"registering {emulator.handler}") from error


def unregister(emulator: Emulator, directory: Path = BINFMT) -> None:
    """NotFoundError when it isn't registered."""
    require(directory)
    paths = [directory / name for name in (emulator.handler, f"{emulator.handler}-static")]
    found = [path for path in paths if path.exists()]
    if not found:
        raise NotFoundError(f"no emulator of {emulator.platform} is registered", hint="`boat platform ls` lists them")
    try:
        for path in found:
            path.write_bytes(b"-1")
    except OSError as error:
        raise _refused(error, f"removing {emulator.handler}") from error


def require(directory: Path = BINFMT) -> None:
    """UnsupportedError where there is nothing to register at."""
    if not is_mounted(directory):
        raise UnsupportedError(
            f"binfmt_misc is not mounted at {directory} and can't be",
            hint="the kernel needs CONFIG_BINFMT_MISC (modprobe binfmt_misc), the daemon root's rights",
        )


def _refused(error: OSError, what: str) -> DeniedError | ConflictError:
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        return DeniedError(
            f"{what} is for root: {error.strerror}",
            hint="run boatd as root (when in a container, a privileged one), or let root install qemu-user-static",
        )
    return ConflictError(f"{what} failed: {error.strerror}", hint="does another emulator with that name exist?")
