"""What only the store on disk does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.errors import IntegrityError, StorageError
from boatyard.image import digest as digests
from boatyard.image.content.directory import SMALL, DirectoryStore
from boatyard.image.content.verified import check_blob, read_blob, verified
from boatyard.image.digest import Digest
from boatyard.image.spec import Descriptor


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def put(store: DirectoryStore, data: bytes) -> Digest:
    with store.ingest("t") as writer:
        writer.write(data)
        return writer.commit()


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_blobs_lie_as_in_an_image_layout(store: DirectoryStore, tmp_path: Path) -> None:
    digest = put(store, b"x")
    assert files(tmp_path) == ["blobs/sha256/" + digests.encoded(digest)]
    assert store.path(digest).stat().st_mode & 0o777 == 0o444


def test_readers_are_real_files(store: DirectoryStore) -> None:
    with store.open(put(store, b"x" * SMALL)) as file:
        assert os.fstat(file.fileno()).st_size == SMALL


@pytest.mark.parametrize("size", [10, 3 * SMALL])
def test_nothing_is_left_beside_a_blob(store: DirectoryStore, tmp_path: Path, size: int) -> None:
    put(store, b"x" * size)
    put(store, b"x" * size)
    with store.ingest("t") as writer:
        writer.write(b"y" * size)
        writer.abort()
    assert len(files(tmp_path)) == 1


def test_foreign_files_are_no_blobs(store: DirectoryStore, tmp_path: Path) -> None:
    (tmp_path / "blobs/sha256/README").write_text("not a blob")
    assert list(store.walk()) == []


def test_cleanup_drops_debris_and_keeps_what_may_be_resumed(store: DirectoryStore, tmp_path: Path) -> None:
    with store.ingest("fresh") as writer:
        writer.write(b"x" * 2 * SMALL)
    with store.ingest("download", resume=True) as writer:
        writer.write(b"x" * SMALL)
    assert store.cleanup() == 2 * SMALL
    with store.ingest("download", resume=True) as writer:
        assert writer.offset == SMALL
    modified = next((tmp_path / "ingest").iterdir()).stat().st_mtime
    assert store.cleanup(now=modified + 25 * 3600) == SMALL
    assert files(tmp_path) == []


@pytest.mark.parametrize("damage", [b"short", b"another byte" * SMALL, b""])
def test_a_damaged_blob_is_named_with_its_path(store: DirectoryStore, damage: bytes) -> None:
    data = b"good" * SMALL
    digest = put(store, data)
    descriptor = Descriptor(media_type="x/y", digest=digest, size=len(data))
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(damage)
    with pytest.raises(IntegrityError) as caught:
        check_blob(store, descriptor)
    assert digest in caught.value.message
    assert str(path) in caught.value.message
    with pytest.raises(IntegrityError, match=str(path)):
        read_blob(store, descriptor, limit=1 << 30)


def test_a_flipped_bit_is_found_at_the_end_of_the_stream(store: DirectoryStore) -> None:
    data = bytearray(b"good" * SMALL)
    digest = put(store, bytes(data))
    data[1000] ^= 1
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(data)
    with verified(store, Descriptor(media_type="x/y", digest=digest, size=len(data))) as stream:
        assert stream.read(len(data)) == data
        with pytest.raises(IntegrityError):
            stream.read(1)


def test_a_damaged_blob_can_be_replaced(store: DirectoryStore) -> None:
    digest = put(store, b"good")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"evil")
    store.delete(digest)
    assert put(store, b"good") == digest
    check_blob(store, Descriptor(media_type="x/y", digest=digest, size=4))


def test_a_document_with_a_flipped_bit_is_replaced_by_the_next_commit(store: DirectoryStore) -> None:
    digest = put(store, b'{"schemaVersion": 2}')
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(b'{"schemaVersion": 3}')
    assert put(store, b'{"schemaVersion": 2}') == digest
    assert path.read_bytes() == b'{"schemaVersion": 2}'


def test_a_truncated_blob_is_replaced_by_the_next_commit(store: DirectoryStore) -> None:
    digest = put(store, b"good")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"go")
    put(store, b"good")
    check_blob(store, Descriptor(media_type="x/y", digest=digest, size=4))


KILLED = """
import os, sys
from pathlib import Path
from boatyard.image.content.directory import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
with store.ingest("t") as writer:
    writer.write(b"x" * 1000000)
    print("written", flush=True)
    sys.stdin.read()
"""


def test_a_killed_writer_leaves_no_blob_and_its_debris_is_removed(store: DirectoryStore, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert len(files(tmp_path)) == 1
    assert list(store.walk()) == []
    assert store.cleanup() == 1_000_000
    assert files(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "disk"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_a_clear_error_and_the_store_stays_usable(small_disk: Path) -> None:
    store = DirectoryStore(small_disk)
    with pytest.raises(StorageError) as caught, store.ingest("t", resume=True) as writer:
        for _ in range(3):
            writer.write(b"x" * (512 * 1024))
    assert "No space left" in caught.value.message
    assert caught.value.hint is not None
    assert files(small_disk) == []
    put(store, b"y" * (512 * 1024))
    assert len(list(store.walk())) == 1


def test_a_root_that_is_no_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        DirectoryStore(tmp_path / "file")


def test_bad_digests_never_become_paths(store: DirectoryStore) -> None:
    with pytest.raises(Exception, match="invalid digest"):
        store.open(Digest("sha256:../../../etc/passwd"))
    assert digests.is_digest(put(store, b""))
