"""Mounting and unmounting overlay file systems, by system calls.

The new mount API (Linux 6.7: `fsopen`, `lowerdir+`) takes one layer a call, so the 4096-byte limit of mount(2)'s option
string doesn't exist. On older kernels mount(2) is used with names relative to a working directory that belongs to one
short-lived thread. ctypes releases the GIL during each call.

Knows paths and options; nothing of snapshots.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boatyard.errors import BoatyardError, DeniedError, NotFoundError, UnsupportedError
from boatyard.image.snapshot.disk import storage_error

log = logging.getLogger(__name__)

MAX_LAYERS = 500
"""The kernel's OVL_MAX_STACK."""

_LEGACY_OPTIONS = 4095
_INLINE_PATH = 255
"""fsconfig(2) copies at most 256 bytes of a string value, the NUL included."""

# System calls since Linux 5.2 have the same number on every architecture but alpha.
_SYS_MOVE_MOUNT, _SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 429, 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _MOVE_MOUNT_F_EMPTY_PATH = 1, 1, 4
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_ATTR_RDONLY, _ATTR_NOATIME = 0x1, 0x10
_MS_RDONLY, _MS_NOATIME = 1, 1024
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_CLONE_FS = 0x200
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_long = ctypes.c_long


@dataclass(frozen=True, slots=True)
class Overlay:
    """`lowers` highest first. Without `upper` it is read-only; then at least two lowers are needed. `user_xattrs` keeps
    the overlay's marks in `user.overlay.*`, as a user namespace needs."""

    lowers: Sequence[bytes]
    upper: bytes | None = None
    work: bytes | None = None
    user_xattrs: bool = False


def mount_overlay(overlay: Overlay, target: bytes) -> None:
    """Raises UnsupportedError, DeniedError or StorageError."""
    try:
        if _new_api():
            _mount_new(overlay, target)
        else:
            _mount_legacy(overlay, target)
    except OSError as error:
        raise mount_error(error) from error


def layers_limit(names: int) -> int:
    """How many layers with paths of `names` bytes (relative to what they have in common) can be stacked on this
    kernel."""
    if _new_api():
        return MAX_LAYERS
    return min(MAX_LAYERS, (_LEGACY_OPTIONS - 512) // (names + 1))


def unmount(target: bytes, patience: float = 0.05) -> bool:
    """False when something still used it after `patience` seconds: it is then detached, and goes when its last user
    goes."""
    deadline = time.monotonic() + patience
    delay = 0.0005
    while True:
        if _libc.umount2(target, _UMOUNT_NOFOLLOW) == 0:
            return True
        number = ctypes.get_errno()
        if number == errno.EINVAL:  # not a mount point: somebody was faster
            return True
        if number != errno.EBUSY:
            raise mount_error(OSError(number, os.strerror(number), os.fsdecode(target)))
        if time.monotonic() >= deadline:
            break
        time.sleep(delay)
        delay *= 2
    log.warning("%s is still in use; detached", os.fsdecode(target))
    if _libc.umount2(target, _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0 and ctypes.get_errno() != errno.EINVAL:
        raise mount_error(OSError(ctypes.get_errno(), "umount2", os.fsdecode(target)))
    return False


def mount_points_below(directory: Path) -> list[Path]:
    """Every mount point under `directory` in this mount namespace, the latest first."""
    prefix = os.path.realpath(directory) + "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        points = [_unescaped(line.split(" ", 5)[4]) for line in lines]
    return [Path(point) for point in reversed(points) if point.startswith(prefix)]


def _unescaped(text: str) -> str:
    for code in ("040", "011", "012", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text


def _call(number: int, *arguments: object) -> int:
    result = int(_syscall(_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


_probed: bool | None = None


def _new_api() -> bool:
    """Whether the kernel has `lowerdir+`, asked once per process."""
    global _probed  # noqa: PLW0603 - a property of the running kernel
    if _probed is None:
        try:
            context = _call(_SYS_FSOPEN, b"overlay", _FSOPEN_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
            _probed = False
            return _probed
        try:
            _call(_SYS_FSCONFIG, context, _SET_STRING, b"lowerdir+", b"/", 0)
            _probed = True
        except OSError:
            _probed = False
        finally:
            os.close(context)
    return _probed


def _mount_new(overlay: Overlay, target: bytes) -> None:
    context = _call(_SYS_FSOPEN, b"overlay", _FSOPEN_CLOEXEC)
    held: list[int] = []
    try:

        def path(key: bytes, value: bytes) -> None:
            if len(value) > _INLINE_PATH or b"\\" in value:
                held.append(os.open(value, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                value = b"/proc/self/fd/%d" % held[-1]
            _call(_SYS_FSCONFIG, context, _SET_STRING, key, value, 0)

        for lower in overlay.lowers:
            path(b"lowerdir+", lower)
        if overlay.upper is not None and overlay.work is not None:
            path(b"upperdir", overlay.upper)
            path(b"workdir", overlay.work)
            _call(_SYS_FSCONFIG, context, _SET_FLAG, b"volatile", None, 0)
        for key, value in _features(overlay):
            if value:
                _call(_SYS_FSCONFIG, context, _SET_STRING, key, value, 0)
            else:
                _call(_SYS_FSCONFIG, context, _SET_FLAG, key, None, 0)
        _call(_SYS_FSCONFIG, context, _CMD_CREATE, None, None, 0)
        attributes = _ATTR_NOATIME if overlay.upper is not None else _ATTR_NOATIME | _ATTR_RDONLY
        mount = _call(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
        held.append(mount)
        _call(_SYS_MOVE_MOUNT, mount, b"", _AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH)
    except OSError as error:
        raise OSError(error.errno, _complaint(context) or error.strerror) from error
    finally:
        for descriptor in held:
            os.close(descriptor)
        os.close(context)


def _features(overlay: Overlay) -> list[tuple[bytes, bytes]]:
    """Everything that would make an upper directory more than a plain layer diff is switched off."""
    if overlay.user_xattrs:  # implies no metacopy and no redirects, and refuses the words
        return [(b"index", b"off"), (b"userxattr", b"")]
    return [(b"index", b"off"), (b"metacopy", b"off"), (b"redirect_dir", b"off")]


def _complaint(context: int) -> str:
    """What the kernel said about the attempt, from the log of the fsopen descriptor."""
    lines = []
    while True:
        try:
            lines.append(os.read(context, 1024).decode(errors="replace").strip())
        except OSError:
            break
    return "; ".join(line[2:] if line[1:2] == " " else line for line in lines)


def _mount_legacy(overlay: Overlay, target: bytes) -> None:
    base = os.path.commonpath([*overlay.lowers, *([overlay.upper] if overlay.upper else [])])

    def relative(path: bytes) -> bytes:
        name = os.path.relpath(path, base)
        return name.replace(b"\\", b"\\\\").replace(b":", b"\\:").replace(b",", b"\\,")

    options = [b"lowerdir=" + b":".join(map(relative, overlay.lowers))]
    flags = _MS_NOATIME
    if overlay.upper is not None and overlay.work is not None:
        options += [b"upperdir=" + relative(overlay.upper), b"workdir=" + relative(overlay.work), b"volatile"]
    else:
        flags |= _MS_RDONLY
    options += [key + b"=" + value if value else key for key, value in _features(overlay)]
    failure: list[OSError] = []
    target = os.path.abspath(target)

    def attempt() -> None:
        # The working directory is the process's: this thread gets its own first.
        if _libc.unshare(_CLONE_FS) != 0:
            failure.append(OSError(ctypes.get_errno(), "unshare(CLONE_FS)"))
            return
        try:
            os.chdir(base)
        except OSError as error:
            failure.append(error)
            return
        for chosen in (options, [option for option in options if option != b"volatile"]):
            if _libc.mount(b"overlay", target, b"overlay", flags, b",".join(chosen)) == 0:
                return
            number = ctypes.get_errno()
            if number != errno.EINVAL or b"volatile" not in chosen:
                failure.append(OSError(number, os.strerror(number)))
                return

    thread = threading.Thread(target=attempt, name="overlay-mount")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def mount_error(error: OSError) -> BoatyardError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return DeniedError(
            f"the kernel doesn't let this process mount an overlay: {error.strerror}",
            hint="run the daemon as root, or in a user namespace of a kernel that allows it (5.11)",
        )
    if error.errno in (errno.ENODEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return UnsupportedError(
            f"an overlay can't be mounted here: {error.strerror}",
            hint="the daemon's directory must be on ext4, xfs, btrfs or tmpfs, not on another overlay",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        where = f" {os.fsdecode(error.filename)}" if error.filename else ""
        return NotFoundError(
            f"an overlay can't be mounted: the directory of a layer{where} is gone",
            hint="build or load the image again",
        )
    return storage_error(error, "can't mount an overlay")
