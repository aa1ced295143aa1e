"""The layer store: from files to bytes and back, once, lazily, and verified."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from boatyard.errors import ConflictError, IntegrityError, LayerError, NotFoundError, UnsupportedError
from boatyard.image import digest as digests
from boatyard.image.content.directory import DirectoryStore
from boatyard.image.content.store import ContentStore
from boatyard.image.database import Database
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.layer.compression import Compression, open_compressed, open_decompressed
from boatyard.image.layer.store import LayerStore
from boatyard.image.layer.tarheader import END, header
from boatyard.image.snapshot.overlay import OverlaySnapshotter
from boatyard.image.snapshot.snapshotter import SnapshotId
from boatyard.image.spec import OCI_LAYER, OCI_LAYER_GZIP, Descriptor

pytestmark = pytest.mark.root

GZIP, ZSTD, TAR = Compression("gzip"), Compression("zstd"), Compression("tar")


class Yard:
    """A layer store on disk that can be opened again, with ways to put layers in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.content = DirectoryStore(root)
        self.snapshotter = OverlaySnapshotter(root / "snapshots")
        self.database = Database(root / "meta.db")
        self.store = LayerStore(self.database, self.content, self.snapshotter)

    def reopen(self) -> Yard:
        self.database.close()
        yard = Yard(self.root)
        yard.snapshotter.cleanup()
        yard.store.cleanup()
        return yard

    def step(self, files: dict[str, str], base: Chain = ()) -> LayerId:
        """A layer as a step of a build makes one."""
        active = self.snapshotter.prepare()
        with self.store.mount(base, active=active) as root:
            for name, content in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(content)
        return self.store.add(active, base=base)

    def put(self, tar: bytes, compression: Compression = GZIP) -> tuple[Digest, Descriptor]:
        """A layer's bytes in the content store, as an archive brings them."""
        packed = io.BytesIO()
        with open_compressed(packed, compression) as out:
            out.write(tar)
        with self.content.ingest("test") as writer:
            writer.write(packed.getvalue())
            digest = writer.commit()
        size = len(packed.getvalue())
        return digests.of_bytes(tar), Descriptor(media_type=compression.media_type(), digest=digest, size=size)

    def blob(self, files: dict[str, str], base: Chain = (), compression: Compression = GZIP) -> LayerId:
        return self.store.add_blob(base, *self.put(tar_of(files), compression))

    def bytes_of(self, descriptor: Descriptor) -> bytes:
        with self.content.open(descriptor.digest) as file:
            return file.read()

    def names(self, chain: Chain) -> dict[str, str]:
        with self.store.mount(chain) as root:
            return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def yard_bytes(yard: Yard, layer: LayerId) -> bytes:
    with yard.store.open_tar(layer) as stream:
        return stream.read()


def tar_of(files: dict[str, str]) -> bytes:
    entries = [
        header(name.encode(), b"0", 0o644, 0, 0, len(content), 5)
        + content.encode().ljust(-len(content) // 512 * -512, b"\0")
        for name, content in files.items()
    ]
    return b"".join(entries) + END


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path / "yard")
    yield yard
    yard.database.close()


def test_a_step_s_files_are_a_layer(yard: Yard) -> None:
    first = yard.step({"a": "1", "d/b": "2"})
    second = yard.step({"a": "3"}, base=(first,))
    assert yard.names((first, second)) == {"a": "3", "d/b": "2"}
    row = yard.store.get(second)
    assert (row.base, row.diff_id, row.size, row.blobs, row.made_here) == ((first,), None, None, (), True)
    assert row.snapshot is not None
    assert yard.store.directories((second,)) == (yard.snapshotter.directory(row.snapshot),)


def test_describing_a_layer_gives_digest_and_size_of_its_tar(yard: Yard) -> None:
    layers = tuple(yard.step({f"f{number}": "x" * number}) for number in range(5))
    described = yard.store.describe(layers)
    for layer, (diff_id, size) in zip(layers, described, strict=True):
        with yard.store.open_tar(layer) as stream:
            data = stream.read()
        assert (digests.of_bytes(data), len(data)) == (diff_id, size)
        assert (yard.store.get(layer).diff_id, yard.store.get(layer).size) == (diff_id, size)
        assert yard.store.find_layer(diff_id) == layer
    assert yard.store.describe(layers) == described
    assert yard.store.describe(layers[:1] * 3) == described[:1] * 3


@pytest.mark.parametrize("compression", [TAR, GZIP, Compression("gzip", 9), ZSTD], ids=lambda c: c.key)
def test_a_layer_becomes_a_blob_when_asked(compression: Compression, yard: Yard) -> None:
    layer = yard.step({"a": "1" * 5000})
    descriptor = yard.store.blob(layer, compression)
    data = yard.bytes_of(descriptor)
    assert (digests.of_bytes(data), len(data)) == (descriptor.digest, descriptor.size)
    assert descriptor.media_type == compression.media_type()
    tar = open_decompressed(io.BytesIO(data)).read()
    assert yard.store.describe((layer,)) == ((digests.of_bytes(tar), len(tar)),)
    assert yard.store.blob(layer, compression) == descriptor
    assert yard.store.get(layer).blobs == (descriptor,)


def test_the_layers_of_a_chain_become_blobs_together(yard: Yard) -> None:
    chain = (yard.step({"a": "1"}), yard.blob({"b": "1"}), yard.step({"c": "1"}))
    assert yard.store.blobs(chain, ZSTD) == tuple(yard.store.blob(layer, ZSTD) for layer in chain)
    assert yard.store.blobs((), ZSTD) == ()


def test_a_blob_is_unpacked_when_its_files_are_needed(yard: Yard) -> None:
    base = yard.blob({"a": "1", "b": "1"})
    top = yard.blob({".wh.a": "", "b": "2"}, base=(base,), compression=ZSTD)
    assert yard.store.get(base).snapshot is None
    assert yard.store.exists((base, top))
    assert yard.names((base, top)) == {"b": "2"}
    assert yard.store.get(base).snapshot is not None
    assert yard.store.get(top).size == len(tar_of({".wh.a": "", "b": "2"}))


def test_a_blob_is_unpacked_on_its_base_even_when_that_is_not_in_the_chain(yard: Yard) -> None:
    base = yard.step({"d/x": "1"})
    (yard.store.directories((base,))[0] / "d").chmod(0o711)
    top = yard.blob({"d/y": "2"}, base=(base,))
    with yard.store.mount((top,)) as root:
        assert (root / "d").stat().st_mode & 0o777 == 0o711


def test_many_ask_and_one_unpacks(yard: Yard) -> None:
    chain: Chain = ()
    for number in range(6):
        chain = (*chain, yard.blob({f"d{number}/f": str(number)}, base=chain))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: yard.store.materialise(chain), range(16)))
    assert len(set(results)) == 1
    assert sorted(yard.snapshotter.walk()) == sorted(results[0])


def test_the_same_bytes_on_the_same_base_are_the_same_layer(yard: Yard) -> None:
    base = yard.blob({"a": "1"})
    again = yard.blob({"a": "1"}, compression=ZSTD)
    assert base == again
    assert len(yard.store.get(base).blobs) == 2
    assert yard.blob({"b": "1"}, base=(base,)) == yard.blob({"b": "1"}, base=(again,)) != yard.blob({"b": "1"})


def test_a_layer_that_was_made_here_is_known_again_when_it_comes_back(yard: Yard) -> None:
    base = yard.step({"a": "1"})
    top = yard.step({"b": "2"}, base=(base,))
    blobs = [yard.store.blob(layer, GZIP) for layer in (base, top)]
    diff_ids = [diff_id for diff_id, _ in yard.store.describe((base, top))]
    assert yard.store.add_blob((), diff_ids[0], blobs[0]) == base
    assert yard.store.add_blob((base,), diff_ids[1], blobs[1]) == top
    virtual = Descriptor(media_type=OCI_LAYER, digest=diff_ids[0], size=1)
    assert yard.store.add_blob((), diff_ids[0], virtual) == base
    assert all(blob.digest != diff_ids[0] for blob in yard.store.get(base).blobs)
    _, foreign = yard.put(yard_bytes(yard, base), Compression("gzip", 9))
    assert yard.store.add_blob((), diff_ids[0], foreign) == base
    assert yard.store.get(base).origin is None
    assert yard.store.blob(base, GZIP) == blobs[0]


def test_a_layer_keeps_the_blob_it_came_with_unless_forced(yard: Yard) -> None:
    layer = yard.blob({"a": "1"}, compression=GZIP)
    origin = yard.store.get(layer).origin
    assert origin is not None
    assert yard.store.blob(layer, ZSTD) == origin
    assert yard.store.blob(layer, GZIP, force=True) == origin
    forced = yard.store.blob(layer, ZSTD, force=True)
    assert forced.media_type == ZSTD.media_type()
    assert open_decompressed(io.BytesIO(yard.bytes_of(forced))).read() == tar_of({"a": "1"})
    assert yard.store.get(layer).blobs == (origin, forced)
    assert yard.store.blob(layer, Compression("gzip", 9), force=True) != origin


def test_an_unpacked_layer_of_somebody_else_keeps_its_own_bytes(yard: Yard) -> None:
    """Packing its files again would give others."""
    tar = tar_of({"z": "1", "a": "2"})  # not sorted
    layer = yard.store.add_blob((), *yard.put(tar))
    yard.store.materialise((layer,))
    with yard.store.open_tar(layer) as stream:
        assert stream.read() == tar
    assert yard.bytes_of(yard.store.blob(layer, TAR, force=True)) == tar
    assert yard.store.describe((layer,)) == ((digests.of_bytes(tar), len(tar)),)


def test_times_can_be_rewritten_in_a_blob_of_its_own(yard: Yard) -> None:
    layer = yard.step({"a": "1"})
    plain = yard.store.blob(layer, GZIP)
    descriptor, diff_id = yard.store.rewritten(layer, GZIP, max_mtime=1000)
    tar = open_decompressed(io.BytesIO(yard.bytes_of(descriptor))).read()
    assert digests.of_bytes(tar) == diff_id != yard.store.describe((layer,))[0][0]
    assert b"00000001750" in tar
    assert yard.store.rewritten(layer, GZIP, max_mtime=1000) == (descriptor, diff_id)
    assert yard.store.get(layer).blobs == (plain,)
    assert not descriptor.annotations


def test_chains_are_found_by_their_diff_ids(yard: Yard) -> None:
    base = yard.step({"a": "1"})
    chain = (base, yard.step({"b": "1"}, base=(base,)))
    diff_ids = [diff_id for diff_id, _ in yard.store.describe(chain)]
    assert yard.store.find_chain(diff_ids) is None
    yard.store.record_chain(chain)
    assert yard.store.find_chain(diff_ids) == chain
    assert yard.store.find_chain(diff_ids[:1]) is None
    yard.store.record_chain(())
    assert yard.store.find_chain([]) == ()
    yard.store.remove(base)
    assert yard.store.find_chain(diff_ids) is None


def test_removing_a_layer_removes_its_snapshot(yard: Yard) -> None:
    layer = yard.step({"a": "1"})
    with yard.store.mount((layer,)), pytest.raises(ConflictError):
        yard.store.remove(layer)
    yard.store.remove(layer)
    yard.store.remove(layer)
    assert yard.snapshotter.walk() == ()
    assert not yard.store.exists((layer,))
    with pytest.raises(NotFoundError):
        yard.store.get(layer)
    with pytest.raises(NotFoundError), yard.store.mount((layer,)):
        pass


def test_walking_measures_what_is_on_disk(yard: Yard) -> None:
    layers = [yard.step({"a": "x" * 100_000}), yard.blob({"b": "1"})]
    rows = {row.id: row for row in yard.store.walk()}
    assert set(rows) == set(layers)
    assert 100_000 <= (rows[layers[0]].usage or 0) < 200_000
    assert rows[layers[1]].usage is None


def test_using_a_layer_is_remembered(yard: Yard) -> None:
    layer = yard.step({})
    before = yard.store.get(layer).used
    yard.store.touch((layer,))
    assert yard.store.get(layer).used > before
    assert yard.reopen().store.get(layer).used > before


def test_everything_is_there_after_a_restart(yard: Yard) -> None:
    base = yard.step({"a": "1"})
    top = yard.blob({"b": "2"}, base=(base,))
    blob = yard.store.blob(base, ZSTD)
    chain = (base, top)
    described = yard.store.describe(chain)
    yard.store.record_chain(chain)
    again = yard.reopen()
    assert again.store.find_chain([diff_id for diff_id, _ in described]) == chain
    assert again.store.blob(base, ZSTD) == blob
    assert again.names(chain) == {"a": "1", "b": "2"}
    assert again.store.describe(chain) == described


def test_a_restart_makes_rows_and_snapshots_agree(yard: Yard) -> None:
    kept, lost, unpacked = yard.step({"a": "1"}), yard.step({"b": "1"}), yard.blob({"c": "1"})
    chain = (kept, lost)
    yard.store.record_chain(chain)
    yard.store.materialise((unpacked,))
    for layer in (lost, unpacked):
        snapshot = yard.store.get(layer).snapshot
        assert snapshot is not None
        yard.snapshotter.remove(snapshot)
    debris = yard.snapshotter.prepare()
    yard.snapshotter.commit(debris)
    again = yard.reopen()
    assert again.snapshotter.walk() == (again.store.get(kept).snapshot,)
    assert not again.store.exists((lost,))
    assert again.store.get(unpacked).snapshot is None
    assert again.names((unpacked,)) == {"c": "1"}
    assert again.database.rows("SELECT count(*) FROM chains") == [(0,)]


def test_a_missing_blob_says_which(yard: Yard) -> None:
    diff_id, descriptor = yard.put(tar_of({"a": "1"}))
    layer = yard.store.add_blob((), diff_id, descriptor)
    yard.content.delete(descriptor.digest)
    assert not yard.store.exists((layer,))
    with pytest.raises(NotFoundError, match=diff_id):
        yard.store.materialise((layer,))


def test_what_is_no_layer_is_refused(yard: Yard) -> None:
    with pytest.raises(UnsupportedError):
        yard.store.add_blob(
            (), digests.of_bytes(b"x"), Descriptor(media_type="text/plain", digest=digests.of_bytes(b""), size=0)
        )


# Damage


def damage(yard: Yard, descriptor: Descriptor, change: Callable[[bytearray], object]) -> None:
    path = yard.content.path(descriptor.digest)
    data = bytearray(path.read_bytes())
    change(data)
    path.chmod(0o600)
    path.write_bytes(data)


def flip(data: bytearray) -> None:
    data[len(data) // 2] ^= 0x40


@pytest.mark.parametrize("compression", [TAR, GZIP, ZSTD], ids=lambda c: c.key)
def test_a_damaged_blob_is_named_and_nothing_of_it_stays(compression: Compression, yard: Yard) -> None:
    tar = tar_of({"a": "abc" * 1000})
    diff_id, descriptor = yard.put(tar, compression)
    layer = yard.store.add_blob((), diff_id, descriptor)
    damage(yard, descriptor, flip)
    with pytest.raises(IntegrityError, match=descriptor.digest):
        yard.store.materialise((layer,))
    assert yard.snapshotter.walk() == ()
    assert yard.content.info(descriptor.digest) is None
    yard.put(tar, compression)
    assert yard.names((layer,)) == {"a": "abc" * 1000}


def test_a_blob_with_other_bytes_than_its_image_says_is_refused(yard: Yard) -> None:
    _, descriptor = yard.put(tar_of({"a": "1"}))
    other = digests.of_bytes(b"other")
    layer = yard.store.add_blob((), other, descriptor)
    with pytest.raises(IntegrityError, match=other):
        yard.store.materialise((layer,))
    with pytest.raises(IntegrityError, match=other), yard.store.open_tar(layer) as stream:
        stream.read()
    with pytest.raises(IntegrityError, match=other):
        yard.store.blob(layer, ZSTD, force=True)
    assert yard.snapshotter.walk() == ()
    assert yard.content.info(descriptor.digest) is not None


def test_a_hostile_blob_leaves_nothing(yard: Yard) -> None:
    layer = yard.blob({"../../../evil": "1"})
    with pytest.raises(LayerError):
        yard.store.materialise((layer,))
    assert yard.snapshotter.walk() == ()
    assert list((yard.root / "snapshots/.active").iterdir()) == []
    assert not list(yard.root.rglob("evil"))


def test_files_that_were_changed_behind_the_store_s_back_are_noticed(yard: Yard) -> None:
    layer = yard.step({"a": "1"})
    ((diff_id, _),) = yard.store.describe((layer,))
    (yard.store.directories((layer,))[0] / "a").write_text("2")
    with pytest.raises(IntegrityError, match=diff_id):
        yard.store.blob(layer, GZIP)
    with pytest.raises(IntegrityError, match=diff_id), yard.store.open_tar(layer) as stream:
        stream.read()
    assert list(yard.content.walk()) == []


def test_a_layer_whose_files_were_changed_is_no_result_any_more_but_still_there(yard: Yard) -> None:
    layer = yard.step({"a": "1"})
    ((diff_id, _),) = yard.store.describe((layer,))
    directory = yard.store.directories((layer,))[0]
    (directory / "a").write_text("2")
    with pytest.raises(IntegrityError) as caught:
        yard_bytes(yard, layer)
    assert str(directory) in caught.value.message and diff_id in caught.value.message
    assert "build" in (caught.value.hint or "")
    assert not yard.store.exists((layer,))
    assert yard.store.find_layer(diff_id) is None
    assert yard.names((layer,)) == {"a": "2"}
    assert yard.store.exists((yard.step({"a": "1"}),))


def test_a_damaged_blob_of_a_step_s_layer_is_made_again(yard: Yard) -> None:
    layer = yard.step({"a": "1"})
    descriptor = yard.store.blob(layer, GZIP)
    damage(yard, descriptor, flip)
    assert yard.store.remake(descriptor.digest) == descriptor
    assert digests.of_bytes(yard.bytes_of(descriptor)) == descriptor.digest
    damage(yard, descriptor, lambda data: data.pop())
    assert yard.store.blob(layer, GZIP) == descriptor
    assert digests.of_bytes(yard.bytes_of(descriptor)) == descriptor.digest
    loaded = yard.blob({"x": "1"})
    origin = yard.store.get(loaded).origin
    assert origin is not None
    assert yard.store.remake(origin.digest) is None


def test_a_tar_that_is_read_only_in_part_leaves_no_thread(yard: Yard) -> None:
    layer = yard.step({"a": "x" * 3_000_000})
    before = threading.active_count()
    with yard.store.open_tar(layer) as stream:
        assert len(stream.read(100)) == 100
    assert threading.active_count() == before


def test_a_layer_of_many_mebibytes_is_the_same_both_ways(yard: Yard) -> None:
    active = yard.snapshotter.prepare()
    for number in range(6):
        (yard.snapshotter.directory(active) / str(number)).write_bytes(os.urandom(700_000) + bytes(1_700_000))
    layer = yard.store.add(active)
    ((diff_id, size),) = yard.store.describe((layer,))
    for compression in (GZIP, ZSTD, TAR):
        data = open_decompressed(io.BytesIO(yard.bytes_of(yard.store.blob(layer, compression)))).read()
        assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (size, diff_id)


def test_a_lower_layer_that_fails_fails_those_above_it(yard: Yard) -> None:
    base = yard.blob({"../x": "1"})
    top = yard.blob({"d/y": "1"}, base=(base,))
    with pytest.raises(LayerError):
        yard.store.materialise((base, top))


def test_steps_can_be_added_from_many_threads(yard: Yard) -> None:
    with ThreadPoolExecutor(8) as pool:
        layers = list(pool.map(lambda number: yard.step({f"f{number}": "1"}), range(40)))
        described = list(pool.map(lambda layer: yard.store.describe((layer,)), layers))
    assert len(set(layers)) == len(set(described)) == 40


def test_bytes_may_be_longer_than_any_limit_allows(tmp_path: Path, yard: Yard) -> None:
    from boatyard.image.layer.apply import Limits

    strict = LayerStore(yard.database, yard.content, yard.snapshotter, limits=Limits(bytes=10))
    layer = yard.blob({"a": "x" * 11})
    with pytest.raises(LayerError, match="too large"):
        strict.materialise((layer,))


def test_the_content_store_is_the_one_that_was_given(yard: Yard) -> None:
    content: ContentStore = yard.store.content
    assert content is yard.content
    assert yard.store.snapshotter is yard.snapshotter


def test_adding_needs_an_active_snapshot(yard: Yard) -> None:
    with pytest.raises(NotFoundError):
        yard.store.add(SnapshotId("nobody"))
    assert yard.store.walk() == []


def test_the_clock_can_be_given(yard: Yard) -> None:
    store = LayerStore(yard.database, yard.content, yard.snapshotter, clock=lambda: 5.0)
    active = yard.snapshotter.prepare()
    assert store.get(store.add(active)).created == 5.0
    assert time.time() > 5.0
    assert GZIP.media_type() == OCI_LAYER_GZIP
