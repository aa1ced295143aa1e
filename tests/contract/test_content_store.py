"""What every content store does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from boatyard.errors import ConflictError, IntegrityError, InvalidError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image.content.directory import SMALL, DirectoryStore
from boatyard.image.content.memory import MemoryStore
from boatyard.image.content.store import ContentStore
from boatyard.image.content.verified import check_blob, read_blob, verified
from boatyard.image.digest import Digest
from boatyard.image.spec import Descriptor

Make = Callable[[Path], ContentStore]
STORES: dict[str, Make] = {"directory": DirectoryStore, "memory": lambda path: MemoryStore()}
SIZES = [0, 1, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL + 7]


@pytest.fixture(params=list(STORES))
def make(request: pytest.FixtureRequest) -> Make:
    return STORES[request.param]


@pytest.fixture
def store(make: Make, tmp_path: Path) -> ContentStore:
    return make(tmp_path)


def put(store: ContentStore, data: bytes, reference: str = "t") -> Digest:
    with store.ingest(reference) as writer:
        writer.write(data)
        return writer.commit()


def read(store: ContentStore, digest: Digest) -> bytes:
    with store.open(digest) as file:
        return file.read()


@pytest.mark.parametrize("size", SIZES)
def test_what_was_committed_can_be_read(store: ContentStore, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    digest = put(store, data[:size])
    info = store.info(digest)
    assert read(store, digest) == data[:size]
    assert digest == "sha256:" + hashlib.sha256(data[:size]).hexdigest()
    assert info is not None
    assert (info.digest, info.size) == (digest, size)
    assert [found.digest for found in store.walk()] == [digest]


@pytest.mark.parametrize("size", [3, SMALL * 2])
def test_sha512_is_verified_when_asked_for(store: ContentStore, size: int) -> None:
    data = b"x" * size
    expected = digests.of_bytes(data, "sha512")
    with store.ingest("t") as writer:
        writer.write(data)
        assert writer.commit(digest=expected) == expected
    assert read(store, expected) == data
    with store.ingest("t") as writer, pytest.raises(IntegrityError):
        writer.write(data + b"!")
        writer.commit(digest=expected)


def test_any_kind_of_buffer_can_be_written(store: ContentStore) -> None:
    with store.ingest("t") as writer:
        assert writer.write(bytearray(b"ab")) == 2
        assert writer.write(memoryview(b"cdef")[::1]) == 4
        assert writer.offset == 6
        digest = writer.commit()
    assert read(store, digest) == b"abcdef"


def test_readers_can_seek(store: ContentStore) -> None:
    with store.open(put(store, b"0123456789")) as file:
        file.seek(4)
        assert file.read(2) == b"45"


def test_nothing_is_seen_before_the_commit(store: ContentStore) -> None:
    data = b"x" * (SMALL * 2)
    with store.ingest("t") as writer:
        writer.write(data)
        assert store.info(digests.of_bytes(data)) is None
        assert list(store.walk()) == []
        writer.commit()
    assert store.info(digests.of_bytes(data)) is not None


@pytest.mark.parametrize("size", SIZES)
def test_wrong_content_is_refused_and_dropped(store: ContentStore, size: int) -> None:
    with store.ingest("t") as writer, pytest.raises(IntegrityError):
        writer.write(b"x" * size)
        writer.commit(digest=digests.of_bytes(b"something else"))
    assert list(store.walk()) == []
    with store.ingest("t", resume=True) as writer:
        assert writer.offset == 0


def test_wrong_size_is_refused(store: ContentStore) -> None:
    with store.ingest("t") as writer, pytest.raises(IntegrityError, match="3 bytes instead of 4"):
        writer.write(b"abc")
        writer.commit(size=4)
    assert list(store.walk()) == []


def test_a_bad_digest_is_an_invalid_error(store: ContentStore) -> None:
    with store.ingest("t") as writer, pytest.raises((InvalidError, IntegrityError)):
        writer.commit(digest=Digest("sha256:../../x"))


def test_committing_twice_the_same_bytes_is_no_error(store: ContentStore) -> None:
    first = store.info(put(store, b"same"))
    second = store.info(put(store, b"same", "other"))
    assert first is not None
    assert second is not None
    assert second.modified >= first.modified
    assert len(list(store.walk())) == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("earlier", [False, True])
def test_a_transfer_can_be_resumed(store: ContentStore, size: int, earlier: bool) -> None:
    with store.ingest("t", resume=earlier) as writer:
        writer.write(b"a" * size)
    with store.ingest("t", resume=True) as writer:
        assert writer.offset == size
        writer.write(b"b" * size)
        digest = writer.commit(size=2 * size)
    assert read(store, digest) == b"a" * size + b"b" * size


def test_a_transfer_that_is_not_resumed_starts_empty(store: ContentStore) -> None:
    with store.ingest("t") as writer:
        writer.write(b"old" * SMALL)
    with store.ingest("t") as writer:
        assert writer.offset == 0
        writer.write(b"new")
        digest = writer.commit()
    assert read(store, digest) == b"new"


@pytest.mark.parametrize("size", SIZES)
def test_a_transfer_can_start_over(store: ContentStore, size: int) -> None:
    with store.ingest("t") as writer:
        writer.write(b"a" * size)
        writer.truncate()
        assert writer.offset == 0
        writer.write(b"new")
        digest = writer.commit(size=3)
    assert read(store, digest) == b"new"


@pytest.mark.parametrize("size", SIZES)
def test_an_aborted_transfer_leaves_nothing(store: ContentStore, size: int) -> None:
    with store.ingest("t") as writer:
        writer.write(b"a" * size)
        writer.abort()
    with store.ingest("t", resume=True) as writer:
        assert writer.offset == 0
    assert list(store.walk()) == []


def test_a_transfer_is_exclusive(store: ContentStore) -> None:
    with store.ingest("t"), pytest.raises(ConflictError), store.ingest("t", resume=True):
        pass
    with store.ingest("t"), store.ingest("u"):
        pass


def test_a_finished_transfer_takes_nothing_more(store: ContentStore) -> None:
    with store.ingest("t") as writer:
        writer.write(b"x")
        writer.commit()
        with pytest.raises(ConflictError):
            writer.write(b"y")
        with pytest.raises(ConflictError):
            writer.commit()


def test_an_exception_in_the_transfer_frees_its_reference(store: ContentStore) -> None:
    with pytest.raises(KeyError), store.ingest("t"):
        raise KeyError
    put(store, b"x", "t")


def test_what_is_not_there_is_not_found(store: ContentStore) -> None:
    absent = digests.of_bytes(b"absent")
    assert store.info(absent) is None
    with pytest.raises(NotFoundError, match=absent):
        store.open(absent)
    with pytest.raises(NotFoundError):
        store.delete(absent)


def test_a_deleted_blob_is_gone_but_its_readers_read_on(store: ContentStore) -> None:
    digest = put(store, b"x" * SMALL)
    with store.open(digest) as file:
        store.delete(digest)
        assert file.read() == b"x" * SMALL
    assert store.info(digest) is None


def test_references_may_be_any_text(store: ContentStore) -> None:
    for reference in ("", "../../etc", "a/b\x00c", "x" * 5000, "\udcff"):
        put(store, reference.encode(errors="surrogatepass"), reference)
    assert len(list(store.walk())) == 5


def test_many_threads_commit_at_once(store: ContentStore) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                put(store, b"%d" % turn * SMALL, f"{number}-{turn}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(list(store.walk())) == 10


def test_verified_readers_pass_whole_blobs(store: ContentStore) -> None:
    data = b"data" * SMALL
    descriptor = Descriptor(media_type="x/y", digest=put(store, data), size=len(data))
    with verified(store, descriptor) as stream:
        assert stream.read() == data
    check_blob(store, descriptor)
    assert read_blob(store, descriptor, limit=len(data)) == data


@pytest.mark.parametrize("change", [-1, 1])
def test_verified_readers_refuse_another_size(store: ContentStore, change: int) -> None:
    digest = put(store, b"data")
    descriptor = Descriptor(media_type="x/y", digest=digest, size=4 + change)
    with pytest.raises(IntegrityError, match=digest):
        check_blob(store, descriptor)
    with pytest.raises(IntegrityError, match=digest):
        read_blob(store, descriptor, limit=100)


def test_large_documents_are_not_read(store: ContentStore) -> None:
    descriptor = Descriptor(media_type="x/y", digest=put(store, b"data"), size=4)
    with pytest.raises(InvalidError):
        read_blob(store, descriptor, limit=3)


class Model(RuleBasedStateMachine):
    """A store against two dictionaries."""

    make: Callable[[], ContentStore]

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make()
        self.blobs: dict[Digest, bytes] = {}
        self.partial: dict[str, bytes] = {}

    committed = Bundle("committed")
    references = st.sampled_from(["a", "b"])
    chunks = st.lists(st.sampled_from([0, 1, 1000, 3 * SMALL]).map(bytes), max_size=3)
    endings = st.sampled_from(["close", "abort", "wrong", "sha512"])

    @rule(target=committed, reference=references, chunks=chunks, resume=st.booleans())
    def commit(self, reference: str, chunks: list[bytes], resume: bool) -> Digest:
        with self.store.ingest(reference, resume=resume) as writer:
            data = self.partial.pop(reference, b"") if resume else b""
            self.partial.pop(reference, None)
            assert writer.offset == len(data)
            for chunk in chunks:
                writer.write(chunk)
                data += chunk
            digest = writer.commit(size=len(data), digest=digests.of_bytes(data))
        self.blobs[digest] = data
        return digest

    @rule(reference=references, chunks=chunks, resume=st.booleans(), restart=st.booleans(), ending=endings)
    def end_otherwise(self, reference: str, chunks: list[bytes], resume: bool, restart: bool, ending: str) -> None:
        with self.store.ingest(reference, resume=resume) as writer:
            data = self.partial.pop(reference, b"") if resume else b""
            self.partial.pop(reference, None)
            for chunk in chunks:
                writer.write(chunk)
                data += chunk
            if restart:
                writer.truncate()
                data = b""
            assert writer.offset == len(data)
            if ending == "abort":
                writer.abort()
            elif ending == "wrong":
                with pytest.raises(IntegrityError):
                    writer.commit(digest=digests.of_bytes(data + b"!"))
            elif ending == "sha512":
                self.blobs[writer.commit(digest=digests.of_bytes(data, "sha512"))] = data
            elif data:
                self.partial[reference] = data

    @rule(digest=committed)
    def delete(self, digest: Digest) -> None:
        if self.blobs.pop(digest, None) is None:
            with pytest.raises(NotFoundError):
                self.store.delete(digest)
        else:
            self.store.delete(digest)

    @rule(digest=committed)
    def look(self, digest: Digest) -> None:
        if digest in self.blobs:
            assert read(self.store, digest) == self.blobs[digest]
        else:
            assert self.store.info(digest) is None

    @invariant()
    def holds_exactly_what_was_committed(self) -> None:
        assert {info.digest: info.size for info in self.store.walk()} == {
            digest: len(data) for digest, data in self.blobs.items()
        }


def test_any_sequence_of_operations_does_what_dictionaries_would(make: Make, tmp_path: Path) -> None:
    count = iter(range(1_000_000))

    class Machine(Model):
        @staticmethod
        def make() -> ContentStore:
            return make(tmp_path / str(next(count)))

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
