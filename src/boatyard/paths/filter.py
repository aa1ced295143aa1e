"""Which names of a client's directory a build looks at.

Specification: BuildKit's local source (local.includepattern, local.excludepatterns, local.followpaths);
tonistiigi/fsutil, `filter.go`, `followlinks.go`.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from boatyard.paths.beneath import open_directory
from boatyard.paths.patterns import PatternMatcher, has_wildcard, parse_glob
from boatyard.paths.spelling import MOST_LINKS, clean


@dataclass(frozen=True, slots=True)
class Filter:
    """`follow`: paths, with wildcards, that are wanted together with what links on their way lead to."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()

    def plan(self, root: int) -> Plan:
        include = [*self.include, *followed(root, self.follow)]
        return Plan(
            PatternMatcher(include) if include else None, PatternMatcher(self.exclude) if self.exclude else None
        )

    def why_missing(self, root: int, path: str) -> str | None:
        """A hint for somebody who misses a path in what was left in."""
        path = clean(path)
        mode = _mode(root, path)
        if mode is not None:
            if pattern := excluding_pattern(PatternMatcher(self.exclude), path):
                return f"it is there, but .dockerignore leaves it out: the pattern {pattern!r} does"
            if stat.S_ISSOCK(mode):
                return "it is a socket, which can't be in an image"
            return "it is there, but it isn't among the files that were asked for"
        if pattern := excluding_pattern(PatternMatcher(self.exclude), path):
            return f"if it is there, .dockerignore leaves it out: the pattern {pattern!r} does"
        above, _, name = path.rpartition("/")
        try:
            directory = open_directory(root, above)
        except OSError:
            return f"there is no directory /{above} in the build context; paths begin at the context's root"
        try:
            names = os.listdir(directory)
        finally:
            os.close(directory)
        if not above and not names:
            return "the build context is empty; with a Dockerfile from standard input, give one: `-f - DIRECTORY`"
        excluding = PatternMatcher(self.exclude)
        names = [each for each in names if not excluding.matches(posixpath.join(above, each))]
        close = difflib.get_close_matches(name.lower(), [each.lower() for each in names], 1)
        if close:
            meant = next(each for each in names if each.lower() == close[0])
            return f"did you mean {posixpath.join('/', above, meant)}?"
        return "paths begin at the root of the build context; files outside of it can't be copied"


class Plan:
    """A filter, once links were followed. `including` None: everything."""

    def __init__(self, including: PatternMatcher | None, excluding: PatternMatcher | None) -> None:
        self.including = including
        self.excluding = excluding
        self._wanted = _names_to_look_for(including)

    @property
    def is_whole(self) -> bool:
        return self.including is None

    def names(self, path: str, all: bool) -> bool:
        """Whether a path is left in for itself. `all`: what includes it is settled."""
        if not all and self.including is not None and not self.including.matches(path):
            return False
        return self.excluding is None or not self.excluding.matches(path)

    def leaves_in(self, path: str, is_directory: bool, all: bool) -> bool:
        """Whether it is left in, or a directory in which something might be."""
        if not is_directory:
            return self.names(path, all)
        if self.excluding is not None and self.excluding.prunes(path):
            return False
        return all or self.including is None or self.including.may_match_below(path)

    def includes_all_of(self, directory: str) -> bool:
        """Whether everything below is included."""
        including = self.including
        return including is None or (not including.has_exceptions and including.matches(directory))

    def may_exclude_below(self, directory: str) -> bool:
        return self.excluding is not None and (
            self.excluding.matches(directory) or self.excluding.may_match_below(directory)
        )

    def wanted(self, directory: str) -> frozenset[str] | None:
        """The only names worth looking for in a directory that no pattern names; None: any."""
        return None if self._wanted is None else self._wanted.get(directory, frozenset())


def _names_to_look_for(including: PatternMatcher | None) -> dict[str, frozenset[str]] | None:
    if including is None:
        return None
    wanted: dict[str, set[str]] = {}
    for pattern in including.patterns:
        if pattern.exception or pattern.text.startswith("/") or "\\" in pattern.text or has_wildcard(pattern.text):
            return None
        above = ""
        for name in pattern.text.split("/"):
            wanted.setdefault(above, set()).add(name)
            above = f"{above}/{name}" if above else name
    return {directory: frozenset(names) for directory, names in wanted.items()}


def excluding_pattern(excluding: PatternMatcher, path: str) -> str | None:
    """The pattern that leaves a path out, if one does."""
    if not excluding.matches(path):
        return None
    for pattern in reversed(excluding.patterns):
        if pattern.names(path):
            return pattern.text
    return None


def _mode(root: int, path: str) -> int | None:
    """None when there is no such file."""
    above, _, name = path.rpartition("/")
    try:
        directory = open_directory(root, above)
    except OSError:
        return None
    try:
        return os.stat(name or ".", dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        return None
    finally:
        os.close(directory)


# -- followed paths --------------------------------------------------------------------------------------------------


def followed(root: int, paths: Sequence[str]) -> list[str]:
    """The paths as include patterns, and those that links on their way lead to; empty when one of them is the root.
    Where links lead on and on, nothing is there."""
    found: set[str] = set()
    seen: set[str] = set()
    todo = [(clean(path), 0) for path in paths]
    while todo:
        path, links = todo.pop()
        if links > MOST_LINKS or path in seen:
            continue
        seen.add(path)
        if not path:
            return []
        names = path.split("/")
        for depth in range(1, len(names) + 1):
            current, rest = "/".join(names[:depth]), names[depth:]
            targets = _targets(root, current)
            if targets:
                todo.extend((clean("/".join([target, *rest])), links + 1) for target in targets)
                found.add(current)
                break
        else:
            found.add(path)
    ordered = sorted(found)
    kept: list[str] = []
    for path in ordered:
        if not kept or not path.startswith(kept[-1] + "/"):
            kept.append(path)
    return kept


def _targets(root: int, path: str) -> list[str]:
    """Where a path leads if it is a link, or where the links lead that its last name, a pattern, matches. As patterns:
    what is special in them is escaped."""
    above, _, name = path.rpartition("/")
    try:
        directory = open_directory(root, above)
    except OSError:
        return []  # it isn't there, or has wildcards: whatever it matches is found by the pattern
    try:
        if has_wildcard(name):
            (matcher,) = parse_glob(name)
            assert isinstance(matcher, re.Pattern)
            names = [each for each in os.listdir(directory) if matcher.fullmatch(each)]
        else:
            names = [name]
        return [target for each in names if (target := _target(directory, above, each)) is not None]
    finally:
        os.close(directory)


def _target(directory: int, above: str, name: str) -> str | None:
    try:
        if not stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return None
        link = os.readlink(name, dir_fd=directory)
    except OSError:
        return None
    return _escaped(clean(link if link.startswith("/") else f"{above}/{link}"))


def _escaped(path: str) -> str:
    return re.sub(r"([*?\[\]\\])", r"\\\1", path)
