"""A chain of layers as one tree, merged from the layers' own directories: nothing is mounted, and whoever copies from
it can hard-link the files.

Layers are immutable, so what was listed once is kept. Owned by one step.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

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
        self._learned: set[str] = set()
        self.root = _node("", os.lstat(paths[0]), paths) if paths else _nothing()

    def child(self, directory: Node, name: str) -> LayerNode | None:
        assert isinstance(directory, LayerNode)
        if directory.path in self._known:
            return self._by_name[directory.path].get(name)
        found = lookup(directory.layers, os.fsencode(name), self._flavour)
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
        new = [node for node in nodes if node.path not in self._learned]
        in_parallel(self._learn, new)
        self._learned.update(node.path for node in new)

    def _learn(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            assert isinstance(node, LayerNode)
            if node.is_regular:
                descriptor = self.open(node)
                try:
                    node.digest = digest_of(descriptor, node.size)
                    node.xattrs = self._xattrs(descriptor)
                finally:
                    os.close(descriptor)
            elif node.layers and not node.is_link:
                node.xattrs = self._xattrs(node.layers[0])

    def _xattrs(self, file: bytes | int) -> Mapping[str, bytes]:
        names = list_xattrs(file)
        if not names:
            return NO_XATTRS
        return {
            name: os.getxattr(file, name)
            for name in sorted(names)
            if not name.startswith(self._flavour.prefix) and name != "security.selinux"
        }

    def open(self, node: Node) -> int:
        assert isinstance(node, LayerNode)
        try:
            return os.open(node.layers[0], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise IntegrityError(f"the files of a layer are gone: {error}") from error

    def missing(self, path: str) -> str | None:
        return None


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
