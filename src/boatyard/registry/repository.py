"""The distribution API on one repository: every call once, with who may do it and what its answers mean.

Reads go to the mirrors first, and to the registry itself for what no mirror has; writes go to the registry.

Specification: OCI distribution-spec 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from boatyard.errors import (
    BoatyardError,
    DeniedError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.digest import Digest
from boatyard.image.interruption import Stop
from boatyard.image.reference import Reference
from boatyard.image.spec import Descriptor
from boatyard.registry import challenge as challenges
from boatyard.registry.hosts import Endpoint, Hosts
from boatyard.registry.request import Body, Request
from boatyard.registry.tokens import Tokens, denied

if TYPE_CHECKING:
    from boatyard.registry.transport import Response, Transport

ACCEPTED = ", ".join((spec.OCI_INDEX, spec.OCI_MANIFEST, spec.DOCKER_INDEX, spec.DOCKER_MANIFEST))
_ERROR_BYTES = 64 << 10
_MOST_PAGES = 10_000
_Answer = TypeVar("_Answer")


class _Error(msgspec.Struct):
    code: str = ""
    message: str | None = ""
    detail: object = None


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index, byte for byte."""

    descriptor: Descriptor
    data: bytes


@dataclass(frozen=True, slots=True)
class Upload:
    """Where the rest of a blob goes. `offset`: bytes that are there."""

    url: str
    offset: int = 0


class Registries:
    """A client's view of all registries: how they are reached, and with whose credentials. Thread-safe."""

    def __init__(self, transport: Transport, hosts: Hosts, tokens: Tokens) -> None:
        self.transport = transport
        self.hosts = hosts
        self.tokens = tokens

    def check(self, domain: str, stop: Stop) -> None:
        """Whether a registry is one and takes the credentials. DeniedError, UnavailableError."""
        endpoint = self.hosts.origin(domain)
        name = Reference(domain, "_")
        with Repository(self, name, stop).call(endpoint, Request("GET", f"{endpoint.base}/v2/")) as response:
            if response.status in (401, 403):
                raise denied(domain, self.tokens.known(domain))
            if response.status != 200:
                raise UnavailableError(f"{domain} is no registry: it answers {response.status} for /v2/")

    def repository(self, reference: Reference, stop: Stop) -> Repository:
        """`stop`: what is under way ends with CancelledBuildError when it is set."""
        return Repository(self, reference.repository(), stop)


class Repository:
    """Calls block. What they raise: NotFoundError, DeniedError, UnavailableError, IntegrityError."""

    def __init__(self, registries: Registries, name: Reference, stop: Stop) -> None:
        self.name = name
        self.stop = stop
        self._registries = registries

    # Manifests

    def resolve(self, wanted: str) -> Descriptor:
        """The descriptor of a tag or digest, without its document where the registry tells enough."""

        def ask(endpoint: Endpoint) -> Descriptor:
            request = Request("HEAD", self._url(endpoint, f"manifests/{wanted}"), {"Accept": ACCEPTED})
            with self._call(endpoint, request, "pull") as response:
                self._check(response, (200,), f"{self._shown(wanted)}")
                media_type = _media_type(response)
                digest = response.headers.get("Docker-Content-Digest", "")
                size = response.length
                if digests.is_digest(wanted):
                    digest = wanted
            if size is None or not digests.is_digest(digest) or media_type not in spec.INDEXES | spec.MANIFESTS:
                return self._manifest(endpoint, wanted).descriptor
            return Descriptor(media_type=media_type, digest=Digest(digest), size=size)

        return self._from_any(ask)

    def manifest(self, wanted: str) -> Document:
        """The document under a tag or digest; its digest is verified when one was asked for."""
        return self._from_any(lambda endpoint: self._manifest(endpoint, wanted))

    def _manifest(self, endpoint: Endpoint, wanted: str) -> Document:
        request = Request("GET", self._url(endpoint, f"manifests/{wanted}"), {"Accept": ACCEPTED})
        with self._call(endpoint, request, "pull") as response:
            self._check(response, (200,), self._shown(wanted))
            data = response.read(documents.LARGEST)
            told = _media_type(response)
        expected = wanted if digests.is_digest(wanted) else ""
        digest = digests.of_bytes(data, digests.algorithm(Digest(expected)) if expected else "sha256")
        if expected and digest != expected:
            raise IntegrityError(
                f"{self.name.domain} sends {digest} for {self._shown(wanted)}",
                hint="it, or something on the way, is damaged or forges images",
            )
        if told == "application/vnd.docker.distribution.manifest.v1+prettyjws":
            raise UnsupportedError(
                f"{self._shown(wanted)} is in Docker's schema 1, which was given up in 2019",
                hint="pull and push it with Docker 20.10",
            )
        media_type = documents.media_type_of(data)
        return Document(Descriptor(media_type=media_type, digest=digest, size=len(data)), data)

    def put_manifest(self, document: Document, names: Sequence[str] = ()) -> bool:
        """Under its digest, and under tags. Whether the registry keeps track of what refers to its subject."""
        tracked = False
        for name in names or (document.descriptor.digest,):
            endpoint = self._origin
            request = Request(
                "PUT",
                self._url(endpoint, f"manifests/{name}"),
                {"Content-Type": document.descriptor.media_type},
                body=document.data,
            )
            with self._call(endpoint, request, "pull,push") as response:
                self._check(response, (200, 201, 202), self._shown(name))
                tracked = "OCI-Subject" in response.headers
        return tracked

    def delete_manifest(self, wanted: str) -> None:
        """A digest with all its tags, or (where the registry can) one tag."""
        request = Request("DELETE", self._url(self._origin, f"manifests/{wanted}"))
        with self._call(self._origin, request, "delete") as response:
            if response.status in (400, 405):
                raise UnsupportedError(
                    f"{self.name.domain} doesn't delete {'manifests' if ':' in wanted else 'tags'}",
                    hint="whoever runs it can allow that",
                )
            self._check(response, (202, 200, 204), self._shown(wanted))

    def tags(self) -> list[str]:
        found: list[str] = []
        for body in self._pages("tags/list", "pull", f"repository {self.name.familiar()}"):
            try:
                found += msgspec.json.decode(body, type=_Tags).tags or ()
            except msgspec.MsgspecError as error:
                raise UnavailableError(f"{self.name.domain} sends something else than a list of tags") from error
        return found

    def referrers(self, subject: Digest, artifact_type: str = "") -> tuple[Descriptor, ...] | None:
        """What refers to a manifest, by the API; None where the registry has none."""
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        found: list[Descriptor] = []
        try:
            for body in self._pages(f"referrers/{subject}{query}", "pull", f"the referrers of {subject}"):
                found += documents.parse_index(body).manifests
        except (NotFoundError, UnsupportedError):
            return None
        return tuple(each for each in found if artifact_type in ("", each.artifact_type))

    # Blobs

    def has_blob(self, digest: Digest, *, actions: str = "pull") -> bool:
        """`actions`: what else is to be done here, so that one token does for all."""
        request = Request("HEAD", self._url(self._origin, f"blobs/{digest}"))
        with self._call(self._origin, request, actions) as response:
            if response.status == 404:
                return False
            self._check(response, (200,), f"blob {digest}")
            return True

    @contextmanager
    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[tuple[Response, int]]:
        """An answer with the blob's bytes, and where they begin: at `offset` if the server can do that, else at 0."""
        headers = {"Accept": "*/*"}
        if offset:
            headers["Range"] = f"bytes={offset}-"

        def ask(endpoint: Endpoint) -> Response:
            url = self._url(endpoint, f"blobs/{descriptor.digest}")
            response = self._call(endpoint, Request("GET", url, headers), "pull")
            try:
                self._check(response, (200, 206), f"blob {descriptor.digest}")
            except BaseException:
                response.close()
                raise
            return response

        with self._from_any(ask) as response:
            begin = 0
            if response.status == 206:
                match = re.match(r"bytes (\d{1,19})-", response.headers.get("Content-Range", ""))
                begin = int(match[1]) if match else -1
                if begin != offset:
                    raise UnavailableError(f"{self.name.domain} sends another range than was asked for")
            yield response, begin

    def mount(self, digest: Digest, source: Reference | None) -> Upload | None:
        """Take a blob from another repository of the registry, or begin to upload it; None when it is there."""
        query: dict[str, str] = {}
        scopes = [f"repository:{self.name.path}:pull,push"]
        if source is not None and source.domain == self.name.domain and source.path != self.name.path:
            query = {"mount": digest, "from": source.path}
            scopes.append(f"repository:{source.path}:pull")
        url = self._url(self._origin, "blobs/uploads/") + (f"?{urlencode(query)}" if query else "")
        request = Request("POST", url, {"Content-Length": "0"})
        with self._authorised(self._origin, request, scopes) as response:
            if response.status == 201 and query:
                return None
            self._check(response, (202,), f"an upload to {self.name.familiar_name()}")
            return self._upload(response)

    def finish_upload(self, upload: Upload, digest: Digest, body: Body, length: int) -> None:
        """Send the rest of a blob."""
        url = f"{upload.url}{'&' if urlsplit(upload.url).query else '?'}{urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        request = Request("PUT", url, headers, body=body, length=length, repeatable=False, redirected=False)
        with self._call(self._origin, request, "pull,push") as response:
            self._check(response, (201, 204), f"blob {digest}")

    def upload_piece(self, upload: Upload, data: Callable[[], IO[bytes]] | bytes, length: int) -> Upload:
        """Send a part of a blob, in order."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{upload.offset}-{upload.offset + length - 1}",
        }
        request = Request("PATCH", upload.url, headers, body=data, length=length, repeatable=False, redirected=False)
        with self._call(self._origin, request, "pull,push") as response:
            self._check(response, (202,), f"an upload to {self.name.familiar_name()}")
            return self._upload(response, upload.offset + length)

    def upload_status(self, upload: Upload) -> Upload:
        """How much of an upload has arrived. NotFoundError when the registry knows nothing of it (any more)."""
        with self._call(self._origin, Request("GET", upload.url), "pull,push") as response:
            self._check(response, (204,), f"an upload to {self.name.familiar_name()}")
            last = re.fullmatch(r"(?:bytes=)?0-(\d{1,19})", response.headers.get("Range", ""))
            # Nothing and one byte look the same: "0-0".
            offset = int(last[1]) + 1 if last and last[1] != "0" else 0
            return self._upload(response, offset)

    def cancel_upload(self, upload: Upload) -> None:
        with self._call(self._origin, Request("DELETE", upload.url, repeatable=False), "pull,push"):
            pass  # whatever it answers, nothing more can be done

    def _upload(self, response: Response, offset: int = 0) -> Upload:
        location = response.headers.get("Location", "")
        if not location:
            raise UnavailableError(f"{self.name.domain} doesn't say where to upload to")
        return Upload(urljoin(response.url, location), offset)

    # The way of a call

    @property
    def _origin(self) -> Endpoint:
        return self._registries.hosts.origin(self.name.domain)

    def _url(self, endpoint: Endpoint, path: str) -> str:
        return f"{endpoint.base}/v2/{quote(self.name.path)}/{path}"

    def _shown(self, wanted: str) -> str:
        separator = "@" if ":" in wanted else ":"
        return f"{self.name.familiar_name()}{separator}{wanted}"

    def _from_any(self, ask: Callable[[Endpoint], _Answer]) -> _Answer:
        """From the first mirror that has it, or the registry. What goes wrong with a mirror is no error."""
        *mirrors, origin = self._registries.hosts.endpoints(self.name.domain)
        for mirror in mirrors:
            try:
                return ask(mirror)
            except (NotFoundError, DeniedError, UnavailableError, UnsupportedError, IntegrityError, InvalidError):
                self.stop.check()
        return ask(origin)

    def call(self, endpoint: Endpoint, request: Request) -> Response:
        """A request that needs no right on the repository."""
        return self._authorised(endpoint, request, ())

    def _call(self, endpoint: Endpoint, request: Request, actions: str) -> Response:
        return self._authorised(endpoint, request, [f"repository:{self.name.path}:{actions}"])

    def _authorised(self, endpoint: Endpoint, request: Request, scopes: Sequence[str]) -> Response:
        """With what the endpoint wants to see. An upload goes to where the registry said, with its credentials only if
        that is the registry."""
        tokens, transport, domain = self._registries.tokens, self._registries.transport, self.name.domain
        if urlsplit(request.url).netloc != endpoint.host:
            return transport.send(Endpoint(urlsplit(request.url).netloc), request, self.stop)
        sent = tokens.header(endpoint, domain, scopes, self.stop)
        response = transport.send(endpoint, _with(request, sent), self.stop)
        if response.status != 401:
            return response
        asked = challenges.parse(response.headers.get("WWW-Authenticate", ""))
        usable = [each for each in asked if each.scheme in ("bearer", "basic")]
        if not usable:
            return response
        response.close()
        chosen = min(usable, key=lambda each: each.scheme != "bearer")
        header = tokens.answer(endpoint, domain, chosen, scopes, self.stop, fresh=sent is not None)
        if header is None or header == sent:
            raise denied(domain, None if sent is None else tokens.known(domain))
        return transport.send(endpoint, _with(request, header), self.stop)

    def _pages(self, path: str, actions: str, what: str) -> Iterator[bytes]:
        url = self._url(self._origin, path)
        for _ in range(_MOST_PAGES):
            with self._call(
                self._origin, Request("GET", url, {"Accept": "application/json, */*"}), actions
            ) as response:
                self._check(response, (200,), what)
                yield response.read(documents.LARGEST)
                link = re.match(r"\s*<([^>]{1,4096})>\s*;[^,]*rel=\"?next", response.headers.get("Link", ""))
            if link is None:
                return
            url = urljoin(url, link[1])
        raise UnavailableError(f"{self.name.domain} sends {what} without end")

    def _check(self, response: Response, good: Sequence[int], what: str) -> None:
        """Raises what the answer means unless its status is one of the good ones."""
        status = response.status
        if status in good:
            return
        error = self._error(response, status, what)
        raise error

    def _error(self, response: Response, status: int, what: str) -> BoatyardError:
        domain = self.name.domain
        said = _said(response)
        because = f": {said}" if said else ""
        if status in (401, 403):
            error = denied(domain, self._registries.tokens.known(domain))
            return DeniedError(f"{error.message}: {what}{because}", hint=error.hint)
        if status == 404:
            return NotFoundError(
                f"{domain} has no {what}{because}",
                hint="check the name; some registries say this, too, to whom they don't know: boat login",
            )
        if status == 429:
            return UnavailableError(f"{domain} has had too many requests{because}", hint="wait, or log in: boat login")
        if status in (400, 413, 416):
            return InvalidError(f"{domain} doesn't take {what} ({status}){because}")
        if status == 405:
            return UnsupportedError(f"{domain} can't do this with {what}{because}")
        return UnavailableError(f"{domain} answers {status} for {what}{because}")


def _said(response: Response) -> str:
    """What the registry says of an error."""
    if response.length == 0 or not response.headers.get("Content-Type", "").startswith("application/json"):
        return ""
    try:
        found = msgspec.json.decode(response.read(_ERROR_BYTES), type=_Errors).errors
    except (msgspec.MsgspecError, UnavailableError):
        return ""
    text = "; ".join(" ".join(filter(None, (each.code, each.message))) for each in found)
    return " ".join(text.split())[:500]


def _media_type(response: Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


def _with(request: Request, header: str | None) -> Request:
    if header is None:
        return request
    return Request(
        request.method,
        request.url,
        request.headers,
        request.body,
        request.length,
        request.repeatable,
        request.redirected,
        {"Authorization": header},
    )
