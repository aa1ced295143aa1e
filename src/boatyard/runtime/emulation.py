"""Programs of other architectures: which ones the kernel hands to an emulator (binfmt_misc).

Specification: kernel docs admin-guide/binfmt-misc.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")

# As the emulators name them, to the OCI's platform.
PLATFORMS = {
    "qemu-aarch64": "linux/arm64",
    "qemu-arm": "linux/arm/v7",
    "qemu-i386": "linux/386",
    "qemu-loongarch64": "linux/loong64",
    "qemu-mips64": "linux/mips64",
    "qemu-mips64el": "linux/mips64le",
    "qemu-ppc64le": "linux/ppc64le",
    "qemu-riscv64": "linux/riscv64",
    "qemu-s390x": "linux/s390x",
    "qemu-x86_64": "linux/amd64",
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
        return PLATFORMS.get(self.name.removesuffix("-static"), "")


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
