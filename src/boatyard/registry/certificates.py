"""Directories of certificates, as Docker's `certs.d/HOST`: `*.crt` are authorities to trust, `NAME.cert` with
`NAME.key` is a certificate to be known by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from boatyard.errors import StorageError


def authorities(directories: Iterable[str]) -> tuple[str, ...]:
    """Files. A directory that isn't there holds none. StorageError when one can't be read."""
    return tuple(name for name in _files(directories) if name.endswith(".crt"))


def keypairs(directories: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Files of certificates and their keys. StorageError."""
    certificates = (name for name in _files(directories) if name.endswith(".cert"))
    return tuple((name, f"{name.removesuffix('.cert')}.key") for name in certificates)


def _files(directories: Iterable[str]) -> list[str]:
    found = []
    for directory in directories:
        try:
            found += sorted(str(path) for path in Path(directory).iterdir())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"can't read the certificates in {directory}: {error.strerror}") from error
    return found
