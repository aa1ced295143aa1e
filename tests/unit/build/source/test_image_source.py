"""The image source: where an image is looked for, what its key heeds, and which layers come out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from boatyard.build.result import LayersResult
from boatyard.build.solver.step import SharedStep
from boatyard.build.source.image import FoundImage, Images, ImageStep, Keys, NoFetcher, Told
from boatyard.errors import ConflictError, NotFoundError
from boatyard.image import documents, spec
from boatyard.image import reference as references
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.image.platform import parse as parse_platform
from boatyard.image.reference import Reference
from boatyard.image.single import make_single
from boatyard.image.snapshot.copying import CopyingSnapshotter
from boatyard.image.spec import Descriptor, History, Index, RunConfig
from boatyard.image.store import ImageStore

AMD64, ARM64 = parse_platform("linux/amd64"), parse_platform("linux/arm64")


class Registry:
    """A fetcher with images of its own."""

    def __init__(self) -> None:
        self.images: dict[str, Descriptor] = {}
        self.asked: list[str] = []
        self.announced: list[str] = []

    async def fetch(self, reference: Reference, platform: Platform, keys: Keys) -> Descriptor:
        self.asked.append(reference.familiar())
        if reference.familiar() not in self.images:
            raise NotFoundError("not there either")
        return self.images[reference.familiar()]

    def has_brought(self, image: FoundImage) -> bool:
        return False

    def announce(self, image: FoundImage, keys: Keys, told: Told) -> None:
        self.announced.append(image.reference.familiar())


class NoKeys:
    async def registry_credentials(self, host: str) -> None:
        return None


class Store:
    def __init__(self, root: Path) -> None:
        database, self.content = Database(":memory:"), MemoryStore()
        self.layers = LayerStore(database, self.content, CopyingSnapshotter(root))
        self.images = ImageStore(database, self.content)
        self.registry = Registry()
        self.found = Images(self.images, self.layers, self.registry)

    def make(self, text: str, *, env: str = "A=1", platform: Platform = AMD64) -> Descriptor:
        active = self.layers.snapshotter.prepare()
        (self.layers.snapshotter.directory(active) / "file").write_text(text)
        config = RunConfig(env=(env,))
        entry = History(created="1970-01-01T00:00:00Z")
        return make_single(self.layers, active, platform, config, entry)[0]

    def keep(self, name: str, target: Descriptor) -> None:
        self.images.put(references.parse(name).with_default_tag(), target)

    def step(self, reference: str, *, platform: Platform = AMD64, mode: str = "default") -> ImageStep:
        return ImageStep(f"docker-image://{reference}", {"image.resolvemode": mode}, platform, self.found, NoKeys())

    async def key(self, reference: str, *, platform: Platform = AMD64, mode: str = "default") -> str:
        return (await self.step(reference, platform=platform, mode=mode).cache_map(TOLD)).digest

    async def layers_of(self, reference: str, *, platform: Platform = AMD64) -> LayersResult:
        step = self.step(reference, platform=platform)
        await step.cache_map(TOLD)
        (result,) = await step.execute(TOLD, [])
        assert isinstance(result, LayersResult)
        return result


async def removed(layers: LayerStore, layer: LayerId) -> None:
    """Remove it as soon as the thread that made the last result has let go of it."""
    while True:
        try:
            return layers.remove(layer)
        except ConflictError:
            await asyncio.sleep(0.001)


TOLD = SharedStep(lambda: 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


async def test_an_image_of_the_store_becomes_its_layers(store: Store) -> None:
    store.keep("base", store.make("hello"))
    result = await store.layers_of("docker.io/library/base:latest")
    assert await result.read_file("/file") == b"hello"
    assert store.registry.asked == []


async def test_a_result_keeps_its_layers_although_the_image_goes(store: Store) -> None:
    store.keep("base", store.make("hello"))
    result = await store.layers_of("base")
    with pytest.raises(ConflictError):
        store.layers.remove(result.layers[0])


async def test_a_layer_that_was_collected_before_it_was_held_is_made_known_anew(store: Store) -> None:
    target = store.make("hello")
    store.keep("base", target)
    found = await store.found.find(references.parse("base").with_default_tag(), AMD64, NoKeys())
    first = await store.found.layers(found)
    layers: tuple[LayerId, ...] = first.layers
    del first
    for layer in layers:
        await removed(store.layers, layer)
    again = await store.found.layers(found)
    assert len(again.layers) == 1


async def test_the_key_is_that_of_the_layers_not_of_the_config(store: Store) -> None:
    store.keep("one", store.make("same", env="A=1"))
    store.keep("two", store.make("same", env="A=2"))
    store.keep("other", store.make("different"))
    assert await store.key("one") == await store.key("two")
    assert await store.key("one") != await store.key("other")


async def test_of_several_platforms_the_wanted_one_is_taken(store: Store) -> None:
    entries = []
    for text, platform in (("for amd64", AMD64), ("for arm64", ARM64)):
        manifest = store.make(text, platform=platform)
        entries.append(msgspec.structs.replace(manifest, platform=platform))
    index = Index(schema_version=2, media_type=spec.OCI_INDEX, manifests=tuple(entries))
    store.keep("base", documents.write(store.content, spec.encode(index), spec.OCI_INDEX))
    assert await (await store.layers_of("base", platform=ARM64)).read_file("/file") == b"for arm64"
    assert await store.key("base", platform=AMD64) != await store.key("base", platform=ARM64)
    with pytest.raises(NotFoundError):
        await store.key("base", platform=parse_platform("linux/s390x"))


async def test_what_is_not_in_the_store_is_fetched(store: Store) -> None:
    store.registry.images["far:latest"] = store.make("from afar")
    assert await (await store.layers_of("far")).read_file("/file") == b"from afar"


async def test_pull_asks_for_something_newer_and_is_content_without(store: Store) -> None:
    store.keep("base", store.make("old"))
    old = await store.key("base", mode="pull")
    store.registry.images["base:latest"] = store.make("new")
    assert await store.key("base", mode="pull") != old
    assert store.registry.asked == ["base:latest"] * 2


async def test_local_asks_nobody(store: Store) -> None:
    store.registry.images["far:latest"] = store.make("from afar")
    with pytest.raises(NotFoundError, match="not in the local store") as caught:
        await store.key("far", mode="local")
    assert caught.value.hint
    assert store.registry.asked == []


async def test_without_registries_the_error_says_how_to_get_a_base_image(store: Store) -> None:
    with pytest.raises(NotFoundError, match="debian is not in the local store, and no registry is asked") as caught:
        images = Images(store.images, store.layers, NoFetcher())
        await images.find(references.parse("debian"), AMD64, NoKeys())
    assert "boat bootstrap" in (caught.value.hint or "")
