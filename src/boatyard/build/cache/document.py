"""A cache that travels, as a document: layers, and records that lead to them.

The form is BuildKit's (`application/vnd.buildkit.cacheconfig.v0`): a record is found by its digest, here that of one of
our keys, and names layers by their number. What only our records have (the canonical key, further outputs) stands in a
field of its own, which BuildKit passes over; records of BuildKit's are keyed otherwise, and found by nobody here.

Pure. Specification: moby/buildkit, `cache/remotecache/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boatyard.errors import InvalidError
from boatyard.image import digest as digests
from boatyard.image.digest import Digest
from boatyard.image.spec import Descriptor
from boatyard.image.timestamp import rfc3339, seconds

CONFIG = "application/vnd.buildkit.cacheconfig.v0"
UNCOMPRESSED = "containerd.io/uncompressed"
_CREATED = "buildkit/createdat"
_MOST = 100_000
"""Layers or records of one document."""


class CacheLayer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`parent`: the number of the layer below, -1 for none."""

    blob: str = ""
    parent: int = 0


class CacheResult(msgspec.Struct, frozen=True, rename="camel"):
    layer: int
    created_at: str = "0001-01-01T00:00:00Z"


class Ours(msgspec.Struct, frozen=True, omit_defaults=True):
    """`outputs`: for each output the number of its top layer, -1 for an empty tree."""

    key: str
    outputs: tuple[int, ...]
    name: str = ""


class CacheRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    digest: str = ""
    layers: tuple[CacheResult, ...] = ()
    boatyard: Ours | None = None


class CacheConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    layers: tuple[CacheLayer, ...] = ()
    records: tuple[CacheRecord, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """A record as it is kept here, with all keys that lead to it. `outputs`: for each output its layers, the lowest
    first."""

    keys: tuple[str, ...]
    canonical: str
    outputs: tuple[tuple[Descriptor, ...], ...]
    created: float
    name: str


class Builder:
    """Puts a document together. `layers` are the descriptors that it refers to, each once."""

    def __init__(self) -> None:
        self.layers: dict[Digest, Descriptor] = {}
        self._numbers: dict[tuple[str, int], int] = {}
        self._records: list[CacheRecord] = []

    def add(self, entry: Entry) -> None:
        tops = tuple(self._top(chain) for chain in entry.outputs)
        ours = Ours(entry.canonical, tops, entry.name)
        created = rfc3339(entry.created)
        results = (CacheResult(tops[0], created),) if tops and tops[0] >= 0 else ()
        for key in sorted(entry.keys):
            self._records.append(CacheRecord(f"sha256:{key}", results, ours))

    def _top(self, chain: Sequence[Descriptor]) -> int:
        top = -1
        for layer in chain:
            self.layers.setdefault(layer.digest, layer)
            top = self._numbers.setdefault((layer.digest, top), len(self._numbers))
        return top

    def config(self) -> bytes:
        layers = tuple(CacheLayer(blob, parent) for blob, parent in self._numbers)
        return msgspec.json.encode(_Written(layers, tuple(self._records)))


class _WrittenLayer(msgspec.Struct, frozen=True):
    blob: str
    parent: int


class _Written(msgspec.Struct, frozen=True):
    """With every field of its layers: a parent that is left out would be the first layer."""

    layers: tuple[CacheLayer, ...]
    records: tuple[CacheRecord, ...]

    def __post_init__(self) -> None:
        full = tuple(_WrittenLayer(layer.blob, layer.parent) for layer in self.layers)
        msgspec.structs.force_setattr(self, "layers", full)


def with_diff_id(layer: Descriptor, diff_id: Digest, created: float) -> Descriptor:
    """A layer's descriptor as caches list it."""
    return msgspec.structs.replace(layer, annotations={_CREATED: rfc3339(created), UNCOMPRESSED: diff_id})


def parse(data: bytes, layers: Sequence[Descriptor]) -> Mapping[str, Entry]:
    """Our records, by key. `layers`: the descriptors of the document's manifest. InvalidError; records whose layers
    can't be had are left out."""
    try:
        config = msgspec.json.decode(data, type=CacheConfig)
    except msgspec.MsgspecError as error:
        raise InvalidError(f"the cache's records can't be read: {error}") from error
    if len(config.layers) > _MOST or len(config.records) > _MOST:
        raise InvalidError("the cache has too many records to be true")
    described: dict[str, Descriptor] = {layer.digest: layer for layer in layers}
    found: dict[str, Entry] = {}
    for record in config.records:
        ours = record.boatyard
        if ours is None or not digests.is_digest(record.digest):
            continue
        chains = tuple(_chain(config.layers, described, top) for top in ours.outputs)
        if any(chain is None for chain in chains):
            continue
        created = seconds(record.layers[0].created_at) if record.layers else 0.0
        outputs = tuple(chain for chain in chains if chain is not None)
        found[digests.encoded(Digest(record.digest))] = Entry((), ours.key, outputs, created, ours.name)
    return found


def _chain(
    layers: Sequence[CacheLayer], described: Mapping[str, Descriptor], top: int
) -> tuple[Descriptor, ...] | None:
    chain: list[Descriptor] = []
    while top >= 0:
        if top >= len(layers) or len(chain) > len(layers):
            return None
        layer = described.get(layers[top].blob)
        if layer is None or not digests.is_digest(layer.annotations.get(UNCOMPRESSED, "")):
            return None
        chain.append(layer)
        top = layers[top].parent
    return tuple(reversed(chain))
