"""Content keys: the digest of exactly the files that a step reads.

Counted are names, modes, owners, links, xattrs and bytes; times are not. Where a file lies doesn't count, only what the
step sees of it: for a selector without wildcards the path from what it selects, for one with wildcards the path from
the tree's root.

A file's *record* is one line with all that counts of it but its name; a directory's ends with the digest of the records
of what it holds, so that a whole tree has one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boatyard.build.solver.types import ContentKey
from boatyard.build.tree.lookup import excludes_file, find, glob, walk
from boatyard.build.tree.node import Node, Tree
from boatyard.errors import NotFoundError
from boatyard.paths.patterns import has_wildcard
from boatyard.paths.spelling import clean


@dataclass(frozen=True, slots=True)
class Selector:
    """Which files of a result an op reads. `path` is absolute inside the result. With `wildcard`, names in it may be
    patterns. Include and exclude patterns are matched below each selected directory. `required_paths`, which begin at
    the result's root, must exist. With `optional`, nothing at all is as good as anything."""

    path: str
    wildcard: bool = False
    follow_links: bool = True
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    required_paths: tuple[str, ...] = ()
    optional: bool = False


def content_key(tree: Tree, selectors: Sequence[Selector]) -> ContentKey:
    """NotFoundError when a selector without wildcard selects nothing. Blocks."""
    digests = []
    for selector in selectors:
        filtered = bool(selector.include_patterns or selector.exclude_patterns)
        wild = _is_wild(selector)
        parts = [
            (path if wild else "", _filtered(tree, top, selector) if filtered else record(tree, top))
            for path, top in select(tree, selector)
        ]
        digests.append(hashlib.sha256(b"\0".join(_bytes(path) + b"\n" + part for path, part in parts)).hexdigest())
    digest = digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()
    return ContentKey(digest, lambda: listing(tree, selectors))


def select(tree: Tree, selector: Selector) -> list[tuple[str, Node]]:
    """The files and directories that a selector names, not what lies below them: where they were found, and what is
    there once links were followed."""
    if _is_wild(selector):
        found = glob(tree, selector.path, follow=selector.follow_links)
        if found is None:
            if selector.optional:
                return []
            raise not_found(tree, selector.path)
        chosen = [(node.path, node) for node in found]
        if selector.follow_links:
            chosen = [(path, find(tree, path) or node) for path, node in chosen]
    else:
        path = clean(selector.path)
        node = find(tree, path, follow=selector.follow_links)
        if node is None:
            if selector.optional:
                return []
            raise not_found(tree, path)
        chosen = [(path, node)]
    for required in selector.required_paths:
        if has_wildcard(required):
            if not glob(tree, required, follow=selector.follow_links):
                raise not_found(tree, required)
        elif find(tree, required, follow=selector.follow_links) is None:
            raise not_found(tree, required)
    return [(path, node) for path, node in chosen if not excludes_file(selector.exclude_patterns, path, node)]


def not_found(tree: Tree, path: str) -> NotFoundError:
    path = clean(path)
    return NotFoundError(f'"/{path}": not found', hint=tree.missing(path))


def listing(tree: Tree, selectors: Sequence[Selector]) -> Mapping[str, str]:
    """Every selected path with a digest of what counts of it, for explanations."""
    found: dict[str, str] = {}
    for selector in selectors:
        for _, top in select(tree, selector):
            nodes = [each.node for each in walk(tree, top, selector.include_patterns, selector.exclude_patterns)]
            tree.learn(nodes)
            for node in nodes:
                counted = own_record(node) + (b"" if node.is_directory else node.digest)
                found[node.path or "."] = hashlib.sha256(counted).hexdigest()
    return found


def record(tree: Tree, top: Node) -> bytes:
    """Of a file, or of a directory with all it holds."""
    if not top.is_directory:
        tree.learn([top])
        return _record(top)
    order = [top]
    """Directories, each before those it holds."""
    nodes: list[Node] = [top]
    held: dict[str, Sequence[Node]] = {}
    for directory in order:
        children = held[directory.path] = tree.children(directory)
        nodes += children
        order += [child for child in children if child.is_directory]
    tree.learn(nodes)
    records: dict[str, bytes] = {}
    for directory in reversed(order):
        lines = []
        for node in held[directory.path]:
            lines.append(_bytes(node.path.rpartition("/")[2]))
            lines.append(records[node.path] if node.is_directory else _record(node))
        records[directory.path] = own_record(directory) + hashlib.sha256(b"\0".join(lines)).digest()
    return records[top.path]


def _filtered(tree: Tree, top: Node, selector: Selector) -> bytes:
    chosen = list(walk(tree, top, selector.include_patterns, selector.exclude_patterns))
    tree.learn([each.node for each in chosen])
    lines = []
    for path, node, _ in chosen:
        lines.append(_bytes(path))
        lines.append(own_record(node) if node.is_directory else _record(node))
    return hashlib.sha256(b"\0".join(lines)).digest()


def _record(node: Node) -> bytes:
    if not node.record:
        node.record = own_record(node) + node.digest
    return node.record


def own_record(node: Node) -> bytes:
    """What counts of a node beside its name and its bytes. Begins with a length, so that nothing that follows can be
    taken for it."""
    text = b"%o %d %d %d " % (node.mode, node.uid, node.gid, node.rdev)
    if node.link:
        text += _bytes(node.link)
    for name, value in node.xattrs.items():
        text += b"\0%s\0%d\0%s" % (_bytes(name), len(value), value)
    return b"%d:%s" % (len(text), text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_wild(selector: Selector) -> bool:
    return selector.wildcard and has_wildcard(selector.path)
