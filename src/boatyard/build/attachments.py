"""Documents that belong to builds of the past, as blobs: logs, results, whatever a face of the daemon keeps of them.

Beside a record, `attachments.json` names them, and `blobs/HEX` holds their bytes. They go with the record.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from boatyard.errors import IntegrityError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image.digest import Digest

_NAMES = "attachments.json"
_DRAFT = "attachments.json.new"
_BLOBS = "blobs"
_RECORDS = "[!.]*"
"""What is being deleted begins with a dot."""


class Attachment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    media_type: str
    digest: Digest
    size: int
    annotations: dict[str, str] = {}


_known = msgspec.json.Decoder(dict[str, Attachment])


class Attachments:
    """Those of all builds; part of the history. Everything blocks, and is thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._changing = threading.Lock()

    def add(
        self, ref: str, name: str, media_type: str, data: bytes, annotations: Mapping[str, str] | None = None
    ) -> Attachment:
        """In the place of an earlier one of that name. NotFoundError when there is no record (any more)."""
        directory = self._root / ref
        digest = digests.of_bytes(data)
        attachment = Attachment(
            media_type=media_type, digest=digest, size=len(data), annotations=dict(annotations or {})
        )
        with self._changing:
            try:
                (directory / _BLOBS).mkdir(exist_ok=True)
                draft = directory / _DRAFT
                draft.write_bytes(data)
                os.replace(draft, directory / _BLOBS / digests.encoded(digest))
                draft.write_bytes(msgspec.json.encode({**self.of(ref), name: attachment}))
                os.replace(draft, directory / _NAMES)
            except FileNotFoundError as error:
                raise NotFoundError(f"no build {ref!r} in the history") from error
        return attachment

    def of(self, ref: str) -> Mapping[str, Attachment]:
        """By name."""
        try:
            return _known.decode((self._root / ref / _NAMES).read_bytes())
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise IntegrityError(f"the attachments of build {ref} are damaged on disk") from error

    def find(self, digest: Digest) -> Path | None:
        """Where the bytes are."""
        return next(self._root.glob(f"{_RECORDS}/{_BLOBS}/{digests.encoded(digest)}"), None)

    def walk(self) -> Iterator[tuple[Digest, Path]]:
        """Each once."""
        seen = set()
        for path in sorted(self._root.glob(f"{_RECORDS}/{_BLOBS}/*")):
            if path.name not in seen:
                seen.add(path.name)
                yield Digest(f"sha256:{path.name}"), path


def clear(directory: Path) -> None:
    """What was half made when an earlier process ended."""
    (directory / _DRAFT).unlink(missing_ok=True)
