"""Pull, push and copy against a registry that misbehaves on request."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.errors import (
    CancelledBuildError,
    DeniedError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image import reference as references
from boatyard.image.content.directory import DirectoryStore
from boatyard.image.content.memory import MemoryStore
from boatyard.image.interruption import Stop
from boatyard.image.spec import Descriptor
from boatyard.registry import certificates, referrers
from boatyard.registry.copy import copy
from boatyard.registry.credential import Anonymous, Credential
from boatyard.registry.hosts import Hosts, HostSettings
from boatyard.registry.pull import Puller
from boatyard.registry.push import Pusher
from boatyard.registry.repository import Document, Registries, Repository
from boatyard.registry.tokens import Tokens
from boatyard.registry.transport import Transport
from fixtures.certificates import Authority
from fixtures.images import AMD64, ARM64, layer_tar, make_image, make_index
from fixtures.registry import Handler, Registry, once, serve
from fixtures.registryclient import no_hold, pulled, push


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serve() as registry:
        yield registry


class Given:
    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self.asked: list[str] = []

    def get(self, host: str) -> Credential | None:
        self.asked.append(host)
        return self.credential


def open_repository(
    registry: Registry,
    name: str = "some/thing",
    *,
    credentials: Given | None = None,
    hosts: Hosts | None = None,
    stop: Stop | None = None,
    domain: str = "",
) -> Repository:
    transport = Transport(pause=lambda number: 0.0, stall_timeout=5)
    registries = Registries(transport, hosts or Hosts(), Tokens(transport, credentials or Anonymous()))
    return registries.repository(references.parse(f"{domain or registry.host}/{name}"), stop or Stop())


@pytest.fixture
def image() -> tuple[MemoryStore, Descriptor]:
    store = MemoryStore()
    return store, make_image(store, [layer_tar({"a": os.urandom(3_000_000)}), layer_tar({"b": b"b"})])


def test_what_was_pushed_is_pulled_byte_for_byte(registry: Registry, image: tuple[MemoryStore, Descriptor]) -> None:
    store, target = image
    push(open_repository(registry), store, target, "v1")
    found, named = pulled(open_repository(registry))
    assert named.digest == target.digest
    assert {blob.digest for blob in found.walk()} == {blob.digest for blob in store.walk()}


def test_what_is_there_is_not_sent_again(registry: Registry, image: tuple[MemoryStore, Descriptor]) -> None:
    store, target = image
    push(open_repository(registry), store, target, "v1")
    registry.requests.clear()
    push(open_repository(registry), store, target, "v2")
    assert registry.asked("POST", "uploads") == 0


def test_one_platform_of_many_is_pulled(registry: Registry) -> None:
    store = MemoryStore()
    index = make_index(
        store,
        [
            make_image(store, [layer_tar({"a": b"amd"})], platform=AMD64),
            make_image(store, [layer_tar({"a": b"arm"})], platform=ARM64),
        ],
    )
    push(open_repository(registry), store, index, "v1")
    found = MemoryStore()
    named = Puller(found).documents(open_repository(registry), "v1", no_hold, [ARM64])
    assert named.digest == index.digest
    assert documents.read_image(found, named, ARM64).platform == ARM64
    with pytest.raises(NotFoundError):
        documents.read_image(found, named, AMD64)


def blob_of(registry: Registry, data: bytes) -> Descriptor:
    digest = digests.of_bytes(data)
    registry.blobs[digest] = data
    return Descriptor(media_type=spec.OCI_LAYER, digest=digest, size=len(data))


def cut_after(count: int) -> object:
    def fault(handler: Handler) -> bool:
        data = handler.registry.blobs[handler.path.rpartition("/")[2]]
        begin = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(data) - begin))
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[begin : begin + count])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
        return True

    return fault


def test_a_transfer_that_breaks_is_taken_up_where_it_broke(registry: Registry, tmp_path: Path) -> None:
    blob = blob_of(registry, os.urandom(5_000_000))
    registry.faults.append(once(cut_after(1_500_000), "GET .*blobs", times=3))  # type: ignore[arg-type]
    store = DirectoryStore(tmp_path)
    Puller(store).blob(open_repository(registry), blob)
    assert store.open(blob.digest).read() == registry.blobs[blob.digest]
    ranges = [headers.get("Range") for method, path, headers in registry.requests if "blobs" in path]
    assert ranges[0] is None and all(ranges[1:]) and len(ranges) == 4


def test_a_server_without_ranges_sends_all_of_it_again(registry: Registry, tmp_path: Path) -> None:
    blob = blob_of(registry, os.urandom(3_000_000))
    registry.faults.append(once(cut_after(1_500_000), "GET .*blobs"))  # type: ignore[arg-type]

    def whole(handler: Handler) -> bool:
        if "Range" in handler.headers:
            handler.answer(200, registry.blobs[blob.digest])
            return True
        return False

    registry.faults.append(whole)
    store = DirectoryStore(tmp_path)
    Puller(store).blob(open_repository(registry), blob)
    assert store.open(blob.digest).read() == registry.blobs[blob.digest]


@pytest.mark.parametrize("change", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data + b"more"])
def test_wrong_bytes_are_never_kept(registry: Registry, tmp_path: Path, change: object) -> None:
    blob = blob_of(registry, os.urandom(100_000))
    registry.blobs[blob.digest] = change(registry.blobs[blob.digest])  # type: ignore[operator]
    store = DirectoryStore(tmp_path)
    with pytest.raises(IntegrityError, match=blob.digest):
        Puller(store).blob(open_repository(registry), blob)
    assert store.info(blob.digest) is None


def test_a_forged_manifest_is_refused(registry: Registry, image: tuple[MemoryStore, Descriptor]) -> None:
    store, target = image
    push(open_repository(registry), store, target, "v1")
    media_type, data = registry.manifests["some/thing", target.digest]
    registry.manifests["some/thing", target.digest] = (media_type, data + b" ")
    with pytest.raises(IntegrityError):
        open_repository(registry).manifest(target.digest)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_may_be_better_next_time_is_tried_again(registry: Registry, status: int) -> None:
    blob = blob_of(registry, b"data")
    registry.faults.append(once(lambda handler: handler.answer(status, Retry_After="0") is None, times=2))
    Puller(store := MemoryStore()).blob(open_repository(registry), blob)
    assert store.info(blob.digest) is not None


def test_it_is_not_tried_for_ever(registry: Registry) -> None:
    registry.faults.append(lambda handler: handler.answer(503) is None)
    with pytest.raises(UnavailableError, match="503"):
        open_repository(registry).manifest("v1")
    assert 2 <= len(registry.requests) <= 10


def test_an_upload_that_breaks_is_taken_up_where_it_stands(registry: Registry) -> None:
    data = os.urandom(3_000_000)
    store = MemoryStore()
    blob = documents.write(store, data, spec.OCI_LAYER)

    def broken(handler: Handler) -> bool:
        upload = registry.uploads[handler.path.rpartition("/")[2].partition("?")[0]]
        upload += handler.rfile.read(1_000_000)
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
        return True

    registry.faults.append(once(broken, "PUT"))
    pusher = Pusher(open_repository(registry), lambda wanted: store.open(wanted.digest))
    pusher.blob(blob)
    assert registry.blobs[blob.digest] == data
    sent = [int(headers["Content-Length"]) for method, _, headers in registry.requests if method == "PUT"]
    assert sent == [3_000_000, 2_000_000]


def test_a_token_is_fetched_once_and_used_for_all(registry: Registry, image: tuple[MemoryStore, Descriptor]) -> None:
    store, target = image
    registry.token, registry.accounts = "t0ken", {"me": "secret"}
    keys = Given(Credential("me", "secret"))
    repository = open_repository(registry, credentials=keys)
    push(repository, store, target, "v1")
    pulled(repository)
    # For pushing and for pulling; threads that meet may also ask for what the registry named beside what they need.
    asked = [path for _, path, _ in registry.requests if path.startswith("/token")]
    assert asked and len(asked) == len(set(asked)), "no token is fetched twice"
    assert keys.asked == [registry.host]


def test_wrong_credentials_are_told_with_advice(registry: Registry) -> None:
    registry.token, registry.accounts = "t0ken", {"me": "secret"}
    with pytest.raises(DeniedError, match="'me'") as caught:
        open_repository(registry, credentials=Given(Credential("me", "wrong"))).manifest("v1")
    assert caught.value.hint and f"boat login {registry.host}" in caught.value.hint
    assert "wrong" not in str(caught.value)


def test_a_registry_that_always_asks_again_is_given_up(registry: Registry) -> None:
    registry.faults.append(
        lambda handler: (
            not handler.path.startswith("/token")
            and handler.answer(401, WWW_Authenticate=f'Bearer realm="http://{registry.host}/token"') is None
        )
    )
    registry.token = "t0ken"
    with pytest.raises(DeniedError):
        open_repository(registry).manifest("v1")
    assert len(registry.requests) < 6


def test_credentials_do_not_follow_to_another_host(registry: Registry) -> None:
    with serve() as other:
        data = b"elsewhere"
        blob = blob_of(other, data)
        registry.token, registry.accounts = "t0ken", {"me": "secret"}
        there = f"http://localhost:{other.port}/v2/x/blobs/{blob.digest}"
        registry.faults.append(
            once(lambda handler: handler.answer(307, Location=there) is None, r"GET .*blobs", times=9)
        )
        repository = open_repository(registry, credentials=Given(Credential("me", "secret")))
        Puller(store := MemoryStore()).blob(repository, blob)
        assert store.open(blob.digest).read() == data
        assert all("Authorization" not in headers for _, _, headers in other.requests)


def test_tags_are_read_to_the_last_page(registry: Registry) -> None:
    for number in range(5):
        registry.manifests["some/thing", f"v{number}"] = (spec.OCI_MANIFEST, b"{}")
    assert open_repository(registry).tags() == ["v0", "v1", "v2", "v3", "v4"]


def test_what_is_missing_is_named_with_what_the_registry_says(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match=r"some/thing:v9.*nothing here"):
        open_repository(registry).manifest("v9")


def test_a_mirror_is_asked_first_and_the_registry_for_what_it_lacks(
    registry: Registry, image: tuple[MemoryStore, Descriptor]
) -> None:
    store, target = image
    with serve() as mirror:
        hosts = Hosts({registry.host: HostSettings(mirrors=(f"http://{mirror.host}",), http=True)})
        push(open_repository(registry), store, target, "v1")
        mirror.manifests.update(registry.manifests)
        _, named = pulled(open_repository(registry, hosts=hosts))
        assert named.digest == target.digest
        assert mirror.asked("GET", "blobs") and registry.asked("GET", "blobs")
        assert not registry.asked("GET", "manifests")


def test_a_stalling_server_lets_go_at_once_when_it_is_not_wanted_any_more(registry: Registry) -> None:
    release = threading.Event()

    def stall(handler: Handler) -> bool:
        release.wait(20)
        return True

    registry.faults.append(stall)
    stop = Stop()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    try:
        with pytest.raises(CancelledBuildError):
            open_repository(registry, stop=stop).manifest("v1")
        assert time.monotonic() - began < 4  # the server would have held on for 20 seconds
    finally:
        release.set()


def test_images_are_copied_between_registries(registry: Registry) -> None:
    store = MemoryStore()
    index = make_index(store, [make_image(store, [layer_tar({"a": b"amd"})], platform=AMD64)])
    push(open_repository(registry), store, index, "v1")
    with serve() as other:
        copied = copy(open_repository(registry), "v1", open_repository(other, "its/copy"), ("v2",))
        assert copied.digest == index.digest
        _, named = pulled_index(open_repository(other, "its/copy"), "v2")
        assert named.digest == index.digest


def pulled_index(repository: Repository, wanted: str) -> tuple[MemoryStore, Descriptor]:
    store = MemoryStore()
    return store, Puller(store).documents(repository, wanted, no_hold, None)


def test_referrers_are_kept_under_a_tag_where_there_is_no_api(
    registry: Registry, image: tuple[MemoryStore, Descriptor]
) -> None:
    store, target = image
    repository = open_repository(registry)
    push(repository, store, target, "v1")
    attached = []
    for kind in ("application/x.one", "application/x.two"):
        empty = Descriptor(media_type=spec.OCI_EMPTY, digest=digests.of_bytes(b"{}"), size=2)
        data = spec.encode(
            spec.Manifest(
                schema_version=2,
                media_type=spec.OCI_MANIFEST,
                artifact_type=kind,
                config=empty,
                layers=(empty,),
                subject=target,
            )
        )
        descriptor = Descriptor(media_type=spec.OCI_MANIFEST, digest=digests.of_bytes(data), size=len(data))
        referrers.attach(repository, Document(descriptor, data))
        attached.append(descriptor.digest)
    assert [each.digest for each in referrers.find(repository, target.digest)] == attached
    assert [each.digest for each in referrers.find(repository, target.digest, "application/x.two")] == attached[1:]
    assert referrers.find(repository, digests.of_bytes(b"other")) == ()


def test_directories_of_certificates_open_a_registry_that_wants_one(
    image: tuple[MemoryStore, Descriptor], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    server, client = authority.sign("server"), authority.sign("client")
    wanting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    wanting.load_cert_chain(server.cert, server.key)
    wanting.load_verify_locations(authority.ca)
    wanting.verify_mode = ssl.CERT_REQUIRED
    directory = tmp_path / "certs.d"
    directory.mkdir()
    Path(authority.ca).rename(directory / "authority.crt")
    Path(client.cert).rename(directory / "client.cert")
    Path(client.key).rename(directory / "client.key")
    directories = (str(tmp_path / "there is none"), str(directory))
    settings = HostSettings(ca=certificates.authorities(directories), keypairs=certificates.keypairs(directories))
    store, named = image
    with serve(wanting) as registry:
        push(open_repository(registry, hosts=Hosts({registry.host: settings})), store, named, "v1")
        with pytest.raises(UnavailableError):
            pulled(open_repository(registry, hosts=Hosts({registry.host: HostSettings(ca=settings.ca)})))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_are_no_good_are_named(registry: Registry, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "team.pem"
    if content is not None:
        file.write_text(content)
    for settings in (HostSettings(ca=(str(file),)), HostSettings(keypairs=((str(file), str(file)),))):
        with pytest.raises(InvalidError, match=r"team\.pem"):
            open_repository(registry, hosts=Hosts({registry.host: settings})).tags()


def test_nobody_at_a_port_is_told_in_the_systems_words(registry: Registry) -> None:
    """The cause is shown, too, and urllib3's would name its own parts."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="Connection refused") as caught:
            open_repository(registry, domain=nobody).tags()
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_connections_are_used_again_after_answers_without_a_body(
    registry: Registry, image: tuple[MemoryStore, Descriptor]
) -> None:
    """One that isn't free when it is used again breaks the request, which is then made twice."""
    registry.token = "t0ken"
    store, target = image
    push(open_repository(registry, credentials=Given(Credential("me", "secret"))), store, target, "v1")
    with_token = [request for request in registry.requests if "Authorization" in request[2]]
    assert sum(method == "POST" for method, _, _ in with_token) == 3  # one upload a blob
    heads = [path for method, path, _ in with_token if method == "HEAD"]
    assert len(heads) == len(set(heads))
