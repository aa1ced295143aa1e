"""Extended attributes that mean the same everywhere: a machine's security labels and overlay marks don't."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

NO_XATTRS: Mapping[str, bytes] = {}
_PORTABLE = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")


def is_portable(name: str) -> bool:
    if name.startswith("user."):
        return not name.startswith("user.overlay.")
    return name in _PORTABLE


def portable_xattrs(file: int | str) -> Mapping[str, bytes]:
    """Those of an open file, or of what is at a path (a link itself, not what it leads to)."""
    follow = isinstance(file, int)
    try:
        names = os.listxattr(file, follow_symlinks=follow)
        return (
            {name: os.getxattr(file, name, follow_symlinks=follow) for name in sorted(names) if is_portable(name)}
            if names
            else NO_XATTRS
        )
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENODATA):
            return NO_XATTRS
        raise
