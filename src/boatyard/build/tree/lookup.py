"""Names in a tree: following links inside it, wildcards, and what include and exclude patterns leave of a directory.

A tree is its own universe: an absolute link begins at its root, and `..` at the root is the root.

Specification: moby/buildkit and tonistiigi/fsutil, `copy`; Go, path/filepath, Match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from boatyard.build.tree.node import Node, Tree
from boatyard.errors import InvalidError
from boatyard.paths.patterns import PatternMatcher, has_wildcard, parse_glob
from boatyard.paths.spelling import MOST_LINKS, clean


def find(tree: Tree, path: str, *, follow: bool = True) -> Node | None:
    """The node at a path, or None. Links on the way are followed; one at its end only with `follow`. InvalidError for
    a loop."""
    todo = [part for part in reversed(path.split("/")) if part and part != "."]
    above: list[Node] = []
    node = tree.root
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            if above:
                node = above.pop()
            continue
        if not node.is_directory:
            return None
        child = tree.child(node, part)
        if child is None:
            return None
        if child.is_link and (todo or follow):
            links += 1
            if links > MOST_LINKS:
                raise InvalidError(f"{path!r} has too many levels of symbolic links", hint="is there a loop of links?")
            if child.link.startswith("/"):
                above.clear()
                node = tree.root
            todo.extend(part for part in reversed(child.link.split("/")) if part and part != ".")
            continue
        above.append(node)
        node = child
    return node


def split_wildcards(path: str) -> tuple[str, str]:
    """A cleaned path as the names before the first with a wildcard, and the rest ("" if none has one)."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if has_wildcard(part):
            return "/".join(parts[:index]), "/".join(parts[index:])
    return path, ""


def glob(tree: Tree, path: str, *, follow: bool = True) -> list[Node] | None:
    """What a path with wildcards matches, sorted; below a match nothing else is looked for. None when the part before
    the first wildcard doesn't exist. Links are followed in that part only."""
    before, pattern = split_wildcards(clean(path))
    top = find(tree, before, follow=follow)
    if top is None:
        return None
    return list(_matches(tree, top, parse_glob(pattern))) if pattern else [top]


def _matches(tree: Tree, directory: Node, matchers: Sequence[str | re.Pattern[str]]) -> Iterator[Node]:
    if not directory.is_directory:
        return
    first = matchers[0]
    if isinstance(first, str):
        child = tree.child(directory, first)
        found: Iterable[Node] = [] if child is None else [child]
    else:
        found = [child for child in tree.children(directory) if first.fullmatch(child.name)]
    for child in found:
        if len(matchers) == 1:
            yield child
        else:
            yield from _matches(tree, child, matchers[1:])


def excludes_file(exclude: Sequence[str], path: str, node: Node) -> bool:
    """Whether exclude patterns leave out a file that is itself what is copied: they are matched against its name, as
    if its directory were copied. `path` is how the source was named; `node` is what it leads to. Directories are never
    left out, only what they hold."""
    return bool(exclude) and not node.is_directory and PatternMatcher(exclude).matches(path.rpartition("/")[2])


class Selected(NamedTuple):
    """A node that patterns leave in. `path`: from the top of the walk, "" for the top. `implied`: no pattern names this
    directory; it is there for what is below it."""

    path: str
    node: Node
    implied: bool


def walk(tree: Tree, top: Node, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Iterator[Selected]:
    """The top and what is below it, directories before what they hold. Patterns are matched against the path from the
    top, which they never leave out."""
    including = PatternMatcher(include) if include else None
    excluding = PatternMatcher(exclude) if exclude else None
    yield Selected("", top, False)
    if not top.is_directory:
        return
    start = len(top.path) + 1 if top.path else 0
    held: list[Selected] = []
    """Directories that are told of once something below them is."""
    stack = list(reversed(tree.children(top)))
    while stack:
        node = stack.pop()
        path = node.path[start:]
        is_directory = node.is_directory
        while held and not path.startswith(f"{held[-1].path}/"):
            held.pop()
        if excluding is not None and is_directory and excluding.prunes(path):
            continue
        named = (including is None or including.matches(path)) and (excluding is None or not excluding.matches(path))
        if named:
            if held:
                yield from held
                held.clear()
            yield Selected(path, node, False)
        if is_directory:
            if not named:
                if including is not None and not including.may_match_below(path):
                    continue
                held.append(Selected(path, node, True))
            stack.extend(reversed(tree.children(node)))
