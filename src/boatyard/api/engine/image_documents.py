"""Images as Docker's API describes them, made of what the image service says of them.

Fields come and go with the API's versions (docs.docker.com, "Engine API version history"); the functions take the
request's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from boatyard.api.engine.services import ManifestDetail
from boatyard.api.engine.version import Version
from boatyard.client.documents.images import ImageDetail, ImageHistoryEntry, ImageSummary
from boatyard.image import reference as references
from boatyard.image.timestamp import rfc3339

NOT_COUNTED = -1
_NO_TIME = "0001-01-01T00:00:00Z"
_CONTAINER_CONFIG: Mapping[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
"""What a container's configuration has: until 1.50, an image's was one of these."""


def summary(
    image: ImageSummary,
    version: Version,
    *,
    shared_size: int = NOT_COUNTED,
    containers: int = NOT_COUNTED,
    manifests: Iterable[ManifestDetail] | None = None,
) -> dict[str, Any]:
    tags, digests = list(image.names), repo_digests(image)
    if version < (1, 43) and not tags and not digests:
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    document: dict[str, Any] = {
        "Containers": containers,
        "Created": int(image.created or 0),
        "Id": image.id,
        "Labels": image.labels or None,
        "ParentId": "",
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared_size,
        "Size": image.size,
    }
    if version < (1, 44):
        document["VirtualSize"] = image.size
    if version >= (1, 48):
        document["Descriptor"] = image.descriptor
    if manifests is not None:
        document["Manifests"] = [manifest_summary(manifest) for manifest in manifests]
    return document


def repo_digests(image: ImageSummary) -> list[str]:
    """The image's names by digest: they find it here, and stay true when a tag moves on."""
    repositories = dict.fromkeys(references.parse(name).familiar_name() for name in image.names)
    return [f"{repository}@{image.digest}" for repository in repositories]


def manifest_summary(manifest: ManifestDetail) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ID": manifest.descriptor.digest,
        "Descriptor": manifest.descriptor,
        "Available": manifest.available,
        "Size": {"Content": manifest.content_size, "Total": manifest.content_size + manifest.unpacked_size},
        "Kind": manifest.kind,
    }
    if manifest.kind == "image":
        document["ImageData"] = {
            "Platform": manifest.descriptor.platform,
            "Size": {"Unpacked": manifest.unpacked_size},
            "Containers": [],
        }
    elif manifest.kind == "attestation":
        document["AttestationData"] = {"For": manifest.subject}
    return document


def inspection(
    image: ImageDetail, version: Version, driver: str, manifests: Iterable[ManifestDetail] | None
) -> dict[str, Any]:
    config = image.config
    run = config.get("config") or {}
    created = config.get("created", "") or ("" if version >= (1, 44) else _NO_TIME)
    document: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.names),
        "RepoDigests": repo_digests(image),
        "Parent": "",
        "Comment": _last_comment(config),
        "DockerVersion": "",
        "Author": config.get("author", ""),
        "Config": run if version >= (1, 50) else {**_CONTAINER_CONFIG, **run},
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os", ""),
        "Size": image.size,
        "GraphDriver": {"Name": driver, "Data": None},
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "Metadata": {"LastTagTime": rfc3339(image.stored) if image.stored and image.names else _NO_TIME},
    }
    for name, value in (
        ("Created", created),
        ("Variant", config.get("variant")),
        ("OsVersion", config.get("os.version")),
        ("VirtualSize", image.size if version < (1, 44) else 0),
    ):
        if value:
            document[name] = value
    if version < (1, 45):
        document |= {"Container": "", "ContainerConfig": dict(_CONTAINER_CONFIG)}
    if version >= (1, 48):
        document["Descriptor"] = image.descriptor
    if manifests is not None:
        document["Manifests"] = [manifest_summary(manifest) for manifest in manifests]
    return document


def _last_comment(config: Mapping[str, Any]) -> str:
    history = config.get("history") or [{}]
    return str(history[-1].get("comment", ""))


def history(entries: Iterable[ImageHistoryEntry], id: str) -> list[dict[str, Any]]:
    """The newest first. Only the image itself has an ID: its steps are no images."""
    return [
        {
            "Id": "<missing>" if number else id,
            "Created": int(entry.created or 0),
            "CreatedBy": entry.created_by,
            "Tags": list(entry.tags) or None,
            "Size": entry.size,
            "Comment": entry.comment,
        }
        for number, entry in enumerate(entries)
    ]
