"""What the disk refuses, in Boatyard's vocabulary."""

from __future__ import annotations

import errno

from boatyard.errors import StorageError


def storage_error(error: OSError, what: str) -> StorageError:
    """`what` says what failed: "can't write a.txt"."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{what}: {error.strerror}", hint="free disk space: `boat builder prune`")
    if error.errno == errno.EROFS:
        return StorageError(f"{what}: {error.strerror}", hint="the daemon's directory must be writable")
    return StorageError(f"{what}: {error.strerror or error}")
