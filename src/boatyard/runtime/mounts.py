"""A container's mounts, made ready: sources written, places made in the root file system, entries for the OCI
configuration.

Knows files and directories; what it writes goes into the container's bundle, on a file system in memory.
"""

from __future__ import annotations

import os
import posixpath
import socket
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from boatyard.errors import InvalidError
from boatyard.runtime import agent
from boatyard.runtime.container import AgentSocket, BindMount, Mount, OciMount, SecretFile, TmpfsMount
from boatyard.runtime.rootfs import MountPoints
from boatyard.runtime.spec import RUNTIME_DIRECTORIES, Document


@dataclass(slots=True)
class Prepared:
    entries: list[Document] = field(default_factory=list)
    """OCI `mounts`."""
    agents: list[tuple[socket.socket, str]] = field(default_factory=list)
    """Listeners to forward from, each with the socket on the host; the caller owns them."""

    def close(self) -> None:
        for listener, _ in self.agents:
            listener.close()
        self.agents.clear()


def prepare(mounts: Iterable[Mount], files: Mapping[str, bytes], bundle: Path, points: MountPoints) -> Prepared:
    """Make everything ready. `files` are generated ones, target to contents, read-only and readable by everybody; a
    mount of the container at the same target takes their place. Parents are mounted before what is beneath them.
    """
    prepared = Prepared()
    try:
        ordered = sorted(mounts, key=lambda mount: _normal(mount.target).count("/"))
        covered = list(RUNTIME_DIRECTORIES)
        for directory in RUNTIME_DIRECTORIES:
            points.directory(directory)
        own = {_normal(mount.target) for mount in ordered}
        generated = [
            SecretFile(target, data, mode=0o644)
            for target, data in files.items()
            if target not in own and not _beneath(target, own)
        ]
        for number, mount in enumerate((*generated, *ordered)):
            prepared.entries.append(_entry(mount, number, bundle, points, covered, prepared))
            covered.append(_normal(mount.target))
    except BaseException:
        prepared.close()
        raise
    return prepared


def _entry(
    mount: Mount, number: int, bundle: Path, points: MountPoints, covered: list[str], prepared: Prepared
) -> Document:
    target = _normal(mount.target)
    if target == "/":
        raise InvalidError("can't mount at /: it is the root file system itself")

    def place(*, directory: bool, mode: int = 0o755) -> str:
        # Beneath another mount there is nothing to make: the runtime makes the place in that one.
        if _beneath(target, covered):
            return target
        return points.directory(target, mode) if directory else points.file(target)

    if isinstance(mount, TmpfsMount):
        options = ["nosuid", f"mode={mount.mode:o}"]
        if mount.size:
            options.append(f"size={mount.size}")
        # runc gives a tmpfs the mode of the directory beneath it, whatever the option says.
        destination = place(directory=True, mode=mount.mode)
        return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}
    if isinstance(mount, BindMount):
        # crun does not follow a link that it is to mount.
        source = os.path.realpath(mount.source)
        try:
            status = os.stat(source)
        except OSError as error:
            raise InvalidError(f"can't mount {mount.source} at {target}: {error.strerror}") from error
        directory = stat.S_ISDIR(status.st_mode)
        # Nothing is mounted beneath a file, and crun's recursive flags want a directory.
        return _bind(source, place(directory=directory), mount.readonly, recursive=directory and mount.recursive)
    if isinstance(mount, OciMount):
        return _as_told(mount, place)
    if isinstance(mount, SecretFile):
        source = str(bundle / f"file{number}")
        _write(source, mount)
        return _bind(source, place(directory=False), True, recursive=False)
    return _agent(mount, str(bundle / f"agent{number}"), place(directory=False), prepared)


def _as_told(mount: OciMount, place: Callable[..., str]) -> Document:
    options = list(mount.options)
    if mount.type not in ("", "none", "bind"):
        return {"destination": place(directory=True), "type": mount.type, "source": mount.source, "options": options}
    if "bind" not in options and "rbind" not in options:
        options.insert(0, "bind")
    try:
        directory = stat.S_ISDIR(os.stat(mount.source).st_mode)
    except OSError as error:
        raise InvalidError(f"can't mount {mount.source} at {mount.target}: {error.strerror}") from error
    return {
        "destination": place(directory=directory),
        "type": "bind",
        "source": os.path.realpath(mount.source),
        "options": options,
    }


def _agent(mount: AgentSocket, path: str, destination: str, prepared: Prepared) -> Document:
    prepared.agents.append((agent.listen(path, mount.uid, mount.gid, mount.mode), mount.source))
    # Connecting needs write access to the socket: a read-only mount would refuse it.
    return _bind(path, destination, False, recursive=False)


def _bind(source: str, destination: str, readonly: bool, *, recursive: bool) -> Document:
    # crun ORs flags: "rprivate" would make "bind" recursive.
    options = ["rbind", "rprivate"] if recursive else ["bind", "private"]
    options.append("ro" if readonly else "rw")
    if readonly and recursive:
        # Also of what is mounted beneath; "ro" alone covers the top only.
        options.append("rro")
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _write(path: str, file: SecretFile) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        data = memoryview(file.data)
        while data:
            data = data[os.write(descriptor, data) :]
        if file.uid or file.gid:
            os.fchown(descriptor, file.uid, file.gid)
        os.fchmod(descriptor, file.mode)
    finally:
        os.close(descriptor)


def _normal(target: str) -> str:
    if "\0" in target or not target.startswith("/"):
        raise InvalidError(f"mount target {target!r} is not an absolute path")
    return "/" + posixpath.normpath(target).strip("/")


def _beneath(target: str, mounts: Iterable[str]) -> bool:
    return any(target.startswith(mount + "/") for mount in mounts)
