"""A chain of layers as one tree, merged from the layers' own directories: nothing is mounted, and whoever copies from
it can hard-link the files.

Layers are immutable, so what was listed once is kept. Owned by one step.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from boatyard.build.tree.node import NO_XATTRS, Node, join
from boatyard.build.tree.reading import digest_of, in_parallel
from boatyard.errors import IntegrityError
from boatyard.image.snapshot.merging import Name, list_xattrs, lookup, merged_names
from boatyard.image.snapshot.whiteout import Flavour, native_flavour


class LayerNode(Node, gc=False):
    layers: tuple[bytes, ...] = ()
    """The paths it comes from, the highest first; more than one only for a directory."""


class LayerTree:
    """Implements `node.Tree`. `directories`: the layers' directories, the lowest first."""

    def __init__(self, directories: Sequence[Path], *, flavour: Flavour | None = None) -> None:
        self._flavour = flavour or native_flavour()
        paths = tuple(os.fsencode(directory) for directory in reversed(directories))
        self._known: dict[str, tuple[LayerNode, ...]] = {}
        self._by_name: dict[str, dict[str, LayerNode]] = {}
        self.root = _node("", os.lstat(paths[0]), paths) if paths else _nothing()

    def child(self, directory: Node, name: str) -> LayerNode | None:
        assert isinstance(directory, LayerNode)
        if directory.path in self._known:
            return self._by_name[directory.path].get(name)
        try:
            found = lookup(directory.layers, os.fsencode(name), self._flavour)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # so it can't be there
                return None
            raise
        return None if found is None else _of_name(directory.path, found)

    def children(self, directory: Node) -> tuple[LayerNode, ...]:
        assert isinstance(directory, LayerNode)
        known = self._known.get(directory.path)
        if known is None:
            try:
                names = merged_names(directory.layers, self._flavour) if directory.layers else []
            except FileNotFoundError as error:
                raise IntegrityError(f"the files of a layer are gone: {error}") from error
            known = tuple(_of_name(directory.path, found) for found in names)
            self._by_name[directory.path] = {node.name: node for node in known}
            self._known[directory.path] = known
        return known

    def learn(self, nodes: Sequence[Node]) -> None:
        in_parallel(self._learn, [node for node in nodes if not node.learned])

    def _learn(self, nodes: Sequence[Node]) -> None:
        with self.reader() as reader:
            for node in nodes:
                assert isinstance(node, LayerNode)
                if node.is_regular:
                    descriptor = reader.open(node)
                    try:
                        node.digest = digest_of(descriptor, node.size)
                        node.xattrs = reader.confirm(node, descriptor, b"")
                    finally:
                        os.close(descriptor)
                elif node.layers and not node.is_link:
                    node.xattrs = xattrs(node.layers[0], self._flavour)
                node.learned = True

    def reader(self) -> LayerReader:
        return LayerReader(self._flavour)

    def missing(self, path: str) -> str | None:
        return None


class LayerReader:
    """Implements `node.Reader`."""

    def __init__(self, flavour: Flavour) -> None:
        self._flavour = flavour

    def open(self, node: Node) -> int:
        assert isinstance(node, LayerNode)
        try:
            return os.open(node.layers[0], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise IntegrityError(f"the files of a layer are gone: {error}") from error

    def wants_digest(self, node: Node) -> bool:
        return False

    def confirm(self, node: Node, descriptor: int, digest: bytes) -> Mapping[str, bytes]:
        return node.xattrs if node.learned else xattrs(descriptor, self._flavour)

    def __enter__(self) -> LayerReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


def xattrs(file: bytes | int, flavour: Flavour) -> Mapping[str, bytes]:
    """All but the overlay's own marks, and labels that the host gives."""
    names = list_xattrs(file)
    if not names:
        return NO_XATTRS
    return {
        name: os.getxattr(file, name)
        for name in sorted(names)
        if not name.startswith(flavour.prefix) and name != "security.selinux"
    }


def _of_name(directory: str, found: Name) -> LayerNode:
    return _node(join(directory, os.fsdecode(found.name)), found.status, found.layers)


def _node(path: str, status: os.stat_result, layers: tuple[bytes, ...]) -> LayerNode:
    return LayerNode(
        path,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_nlink,
        status.st_dev,
        status.st_ino,
        status.st_rdev,
        os.fsdecode(os.readlink(layers[0])) if stat.S_ISLNK(status.st_mode) else "",
        layers=layers,
    )


def _nothing() -> LayerNode:
    return LayerNode("", stat.S_IFDIR | 0o755, 0, 0, 0, 0, 1, 0, 0)
