"""Which image an OCI layout directory holds, for `--build-context NAME=oci-layout://DIRECTORY[:TAG][@DIGEST]`: the
frontend wants a digest.

Specification: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import json
from typing import Any

from boatyard.errors import InvalidError, NotFoundError

_REF_NAME = "org.opencontainers.image.ref.name"


def split(text: str) -> tuple[str, str, str]:
    """Directory, tag and digest; "" for what isn't there."""
    path, _, digest = text.partition("@")
    head, slash, last = path.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag, digest


def resolve(directory: str, tag: str) -> str:
    """The digest that `tag` names; without a tag, `latest` or the only image there is."""
    try:
        with open(f"{directory}/index.json", "rb") as file:
            manifests = json.load(file)["manifests"]
        found = {_tag(manifest): str(manifest["digest"]) for manifest in manifests}
    except OSError as error:
        raise NotFoundError(
            f"{directory} is no OCI layout: can't read its index.json: {error.strerror}",
            hint="name the layout's directory",
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidError(f"{directory} is no OCI layout: its index.json is malformed") from error
    wanted = tag or "latest"
    if wanted in found:
        return found[wanted]
    if not tag and len(manifests) == 1:
        return next(iter(found.values()))
    known = ", ".join(sorted(filter(None, found))) or "none with a tag"
    kind = f"tagged {tag!r}" if tag else "without a tag"
    raise NotFoundError(f"the OCI layout {directory} has no image {kind}", hint=f"there are: {known}")


def _tag(manifest: Any) -> str:
    return str((manifest.get("annotations") or {}).get(_REF_NAME, "")).rpartition(":")[2]
