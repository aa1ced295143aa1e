"""One action of a file op on a draft of a layer.

What happens to links, existing files and missing parents is as in BuildKit: moby/buildkit
`solver/llbsolver/file/backend.go`, tonistiigi/fsutil `copy`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence

from boatyard.build.copying.copy import Copier, CopyOptions
from boatyard.build.copying.destination import Destination
from boatyard.build.copying.draft import Draft
from boatyard.build.copying.reuse import Reuse
from boatyard.build.llb.graph import Copy, MkDir, MkFile, Rm, Symlink
from boatyard.build.ops.file.mode import parse_mode
from boatyard.build.ops.file.unpack import is_archive, unpack
from boatyard.build.tree.checksum import not_found
from boatyard.build.tree.lookup import excludes_file, find, glob
from boatyard.build.tree.node import Node, Tree, join
from boatyard.errors import ConflictError, InvalidError, NotFoundError
from boatyard.image.interruption import Stop
from boatyard.paths.patterns import has_wildcard, parse_glob
from boatyard.paths.spelling import clean

Owner = tuple[int, int] | None


# -- copy ------------------------------------------------------------------------------------------------------------


def copy(
    draft: Draft,
    tree: Tree,
    action: Copy,
    owner: Owner,
    stop: Stop,
    reuse: Reuse | None,
    renamed: dict[str, str],
    warn: Callable[[str], None],
) -> None:
    """NotFoundError when there is nothing to copy, ConflictError when something is in the way. `renamed` are the files
    of this op that got the name of the destination: the real path, and the source that is there now."""
    destination = draft.destination
    if not action.create_dest_path:
        above = destination.resolve(clean(action.dest)).rpartition("/")[0]
        if destination.entry(above) is None:
            raise NotFoundError(f"can't copy to {action.dest}: there is no directory /{above}")
    options = _options(action, owner)
    copier = Copier(tree, destination, options, stop, linked=draft.linked, reuse=reuse)
    for path in _sources(tree, action):
        stop.check()
        node = find(tree, path, follow=action.follow_symlink)
        if node is None:
            raise not_found(tree, path)
        if excludes_file(action.exclude_patterns, path, node):
            continue
        if action.attempt_unpack and _unpacked(draft, tree, action, node, owner, stop):
            continue
        target = _target(destination, action, path, node, options)
        if not node.is_directory and target == destination.resolve(action.dest):
            if earlier := renamed.get(target):
                warn(
                    f"/{path} takes the place of /{earlier} as {action.dest}: "
                    f"several files need a directory, {action.dest.rstrip('/')}/"
                )
            renamed[target] = path
        copier.add(node, target)
        if not _is_plain_directory(destination, action.dest):
            copier.run()  # what was copied may be in the way of what comes next
    copier.run()
    draft.note(copier.planned, copier.noted)


def _options(action: Copy, owner: Owner) -> CopyOptions:
    mode = None
    if action.mode_str:
        mode = parse_mode(action.mode_str)
    elif action.mode != -1:
        bits = action.mode & 0o7777

        def mode(_: int) -> int:
            return bits

    return CopyOptions(
        owner=owner,
        mode=mode,
        time=None if action.timestamp == -1 else action.timestamp,
        include=action.include_patterns,
        exclude=action.exclude_patterns,
        replace=action.always_replace_existing,
    )


def _sources(tree: Tree, action: Copy) -> Sequence[str]:
    """The paths that are to be copied."""
    if not action.allow_wildcard or not has_wildcard(action.src):
        return [clean(action.src)]
    found = glob(tree, action.src, follow=action.follow_symlink)
    if found is None or (not found and not action.allow_empty_wildcard):
        raise not_found(tree, action.src)
    return [node.path for node in found]


def _target(destination: Destination, action: Copy, path: str, node: Node, options: CopyOptions) -> str:
    """The real path that a source is copied to. The directories above it are made."""
    perm = action.mode & 0o7777 if action.mode != -1 and not action.mode_str else 0o755
    owner = options.owner or (0, 0)
    dest = action.dest
    wants_directory = dest.endswith(("/", "/.")) or dest in ("", ".")
    dest = clean(dest)
    ensured = dest if wants_directory else dest.rpartition("/")[0]
    make_directories(destination, destination.resolve(ensured), perm, owner, options.time)
    target = destination.resolve(dest)
    entry = destination.entry(target)
    contents = action.dir_copy_contents and node.is_directory
    if entry is not None and not contents and (node.is_directory or entry.is_directory):
        name = path.rpartition("/")[2]
        target = join(target, name) if name else target
        entry = destination.entry(target)
    needed = target if contents and entry is None else target.rpartition("/")[0]
    make_directories(destination, needed, perm, owner, options.time)
    return target


def _is_plain_directory(destination: Destination, dest: str) -> bool:
    """Whether a destination is a directory, and no link on the way: nothing that goes into it changes that."""
    path = clean(dest)
    entry = destination.entry(path)
    return entry is not None and entry.is_directory and destination.resolve(path) == path


def _unpacked(draft: Draft, tree: Tree, action: Copy, node: Node, owner: Owner, stop: Stop) -> bool:
    if not is_archive(tree, node):
        return False
    destination = draft.destination
    target = destination.resolve(clean(action.dest))
    when = None if action.timestamp == -1 else action.timestamp
    make_directories(destination, target, 0o755, owner or (0, 0), when)
    unpack(tree, node, destination, target, owner, stop)
    draft.forget_notes(target)
    return True


# -- the others ------------------------------------------------------------------------------------------------------


def make_directory(draft: Draft, action: MkDir, owner: Owner) -> None:
    """Nothing happens when there is something already."""
    destination = draft.destination
    path = destination.resolve(action.path)
    mode = action.mode & 0o777
    if action.make_parents:
        make_directories(destination, path, mode, owner or (0, 0), _time(action.timestamp))
        return
    if destination.entry(path) is not None:
        return
    _check_parent(destination, path, action.path)
    _make_one(destination, path, mode, owner or (0, 0), _time(action.timestamp))


def make_directories(destination: Destination, path: str, mode: int, owner: tuple[int, int], when: int | None) -> None:
    """A directory at a real path, and those above it; what exists is left as it is."""
    missing = []
    while (entry := destination.entry(path)) is None:
        missing.append(path)
        path = path.rpartition("/")[0]
    if not entry.is_directory:
        raise ConflictError(f"can't make a directory below /{path}: it exists and is no directory")
    for each in reversed(missing):
        _make_one(destination, each, mode, owner, when)


def _make_one(destination: Destination, path: str, mode: int, owner: tuple[int, int], when: int | None) -> None:
    destination.make_directory(path, mode, owner)
    if when is not None:
        destination.set_directory(path, time=when)


def make_file(draft: Draft, action: MkFile, owner: Owner) -> None:
    """A file that exists keeps its mode, and its owner unless another is given."""
    destination = draft.destination
    path = destination.resolve(action.path)
    entry = destination.entry(path)
    mode = action.mode & 0o777
    if entry is not None:
        if entry.is_directory:
            raise ConflictError(f"can't make the file {action.path}: there is a directory")
        mode = stat.S_IMODE(entry.status.st_mode)
        owner = owner or (entry.status.st_uid, entry.status.st_gid)
    above, name = _check_parent(destination, path, action.path)
    draft.forget_notes(path)
    destination.make_room(path)
    directory = destination.open_directory(above)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(action.data)
            file.flush()
            os.fchown(file.fileno(), *(owner or (0, 0)))
            os.fchmod(file.fileno(), mode)
            if (when := _time(action.timestamp)) is not None:
                os.utime(file.fileno(), ns=(when, when))
    finally:
        os.close(directory)


def make_symlink(draft: Draft, action: Symlink, owner: Owner) -> None:
    """ConflictError when there is something already."""
    destination = draft.destination
    path = destination.resolve(action.newpath)
    if destination.entry(path) is not None:
        raise ConflictError(f"can't make the link {action.newpath}: it exists")
    above, name = _check_parent(destination, path, action.newpath)
    destination.make_room(path)
    directory = destination.open_directory(above)
    try:
        os.symlink(action.oldpath, name, dir_fd=directory)
        os.chown(name, *(owner or (0, 0)), dir_fd=directory, follow_symlinks=False)
        if (when := _time(action.timestamp)) is not None:
            os.utime(name, ns=(when, when), dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(directory)


def remove(draft: Draft, action: Rm) -> None:
    """A link is removed, not what it leads to."""
    destination = draft.destination
    if action.allow_wildcard and has_wildcard(action.path):
        paths: Iterable[str] = _glob(destination, clean(action.path))
    else:
        paths = [clean(action.path)]
    for path in paths:
        if not path:
            raise InvalidError("the root directory can't be removed")
        above, _, name = path.rpartition("/")
        real = join(destination.resolve(above), name)
        if destination.entry(real) is None and not action.allow_not_found:
            raise NotFoundError(f"can't remove {action.path}: it doesn't exist")
        draft.forget_notes(real)
        destination.remove(real)


def _glob(destination: Destination, pattern: str) -> list[str]:
    """Real paths in a destination. The part before the first wildcard is followed, its last name isn't."""
    parts = pattern.split("/")
    first = next(index for index, part in enumerate(parts) if has_wildcard(part))
    found = [destination.resolve("/".join(parts[:first]), follow=False)]
    for matcher in parse_glob("/".join(parts[first:])):
        found = [
            join(above, name)
            for above in found
            if (entry := destination.entry(above)) is not None and entry.is_directory
            for name in _names(destination, above, matcher)
        ]
    return found


def _names(destination: Destination, directory: str, matcher: str | re.Pattern[str]) -> list[str]:
    if isinstance(matcher, str):
        return [matcher] if destination.entry(join(directory, matcher)) is not None else []
    return [name for name in destination.names(directory) if matcher.fullmatch(name)]


def _check_parent(destination: Destination, path: str, shown: str) -> tuple[str, str]:
    above, _, name = path.rpartition("/")
    entry = destination.entry(above)
    if entry is None:
        raise NotFoundError(f"can't make {shown}: there is no directory /{above}", hint="make the directory first")
    if not entry.is_directory:
        raise ConflictError(f"can't make {shown}: /{above} is no directory")
    return above, name


def _time(timestamp: int) -> int | None:
    return None if timestamp == -1 else timestamp
