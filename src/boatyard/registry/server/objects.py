"""Blobs in an S3-compatible store: objects named as the files of an OCI image layout. Blocking and thread-safe.

An object is there when its upload has ended, and not before: what is in several parts appears with the last call.

Specification: Amazon S3, REST API (PutObject, multipart uploads, GetObject, HeadObject, DeleteObject, ListObjectsV2).
"""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import urllib3

from boatyard.errors import InvalidError, NotFoundError, StorageError
from boatyard.image import digest as digests
from boatyard.image.content.store import BlobInfo
from boatyard.image.digest import Digest
from boatyard.registry.server import signature
from boatyard.registry.server.signature import Key

PART = 32 << 20
"""Bytes of a part; what is no longer is sent in one."""
_ANSWER = 16 << 20
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Bucket:
    """`endpoint`: http(s)://HOST[:PORT]; the bucket is the first part of the path. `prefix`: of all names."""

    endpoint: str
    name: str
    key: Key
    prefix: str = ""


def bucket_of(url: str, environment: Mapping[str, str]) -> Bucket:
    """From `s3+https://HOST[:PORT]/BUCKET[/PREFIX]` and AWS's environment variables. InvalidError."""
    parts = urlsplit(url)
    name, _, prefix = parts.path.strip("/").partition("/")
    if parts.scheme not in ("s3+http", "s3+https") or not parts.netloc or not name:
        raise InvalidError(
            f"{url!r} names no bucket", hint="write s3+https://HOST/BUCKET or s3+http://HOST/BUCKET/PREFIX"
        )
    id, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not id or not secret:
        raise InvalidError(
            f"there are no keys for {parts.netloc}", hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    key = Key(id, secret, region, environment.get("AWS_SESSION_TOKEN", ""))
    return Bucket(f"{parts.scheme[3:]}://{parts.netloc}", name, key, f"{prefix}/" if prefix else "")


class Objects:
    """One per process."""

    def __init__(self, bucket: Bucket, *, clock: Callable[[], float] = time.time) -> None:
        self._bucket = bucket
        self._clock = clock
        self._pool = urllib3.PoolManager(
            maxsize=32, retries=False, timeout=urllib3.Timeout(connect=10, read=60), block=False
        )

    def put(self, digest: Digest, file: int, size: int) -> None:
        """`size` bytes of an open file. StorageError."""
        name = self._name(digest)
        if size <= PART:
            self._call("PUT", name, body=os.pread(file, size, 0) if size else b"")
            return
        begun = _parsed(self._call("POST", name, [("uploads", "")]))
        upload = _text(begun, "UploadId")
        try:
            tags = []
            for number, offset in enumerate(range(0, size, PART), 1):
                query = [("partNumber", str(number)), ("uploadId", upload)]
                answer = self._call("PUT", name, query, body=os.pread(file, min(PART, size - offset), offset))
                tags.append((number, answer.headers.get("ETag", "")))
            parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in tags)
            document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
            # This call answers 200 before it knows: what went wrong stands in the body.
            done = self._call("POST", name, [("uploadId", upload)], body=document)
            if _parsed(done).tag.endswith("Error"):
                raise StorageError(f"the store can't put {digest} together: {_said(done.data)}")
        except BaseException:
            self._call("DELETE", name, [("uploadId", upload)], good=(204, 404))
            raise

    def stream(self, digest: Digest, first: int, count: int, piece: int) -> Generator[bytes, None, None]:
        """NotFoundError; StorageError when the store ends early."""
        if not count:
            return
        headers = {"Range": f"bytes={first}-{first + count - 1}"}
        answer = self._call("GET", self._name(digest), headers=headers, good=(200, 206), stream=True)
        left = count
        try:
            for data in answer.stream(piece, decode_content=False):
                left -= len(data)
                yield data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StorageError(f"the store stopped sending {digest}: {error}") from error
        finally:
            answer.close() if left else answer.release_conn()
        if left:
            raise StorageError(f"the store sends {count - left} bytes of {digest} in place of {count}")

    def read(self, digest: Digest) -> bytes:
        """A small one. NotFoundError."""
        return bytes(self._call("GET", self._name(digest)).data)

    def info(self, digest: Digest) -> BlobInfo | None:
        try:
            answer = self._call("HEAD", self._name(digest))
        except NotFoundError:
            return None
        modified = email.utils.parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp()
        return BlobInfo(digest, int(answer.headers["Content-Length"]), modified)

    def delete(self, digest: Digest) -> None:
        self._call("DELETE", self._name(digest), good=(200, 204, 404))

    def walk(self) -> Iterator[BlobInfo]:
        token = ""
        while True:
            query = [("list-type", "2"), ("prefix", f"{self._bucket.prefix}blobs/")]
            found = _parsed(self._call("GET", "", [*query, ("continuation-token", token)] if token else query))
            for entry in found.iterfind("{*}Contents"):
                algorithm, _, encoded = _text(entry, "Key").rpartition("blobs/")[2].partition("/")
                if digests.is_digest(name := f"{algorithm}:{encoded}"):
                    modified = _moment(_text(entry, "LastModified"))
                    yield BlobInfo(Digest(name), int(_text(entry, "Size")), modified)
            token = found.findtext("{*}NextContinuationToken") or ""
            if not token:
                return

    def _name(self, digest: Digest) -> str:
        return f"{self._bucket.prefix}blobs/{digests.algorithm(digest)}/{digests.encoded(digest)}"

    def _call(
        self,
        method: str,
        name: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        good: Sequence[int] = (200,),
        stream: bool = False,
    ) -> Any:
        """Tried again when the store is busy or away. NotFoundError, StorageError."""
        path = f"/{self._bucket.name}/{name}" if name else f"/{self._bucket.name}"
        url = f"{self._bucket.endpoint}{quote(path, safe='/-_.~')}"
        url += f"?{signature.encoded(query)}" if query else ""
        host = urlsplit(url).netloc
        for number in range(1, _TRIES + 1):
            signed = signature.headers(self._bucket.key, method, host, path, query, self._clock(), more=headers or {})
            try:
                answer = self._pool.request(
                    method, url, body=body, headers={**(headers or {}), **signed}, preload_content=not stream
                )
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if number == _TRIES:
                    raise StorageError(f"can't reach the store at {host}: {error}") from error
            else:
                if answer.status in good:
                    return answer
                said = _said(answer.read(_ANSWER) if stream else answer.data)
                if answer.status == 404:
                    raise NotFoundError(f"the store has no {name}: {said}")
                if answer.status < 500 or number == _TRIES:
                    raise StorageError(f"the store answers {answer.status} for {method} {name}: {said}")
            time.sleep(0.1 * 2**number)
        raise AssertionError


def _parsed(answer: Any) -> ElementTree.Element:
    if b"<!DOCTYPE" in answer.data[:1000] or len(answer.data) > _ANSWER:
        raise StorageError("the store answers something else than S3's documents")
    try:
        return ElementTree.fromstring(answer.data)
    except ElementTree.ParseError as error:
        raise StorageError("the store answers something else than S3's documents") from error


def _text(element: ElementTree.Element, name: str) -> str:
    found = element.findtext(f"{{*}}{name}")
    if found is None:
        raise StorageError(f"the store's answer has no {name}")
    return found


def _moment(text: str) -> float:
    import datetime

    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _said(data: bytes) -> str:
    found = re.search(rb"<Message>([^<]{1,300})", data)
    return found[1].decode("utf-8", "replace") if found else ""
