"""The host's certificate authorities, for steps behind a gateway that re-signs TLS.

A bundle of the image's own certificates and the host's is shown at a neutral path, to which the tools' variables
point, and over the image's system bundle. Both are bind mounts: nothing of them stays in a layer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from boatyard.errors import NotFoundError
from boatyard.runtime.rootfs import MAX_FILE_BYTES, read_file

HOST_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

# Debian and Alpine; Red Hat (the second is what the first links to); SUSE; Alpine's libressl, Arch.
IMAGE_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

NEUTRAL_BUNDLE = "/run/boatyard/ca-certificates.crt"

# Installing the package or rebuilding the bundle replaces it by a rename, which the kernel refuses on a mount point.
# Paths that only have the name in them are not meant.
REBUILDS_BUNDLE = re.compile(r"ca-certificates(?![./\w-])|update-ca-trust|\btrust extract")

VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
)


def host_bundle(environ: Mapping[str, str] = os.environ) -> bytes:
    """The certificates this host trusts: of SSL_CERT_FILE, else of its system bundle. Raises NotFoundError when it
    has none.
    """
    candidates = (environ.get("SSL_CERT_FILE", ""), *HOST_BUNDLES)
    for candidate in candidates:
        try:
            data = Path(candidate).read_bytes() if candidate else b""
        except OSError:
            continue
        if data:
            return data
    raise NotFoundError(
        "this host has no bundle of certificate authorities to share with a step",
        hint="install the package ca-certificates, or set SSL_CERT_FILE for the daemon",
    )


def image_bundles(root: str) -> tuple[tuple[str, bytes], ...]:
    """(path, contents) of the bundles that are in a root file system."""
    found = []
    for path in IMAGE_BUNDLES:
        data = read_file(root, path, MAX_FILE_BYTES)
        if data is not None:
            found.append((path, data))
    return tuple(found)


def covers_system_bundle(args: Iterable[str]) -> bool:
    """Whether the image's own bundle may be covered while this command runs: not when the command is to replace it."""
    return not any(REBUILDS_BUNDLE.search(argument) for argument in args)


def combine(own: bytes, added: bytes) -> bytes:
    """The image's bundle with the host's behind it; each ends with a line of its own."""
    if not own.strip():
        return added
    return own.rstrip(b"\n") + b"\n" + added


def variables(env: Iterable[str], bundle: str) -> tuple[str, ...]:
    """What to add to a step's environment so that tools with a store of their own find the bundle; never over what
    the step sets.
    """
    present = {entry.partition("=")[0] for entry in env}
    return tuple(f"{name}={bundle}" for name in VARIABLES if name not in present)
