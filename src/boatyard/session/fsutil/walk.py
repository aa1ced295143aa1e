"""What is in a directory, in the order of a list; everything, or what a filter leaves in.

Specification: tonistiigi/fsutil, `fs.go`, `filter.go`, `hardlinks.go`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from boatyard.errors import DeniedError
from boatyard.paths.beneath import open_directory
from boatyard.paths.filter import Plan
from boatyard.paths.xattrs import NO_XATTRS, portable_xattrs
from boatyard.session.fsutil.entry import Entry

_TYPED = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO)


@dataclass(slots=True)
class _Level:
    """A directory whose entries are being told. `held`: itself, until something below it is told. `all`, `excludes`:
    as in `filter.Plan`: what includes its entries is settled, and whether something may exclude them."""

    path: str
    names: Iterator[tuple[str, os.stat_result]]
    descriptor: int
    held: Entry | None
    all: bool
    excludes: bool


def everything() -> Plan:
    return Plan(None, None)


def walk(root: int, plan: Plan, *, owners: bool = True, xattrs: bool = True) -> Iterator[Entry]:
    """Sorted name by name, directories before what they hold; sockets are left out. Without `owners`, everything
    belongs to root. What vanishes meanwhile is left out. Blocks. DeniedError for a directory that can't be read."""
    seen: dict[tuple[int, int], str] = {}
    stack: list[_Level] = []
    try:
        stack.append(_open(root, "", None, plan.is_whole, plan.excluding is not None, plan))
        while stack:
            level = stack[-1]
            pair = next(level.names, None)
            if pair is None:
                os.close(stack.pop().descriptor)
                continue
            name, status = pair
            path = f"{level.path}/{name}" if level.path else name
            entry = _entry(level.descriptor, name, path, status, seen, owners, xattrs)
            if entry is None:
                continue
            named = (level.all and not level.excludes) or plan.names(path, level.all)
            if named:
                for above in stack:
                    if above.held is not None:
                        yield above.held
                        above.held = None
                if status.st_nlink > 1 and not entry.link and not entry.is_directory:
                    seen[status.st_dev, status.st_ino] = path
                yield entry
            if entry.is_directory:
                try:
                    stack.append(
                        _open(
                            root,
                            path,
                            None if named else entry,
                            level.all or plan.includes_all_of(path),
                            level.excludes and plan.may_exclude_below(path),
                            plan,
                        )
                    )
                except FileNotFoundError:
                    continue
    finally:
        for level in stack:
            os.close(level.descriptor)


def _open(root: int, path: str, held: Entry | None, all: bool, excludes: bool, plan: Plan) -> _Level:
    try:
        descriptor = open_directory(root, path)
    except PermissionError as error:
        raise DeniedError(f"can't read the directory /{path}: {error.strerror}") from error
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error  # it was replaced meanwhile
    try:
        found = list(_statuses(descriptor, path, all, excludes, plan))
        found.sort(key=_order)
        return _Level(path, iter(found), descriptor, held, all, excludes)
    except BaseException:
        os.close(descriptor)
        raise


def _statuses(
    descriptor: int, path: str, all: bool, excludes: bool, plan: Plan
) -> Iterator[tuple[str, os.stat_result]]:
    whole = all and not excludes
    if not all and (wanted := plan.wanted(path)) is not None:
        for name in wanted:
            try:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if plan.leaves_in(f"{path}/{name}" if path else name, stat.S_ISDIR(status.st_mode), all):
                yield name, status
        return
    prefix = f"{path}/" if path else ""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            try:
                if whole or plan.leaves_in(prefix + entry.name, entry.is_dir(follow_symlinks=False), all):
                    yield entry.name, entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue


def _order(pair: tuple[str, os.stat_result]) -> bytes:
    return pair[0].encode("utf-8", "surrogateescape")


def _entry(
    directory: int,
    name: str,
    path: str,
    status: os.stat_result,
    seen: dict[tuple[int, int], str],
    owners: bool,
    xattrs: bool,
) -> Entry | None:
    mode = status.st_mode
    kind = stat.S_IFMT(mode)
    if kind not in _TYPED:
        return None
    link = ""
    size = status.st_size
    if kind == stat.S_IFLNK:
        try:
            link = os.readlink(name, dir_fd=directory)
        except OSError:
            return None  # gone, or something else now
        mode = stat.S_IFLNK | 0o777
    elif kind == stat.S_IFDIR:
        size = 0
    elif status.st_nlink > 1 and (first := seen.get((status.st_dev, status.st_ino))):
        link = first
    found = NO_XATTRS
    if xattrs and (kind == stat.S_IFREG or kind == stat.S_IFDIR):
        try:
            found = portable_xattrs(f"/proc/self/fd/{directory}/{name}")
        except OSError:
            return None
    return Entry(
        path,
        mode,
        status.st_uid if owners else 0,
        status.st_gid if owners else 0,
        size,
        status.st_mtime_ns,
        link,
        status.st_rdev if kind == stat.S_IFCHR or kind == stat.S_IFBLK else 0,
        found,
    )
