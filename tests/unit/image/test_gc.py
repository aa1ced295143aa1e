from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pytest

from boatyard.errors import ConflictError
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.digest import Digest
from boatyard.image.gc import Collected, collect
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.lease import Leases
from boatyard.image.snapshot.snapshotter import SnapshotId
from boatyard.image.spec import Descriptor
from boatyard.image.store import ImageStore
from fixtures.images import layer_tar, make_attestation, make_image, make_index

NOW = 10_000.0
SNAPSHOT = SnapshotId("snapshot")


@dataclass(frozen=True)
class Row:
    id: LayerId
    snapshot: SnapshotId | None = SNAPSHOT
    base: Chain = ()
    diff_id: Digest | None = None
    usage: int | None = 100
    used: float = 0.0
    blobs: Sequence[Descriptor] = ()


@dataclass
class Rows:
    """The part of a layer store that garbage collection needs."""

    rows: dict[LayerId, Row] = field(default_factory=dict)
    chains: dict[tuple[Digest, ...], Chain] = field(default_factory=dict)
    mounted: set[LayerId] = field(default_factory=set)
    before_remove: Callable[[LayerId], object] = lambda layer: None

    def add(self, row: Row) -> LayerId:
        self.rows[row.id] = row
        return row.id

    def walk(self) -> Iterable[Row]:
        return list(self.rows.values())

    def find_chain(self, diff_ids: Sequence[Digest]) -> Chain | None:
        return self.chains.get(tuple(diff_ids))

    def remove(self, layer: LayerId) -> None:
        self.before_remove(layer)
        if layer in self.mounted:
            raise ConflictError("mounted")
        del self.rows[layer]


class Yard:
    def __init__(self) -> None:
        self.time = 0.0
        self.content = MemoryStore(clock=lambda: self.time)
        database = Database(":memory:")
        self.images = ImageStore(database, self.content)
        self.leases = Leases(database)
        self.layers = Rows()

    def blob(self, data: bytes, media_type: str = spec.OCI_LAYER) -> Descriptor:
        return documents.write(self.content, data, media_type)

    def collect(self, roots: Sequence[LayerId] = (), grace: float = 60.0) -> Collected:
        return collect(self.content, self.layers, self.images, self.leases, roots=lambda: roots, grace=grace, now=NOW)

    def digests(self) -> set[Digest]:
        return {info.digest for info in self.content.walk()}


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_what_nothing_names_is_removed_and_counted(yard: Yard) -> None:
    blob = yard.blob(b"x" * 1000)
    layer = yard.layers.add(Row(LayerId("a")))
    collected = yard.collect()
    assert collected == Collected((blob.digest,), (layer,), 1100)
    assert not yard.digests()
    assert yard.collect() == Collected()


def test_everything_that_an_image_names_is_kept(yard: Yard) -> None:
    image = make_image(yard.content)
    yard.images.put("tool", make_index(yard.content, [image, make_attestation(yard.content, image.digest)]))
    before = yard.digests()
    stray = yard.blob(b"stray")
    assert yard.collect().blobs == (stray.digest,)
    assert yard.digests() == before


def test_a_deleted_image_goes_but_what_it_shares_stays(yard: Yard) -> None:
    base, top = layer_tar({"base": b""}), layer_tar({"top": b""})
    yard.images.put("one", make_image(yard.content, [base]))
    kept = yard.digests()
    yard.images.put("two", make_image(yard.content, [base, top]))
    yard.images.delete("two")
    assert len(yard.collect().blobs) == 3
    assert yard.digests() == kept


def test_young_things_are_kept_for_the_grace_period(yard: Yard) -> None:
    yard.time = NOW - 59
    blob = yard.blob(b"young")
    yard.layers.add(Row(LayerId("young"), used=NOW - 59))
    assert yard.collect() == Collected()
    assert yard.collect(grace=58).blobs == (blob.digest,)


def test_what_a_lease_holds_is_kept(yard: Yard) -> None:
    blob = yard.blob(b"leased")
    layer = yard.layers.add(Row(LayerId("leased")))
    with yard.leases.hold() as lease:
        lease.add_blob(blob.digest)
        lease.add_layer(layer)
        assert yard.collect() == Collected()
    assert yard.collect() == Collected((blob.digest,), (layer,), 106)


def test_layers_of_the_build_cache_are_kept_with_their_blobs(yard: Yard) -> None:
    blob = yard.blob(b"blob")
    cached = yard.layers.add(Row(LayerId("cached"), blobs=(blob,)))
    assert yard.collect(roots=[cached]) == Collected()
    assert yard.collect() == Collected((blob.digest,), (cached,), 104)


def test_layers_of_an_image_whose_layers_are_virtual_are_kept(yard: Yard) -> None:
    tars = [layer_tar({"base": b""}), layer_tar({"top": b""})]
    yard.images.put("tool", make_image(yard.content, tars, virtual=True))
    diff_ids = tuple(digests.of_bytes(tar) for tar in tars)
    chain = tuple(yard.layers.add(Row(LayerId(str(n)), diff_id=diff)) for n, diff in enumerate(diff_ids))
    twin = yard.layers.add(Row(LayerId("twin"), diff_id=diff_ids[1]))
    assert yard.collect() == Collected()
    yard.layers.chains[diff_ids] = chain
    assert yard.collect().layers == (twin,)


def test_unpacked_layers_of_an_images_blobs_are_kept(yard: Yard) -> None:
    image = make_image(yard.content)
    yard.images.put("tool", image)
    layer = documents.read_manifest(yard.content, image).layers[0]
    yard.layers.add(Row(LayerId("base"), blobs=(layer,)))
    assert yard.collect() == Collected()


def test_a_layer_that_is_not_unpacked_keeps_those_below_it(yard: Yard) -> None:
    base = yard.layers.add(Row(LayerId("base")))
    packed = yard.layers.add(Row(LayerId("packed"), snapshot=None, base=(base,)))
    unpacked = yard.layers.add(Row(LayerId("unpacked"), base=(base,)))
    assert yard.collect(roots=[packed]).layers == (unpacked,)
    yard.layers.add(Row(LayerId("unpacked"), base=(base,)))
    assert set(yard.collect(roots=[unpacked]).layers) == {base, packed}


def test_a_mounted_layer_is_left_with_its_blobs(yard: Yard) -> None:
    blob = yard.blob(b"blob")
    layer = yard.layers.add(Row(LayerId("mounted"), blobs=(blob,)))
    yard.layers.mounted.add(layer)
    assert yard.collect() == Collected()
    yard.layers.mounted.clear()
    assert yard.collect() == Collected((blob.digest,), (layer,), 104)


def test_a_young_layer_keeps_an_old_blob_and_an_old_base(yard: Yard) -> None:
    blob = yard.blob(b"blob")
    base = yard.layers.add(Row(LayerId("base")))
    yard.layers.add(Row(LayerId("young"), snapshot=None, base=(base,), used=NOW, blobs=(blob,)))
    assert yard.collect() == Collected()


def test_what_is_leased_during_the_collection_is_spared(yard: Yard) -> None:
    layers = [yard.layers.add(Row(LayerId(name))) for name in "abc"]
    lease = yard.leases.create()
    yard.layers.before_remove = lambda layer: lease.add_layer(layers[2]) if layer == layers[0] else None
    assert yard.collect().layers == (layers[0], layers[1])


def test_an_image_that_is_named_during_the_collection_is_spared(yard: Yard) -> None:
    image = make_image(yard.content)
    kept = yard.digests()
    yard.layers.add(Row(LayerId("a")))
    yard.layers.before_remove = lambda layer: yard.images.put("tool", image)
    assert yard.collect().blobs == ()
    assert yard.digests() == kept


def test_a_platform_that_was_never_fetched_does_not_disturb(yard: Yard) -> None:
    present = make_image(yard.content)
    absent = Descriptor(media_type=spec.OCI_MANIFEST, digest=digests.of_bytes(b"absent"), size=6)
    yard.images.put("tool", make_index(yard.content, [absent, present]))
    assert yard.collect() == Collected()


def test_an_image_that_cannot_be_read_is_not_removed(yard: Yard) -> None:
    broken = yard.blob(b"{}", spec.OCI_MANIFEST)
    yard.images.put("broken", broken)
    assert yard.collect() == Collected()
