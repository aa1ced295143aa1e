"""The http source: one file from a URL, as a layer with that file in its root.

What was downloaded is kept below the daemon's directory with the ETag and Last-Modified it came with, and revalidated:
a server that answers "not modified" costs one request. With a checksum that is here already, there is no request at
all. The host `buildkit-session` is the client itself: what it streams (a context on its standard input) is read from
the requester.

Attributes: moby/buildkit `solver/pb/attr.go` (http.checksum, http.filename, http.perm, http.uid, http.gid,
http.header.*).
"""

from __future__ import annotations

import asyncio
import email.message
import hashlib
import http.client
import os
import re
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from boatyard import __version__
from boatyard.build.llb.graph import SourceOp
from boatyard.build.requester import Requester
from boatyard.build.result import LayersResult, Result
from boatyard.build.solver.types import CacheMap, StepContext
from boatyard.build.source import address
from boatyard.build.source.meta import HttpMeta, MetaQuestion, SourceMeta
from boatyard.build.source.occupancy import Occupancy
from boatyard.errors import (
    CancelledBuildError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.image.interruption import run_settled
from boatyard.image.layer.store import LayerStore

SESSION_HOST = "buildkit-session"
TIMEOUT = 60.0
"""Seconds without a byte after which a server counts as stalled."""
CHUNK = 256 << 10
LONGEST_NAME = 255
"""Bytes of a file name."""

_Progress = Callable[[int, int], None]
"""Takes bytes so far and bytes in all (0: unknown)."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Download(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a downloaded file; `about.json` beside it."""

    url: str
    digest: str
    size: int
    etag: str = ""
    last_modified: str = ""
    filename: str = ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To http(s) only; credentials go to the host that they are for, and to no other."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        target = urllib.parse.urlsplit(newurl)
        if target.scheme not in ("http", "https"):
            raise UnsupportedError(
                f"{address.shown(req.full_url)} leads to {target.scheme}:, which is not followed",
                hint="name the place where the file is",
            )
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and target.netloc != urllib.parse.urlsplit(req.full_url).netloc:
            request.headers.pop("Authorization", None)
        return request


class _Connection:
    """What a download reads from, so that another thread can end it: a read doesn't look at anything."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def opened(self, response: http.client.HTTPResponse) -> None:
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(response.fileno()))
        self.check()

    def check(self) -> None:
        if self._stopped.is_set():
            raise CancelledBuildError("the build was cancelled")

    def stop(self) -> None:
        """The download ends with CancelledBuildError, if it hasn't ended."""
        self._stopped.set()
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the server was quicker
                self._socket.close()
                self._socket = None


class HttpStep:
    """The op of one http(s) vertex in one build."""

    def __init__(
        self,
        identifier: str,
        attrs: Mapping[str, str],
        requester: Requester,
        layers: LayerStore,
        directory: Path,
        occupancy: Occupancy,
    ) -> None:
        if attrs.get("http.sig.pubkey"):
            raise UnsupportedError("verifying a download's signature is not supported yet", hint="use --checksum")
        self._source = SourceOp(identifier, attrs)
        self._url = identifier
        self._shown = address.shown(identifier)
        self._attrs = attrs
        self._requester = requester
        self._layers = layers
        self._checksum = digests.parse(attrs["http.checksum"]) if attrs.get("http.checksum") else None
        key = "\0".join([identifier, *sorted(f"{k}={v}" for k, v in attrs.items() if k.startswith("http.header."))])
        self._directory = directory / "http" / hashlib.sha256(key.encode()).hexdigest()[:32]
        self._occupancy = occupancy
        self._download: Download | None = None

    async def cache_map(self, step: StepContext) -> CacheMap:
        # One at a time: the next one finds it, and asks whether it is new.
        async with self._occupancy.turn(self._directory):
            self._download = download = await self._fetch(step)
            await asyncio.to_thread(os.utime, self._directory)  # pruning goes by this
        parts = {
            "the URL": self._shown,
            "the content": download.digest,
            "the file name": self._filename(download),
            "the file's mode and owner": f"{self._mode():o} {self._owner()}",
            "the time of its last change": download.last_modified,
        }
        keyed = [value for name, value in parts.items() if name != "the URL"]
        return CacheMap(digest=f"http {hashlib.sha256(repr(keyed).encode()).hexdigest()}", components=parts)

    async def source_time(self) -> int | None:
        """The server's Last-Modified, in seconds since the epoch."""
        known = self._download and self._download.last_modified
        return int(_seconds(known)) if known else None

    async def describe(self, question: MetaQuestion) -> SourceMeta:
        download = self._download
        assert download is not None
        meta = HttpMeta(Digest(download.digest), self._filename(download), await self.source_time())
        if question.checksum:
            async with self._occupancy.turn(self._directory):
                asked = await asyncio.to_thread(self._checksum_of, question.checksum, question.suffix)
            meta = replace(meta, asked=asked, suffix=question.suffix)
        return SourceMeta(self._source, http=meta)

    def _checksum_of(self, algorithm: str, suffix: bytes) -> str:
        if algorithm not in ("sha256", "sha384", "sha512"):
            raise InvalidError(f"can't make a checksum by {algorithm!r}", hint="sha256, sha384 or sha512")
        with open(self._directory / "data", "rb") as file:
            hasher = hashlib.file_digest(file, algorithm)
        hasher.update(suffix)
        return f"{algorithm}:{hasher.hexdigest()}"

    async def execute(self, step: StepContext, inputs: Sequence[Result]) -> Sequence[Result]:
        download = self._download
        assert download is not None
        async with self._occupancy.turn(self._directory):
            kept = self._kept()
            if kept is None or kept.digest != download.digest:
                # It was pruned since, or another build found something newer there.
                kept = await self._fetch(step)
            if kept.digest != download.digest:
                raise IntegrityError(f"{self._shown} changed while it was being used", hint="build again")
            return [await run_settled(self._make_layer, download)]

    def _make_layer(self, download: Download) -> LayersResult:
        snapshotter = self._layers.snapshotter
        active = snapshotter.prepare()
        try:
            target = snapshotter.directory(active) / self._filename(download)
            hasher = hashlib.new(digests.algorithm(digests.parse(download.digest)))
            with open(self._directory / "data", "rb") as source, open(target, "xb") as file:
                while chunk := source.read(CHUNK):
                    hasher.update(chunk)
                    file.write(chunk)
            if digests.of_hash(hasher) != download.digest:
                (self._directory / "about.json").unlink(missing_ok=True)
                raise IntegrityError(
                    f"the kept download of {self._shown} is damaged", hint="build again: it will be fetched anew"
                )
            os.chown(target, *self._owner())
            os.chmod(target, self._mode())
            moment = _seconds(download.last_modified)
            os.utime(target, (moment, moment))
            return LayersResult((self._layers.add(active),), self._layers)
        except BaseException:
            snapshotter.remove(active)
            raise

    def _mode(self) -> int:
        return int(self._attrs.get("http.perm") or "0600", 8)

    def _owner(self) -> tuple[int, int]:
        return int(self._attrs.get("http.uid") or 0), int(self._attrs.get("http.gid") or 0)

    def _filename(self, download: Download) -> str:
        name = (
            self._attrs.get("http.filename")
            or download.filename
            or os.path.basename(urllib.parse.urlsplit(self._url).path)
        )
        name = os.path.basename(urllib.parse.unquote(name))
        usable = name not in ("", ".", "..") and "\0" not in name and len(os.fsencode(name)) <= LONGEST_NAME
        return name if usable else "download"

    async def _fetch(self, step: StepContext) -> Download:
        kept = self._kept()
        if kept and self._checksum and kept.digest == self._checksum:
            return kept
        if urllib.parse.urlsplit(self._url).hostname == SESSION_HOST:
            return await self._upload(step)
        headers = await self._headers()
        connection = _Connection()
        loop = asyncio.get_running_loop()

        def progress(current: int, total: int) -> None:
            loop.call_soon_threadsafe(step.status, self._shown, "downloading", current, total)

        try:
            return await asyncio.to_thread(self._get, headers, kept, progress, connection)
        finally:
            connection.stop()  # a thread can't be cancelled

    async def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": f"boatyard/{__version__}", "Accept-Encoding": "identity"}
        for name, value in self._attrs.items():
            if name.startswith("http.header."):
                headers[name.removeprefix("http.header.")] = value
        url, basic = address.without_credentials(self._url)
        if basic:
            headers["Authorization"] = basic
        host = urllib.parse.urlsplit(url).netloc
        named = self._attrs.get("http.authheadersecret")
        for id in [named] if named else [f"HTTP_AUTH_HEADER_{host}", f"HTTP_AUTH_TOKEN_{host}"]:
            if (secret := await self._requester.secret(id)) is not None:
                value = secret.decode().strip()
                headers["Authorization"] = f"Bearer {value}" if "_TOKEN_" in id else value
                break
        return headers

    def _get(
        self, headers: Mapping[str, str], kept: Download | None, progress: _Progress, connection: _Connection
    ) -> Download:
        request = urllib.request.Request(address.without_credentials(self._url)[0], headers=dict(headers))
        if kept and kept.etag:
            request.add_header("If-None-Match", kept.etag)
        if kept and kept.last_modified:
            request.add_header("If-Modified-Since", kept.last_modified)
        try:
            with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT) as response:
                connection.opened(response)
                return self._keep(response, response.headers, progress, connection)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 304 and kept:
                    self._verify(kept.digest)
                    return kept
                kind = NotFoundError if error.code in (404, 410) else UnavailableError
                raise kind(f"{self._shown} answers {error.code} {error.reason}", hint="is the URL right?") from error
        except TimeoutError as error:
            raise UnavailableError(
                f"can't download {self._shown}: nothing came for {TIMEOUT:g} seconds", hint="build again"
            ) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            connection.check()
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise UnavailableError(
                f"can't download {self._shown}: {getattr(reason, 'strerror', None) or reason}",
                hint="is the network there? Proxies are taken from HTTP_PROXY and the like",
            ) from error
        except ValueError as error:
            raise InvalidError(f"can't download {self._shown}: {error}") from error

    async def _upload(self, step: StepContext) -> Download:
        id = urllib.parse.urlsplit(self._url).path.strip("/")
        stream = await self._requester.upload(id)
        if stream is None:
            raise NotFoundError(f"the client offers no upload {id!r}")
        loop = asyncio.get_running_loop()

        def progress(current: int, total: int) -> None:
            loop.call_soon_threadsafe(step.status, "context", "transferring context:", current, total)

        def read() -> Download:
            with open(stream, "rb", buffering=0) as source:
                return self._keep(source, email.message.Message(), progress, _Connection())

        return await asyncio.to_thread(read)

    def _keep(
        self, source: _Readable, headers: email.message.Message, progress: _Progress, connection: _Connection
    ) -> Download:
        """Read to the end, verify, and put it in the place of what was kept."""
        self._directory.mkdir(parents=True, exist_ok=True)
        temporary = self._directory / f"data.{os.urandom(6).hex()}"
        hasher = hashlib.new(digests.algorithm(self._checksum) if self._checksum else "sha256")
        size = 0
        total = int(headers.get("Content-Length") or 0)
        try:
            with open(temporary, "xb") as file:
                while chunk := source.read(CHUNK):
                    connection.check()
                    hasher.update(chunk)
                    file.write(chunk)
                    size += len(chunk)
                    progress(size, total)
            connection.check()
            if total and size != total:
                raise UnavailableError(f"{self._shown} ended after {size} of {total} bytes", hint="build again")
            download = Download(
                url=self._shown,
                digest=digests.of_hash(hasher),
                size=size,
                etag=headers.get("ETag") or "",
                last_modified=headers.get("Last-Modified") or "",
                filename=_disposition(headers.get("Content-Disposition") or ""),
            )
            self._verify(download.digest)
            os.replace(temporary, self._directory / "data")
            (self._directory / "about.json").write_bytes(msgspec.json.encode(download))
            return download
        finally:
            temporary.unlink(missing_ok=True)

    def _verify(self, digest: str) -> None:
        if self._checksum and digest != self._checksum:
            raise IntegrityError(
                f"{self._shown} has the digest {digest}, but the checksum asks for {self._checksum}",
                hint="correct --checksum if the file was meant to change",
            )

    def _kept(self) -> Download | None:
        try:
            kept = msgspec.json.decode((self._directory / "about.json").read_bytes(), type=Download)
            return kept if (self._directory / "data").stat().st_size == kept.size else None
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def _disposition(header: str) -> str:
    match = re.search(r"filename\*?=(?:UTF-8'')?\"?([^\";]+)", header, re.IGNORECASE)
    return urllib.parse.unquote(match[1]) if match else ""


def _seconds(last_modified: str) -> float:
    try:
        return parsedate_to_datetime(last_modified).timestamp() if last_modified else 0.0
    except ValueError:
        return 0.0
