"""What a context holds, and what its ignore file leaves out: for people who wonder why it is slow, or what is in it."""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boatyard.build.tree.node import Node, join
from boatyard.paths.beneath import open_directory
from boatyard.paths.filter import Filter, excluding_pattern
from boatyard.paths.patterns import PatternMatcher

LARGEST = 20


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or directory that a pattern leaves out, with how many files and bytes that is."""

    path: str
    pattern: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ContextReport:
    """`largest`: (path, bytes), the largest first. `left_out`: the most bytes first."""

    files: int
    directories: int
    bytes: int
    largest: tuple[tuple[str, int], ...]
    left_out: tuple[LeftOut, ...]


def report(root: int, children: Mapping[str, Sequence[Node]], filter: Filter) -> ContextReport:
    """`children`: by directory, what the filter left in. Walks what it left out as well, so this takes as long as if
    there were no filter. Blocks."""
    nodes = [node for directory in children.values() for node in directory]
    files = [node for node in nodes if not node.is_directory]
    largest = heapq.nlargest(LARGEST, files, key=lambda node: node.size)
    left_out = _left_out(root, PatternMatcher(filter.exclude)) if filter.exclude else []
    return ContextReport(
        files=len(files),
        directories=len(nodes) - len(files),
        bytes=sum(node.size for node in files if node.is_regular),
        largest=tuple((node.path, node.size) for node in largest),
        left_out=tuple(sorted(left_out, key=lambda each: (-each.bytes, each.path))),
    )


def _left_out(root: int, excluding: PatternMatcher) -> list[LeftOut]:
    found = []
    stack = [""]
    while stack:
        above = stack.pop()
        for name, status in _names(root, above):
            path = join(above, name)
            directory = stat.S_ISDIR(status.st_mode)
            pattern = excluding_pattern(excluding, path)
            if pattern is not None and (not directory or excluding.prunes(path)):
                files, size = _measure(root, path) if directory else (1, status.st_size)
                found.append(LeftOut(path, pattern, files, size))
            elif directory:
                stack.append(path)
    return found


def _measure(root: int, directory: str) -> tuple[int, int]:
    files = size = 0
    stack = [directory]
    while stack:
        above = stack.pop()
        for name, status in _names(root, above):
            if stat.S_ISDIR(status.st_mode):
                stack.append(join(above, name))
            else:
                files += 1
                size += status.st_size
    return files, size


def _names(root: int, path: str) -> list[tuple[str, os.stat_result]]:
    """None of a directory that can't be read: it only goes into a report."""
    try:
        directory = open_directory(root, path)
    except OSError:
        return []
    try:
        with os.scandir(directory) as entries:
            return [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return []
    finally:
        os.close(directory)
