"""The archive: a gzip-compressed tar with a manifest, which says what each file is and what could not be had."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import BinaryIO

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Content:
    """One file. `about` says what it is; `truncated`: only its end is there."""

    name: str
    about: str
    size: int
    sha256: str
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What could not be had, and why."""

    name: str
    about: str
    reason: str


class Bundle:
    """Made by `writing`, and lives as long. All names are below one directory."""

    def __init__(self, tar: tarfile.TarFile, top: str, moment: int) -> None:
        self._tar = tar
        self._top = top
        self._moment = moment
        self.contents: list[Content] = []
        self.missing: list[Missing] = []

    def add(self, name: str, about: str, data: bytes, *, truncated: bool = False) -> None:
        self._write(name, data)
        self.contents.append(Content(name, about, len(data), sha256(data).hexdigest(), truncated))

    def lack(self, name: str, about: str, reason: str) -> None:
        self.missing.append(Missing(name, about, reason))

    def finish(self, head: dict[str, object]) -> None:
        """Write the manifest: `head`, and what is there."""
        manifest = {
            **head,
            "contents": [asdict(each) for each in self.contents],
            "missing": [asdict(each) for each in self.missing],
        }
        self._write(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n")

    def _write(self, name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(f"{self._top}/{name}")
        entry.size, entry.mode, entry.mtime = len(data), 0o600, self._moment
        self._tar.addfile(entry, io.BytesIO(data))


@contextmanager
def writing(stream: BinaryIO, top: str, moment: int) -> Iterator[Bundle]:
    with (
        gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=6, mtime=moment) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        yield Bundle(tar, top, moment)
