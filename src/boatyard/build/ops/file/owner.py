"""Owners of files by name, as the image's own files give them.

Specification: passwd(5), group(5).
"""

from __future__ import annotations

from collections.abc import Callable

from boatyard.build.llb.graph import Chown, User
from boatyard.build.result import read_file
from boatyard.build.tree.node import Tree
from boatyard.errors import InvalidError, NotFoundError

PASSWD = "/etc/passwd"
GROUP = "/etc/group"


def resolve(owner: Chown | None, tree_of: Callable[[int], Tree], warn: Callable[[str], None]) -> tuple[int, int] | None:
    """User and group number, or None when nothing is asked for. `tree_of` gives the files that a name is looked up in.

    A name that isn't there is taken for root, as BuildKit does, and warned of. A user that is given alone brings a
    group: the one of its line, or for a number the same number.
    """
    if owner is None or (owner.user is None and owner.group is None):
        return None
    uid = gid = 0
    if owner.user is not None:
        if owner.user.id is not None:
            uid = gid = owner.user.id
        elif found := _look_up(owner.user, PASSWD, tree_of, warn):
            uid, gid = found
    if owner.group is not None:
        if owner.group.id is not None:
            gid = owner.group.id
        elif found := _look_up(owner.group, GROUP, tree_of, warn):
            gid = found[0]
        else:
            gid = gid if owner.user is not None else 0
    return uid, gid


def _look_up(
    user: User, path: str, tree_of: Callable[[int], Tree], warn: Callable[[str], None]
) -> tuple[int, int] | None:
    if user.input < 0:
        raise InvalidError(
            f"there are no files to look {user.name!r} up in", hint="give a number instead of a name in --chown"
        )
    try:
        text = read_file(tree_of(user.input), path).decode("utf-8", "surrogateescape")
    except NotFoundError:
        text = ""
    for line in text.splitlines():
        fields = line.split(":")
        if fields[0] == user.name and len(fields) >= 4:
            try:
                return int(fields[2]), int(fields[3]) if path == PASSWD else int(fields[2])
            except ValueError:
                continue
    kind = "user" if path == PASSWD else "group"
    warn(f"there is no {kind} {user.name!r} in the image's {path}: root is taken instead")
    return None
