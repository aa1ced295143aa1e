"""What refers to a manifest: signatures, attestations and other artifacts with a `subject`.

Registries without the referrers API keep an index of them under a tag made of the subject's digest, which clients
maintain. Two that do so at the same moment may lose one entry: the index is read again after it was written.

Specification: OCI distribution-spec 1.1, "Referrers Tag Schema".
"""

from __future__ import annotations

import msgspec

from boatyard.errors import NotFoundError, UnavailableError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.digest import Digest
from boatyard.image.spec import Descriptor, Index
from boatyard.registry.repository import Document, Repository

_TRIES = 5


def tag(subject: Digest) -> str:
    """The name of the index in a registry without the API."""
    return f"{digests.algorithm(subject)[:32]}-{digests.encoded(subject)[:64]}"


def find(repository: Repository, subject: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
    """All that refers to a manifest, of this type if one is asked for."""
    found = repository.referrers(subject, artifact_type)
    if found is not None:
        return found
    return tuple(each for each in _listed(repository, subject) if artifact_type in ("", each.artifact_type))


def attach(repository: Repository, document: Document) -> None:
    """Push a manifest with a subject, so that it is found from there. Its blobs are in the repository already."""
    manifest = documents.parse_manifest(document.data)
    if manifest.subject is None:
        raise ValueError("a manifest without a subject refers to nothing")
    if repository.put_manifest(document):
        return
    subject = manifest.subject.digest
    entry = msgspec.structs.replace(
        document.descriptor,
        artifact_type=manifest.artifact_type or manifest.config.media_type,
        annotations=manifest.annotations,
    )
    for _ in range(_TRIES):
        listed = _listed(repository, subject)
        if any(each.digest == entry.digest for each in listed):
            return
        data = spec.encode(Index(schema_version=2, media_type=spec.OCI_INDEX, manifests=(*listed, entry)))
        index = Descriptor(media_type=spec.OCI_INDEX, digest=digests.of_bytes(data), size=len(data))
        repository.put_manifest(Document(index, data), (tag(subject),))
    if all(each.digest != entry.digest for each in _listed(repository, subject)):
        raise UnavailableError(
            f"others keep changing the list of what refers to {subject}", hint="try again when they are done"
        )


def _listed(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    try:
        return documents.parse_index(repository.manifest(tag(subject)).data).manifests
    except NotFoundError:
        return ()
