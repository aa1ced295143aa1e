"""Images of OCI layouts in a client's directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boatyard.build.source.image import Images, NoFetcher
from boatyard.build.source.oci_layout import OciLayoutStep
from boatyard.errors import IntegrityError, InvalidError, NotFoundError, UnsupportedError
from boatyard.image.archive import layout
from boatyard.image.archive.contents import ArchivedImage, StoredLayers
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.platform import Platform
from boatyard.image.store import ImageStore
from fixtures.filework import DirectoryRequester, Told, Workshop
from fixtures.images import AMD64, ARM64, layer_tar, make_image, make_index

pytestmark = pytest.mark.root


class Client:
    """A client's directory with a layout in it, and a builder that takes images from there."""

    def __init__(self, root: Path) -> None:
        self.workshop = Workshop(root)
        self.directory = root / "layout"
        self.blobs = MemoryStore()
        self.images: list[ArchivedImage] = []

    def add(self, *names: str, text: str = "hello", index: bool = False) -> ArchivedImage:
        layers = [layer_tar({"file": text.encode()})]
        target = make_image(self.blobs, layers)
        if index:
            other = make_image(self.blobs, [layer_tar({"file": b"for arm"})], platform=ARM64)
            target = make_index(self.blobs, [target, other])
        image = ArchivedImage(target, tuple(names))
        self.images.append(image)
        self.directory.mkdir(exist_ok=True)
        layout.write_layout(self.directory, self.images, self.blobs, StoredLayers(self.blobs))
        return image

    def step(self, identifier: str, platform: Platform = AMD64) -> OciLayoutStep:
        store = self.workshop.store
        images = Images(ImageStore(Database(":memory:"), store.content), store, NoFetcher())
        requester = DirectoryRequester({"given": self.directory})
        return OciLayoutStep(f"oci-layout://{identifier}", {"oci.store": "given"}, platform, requester, images, store)

    async def take(self, identifier: str, platform: Platform = AMD64) -> dict[str, str]:
        step = self.step(identifier, platform)
        await step.cache_map(Told())
        (result,) = await step.execute(Told(), [])
        async with result.tree() as tree:
            return {path.name: path.read_text() for path in tree.iterdir()}

    def blob(self, digest: str) -> Path:
        return self.directory / "blobs" / digest.replace(":", "/")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


async def test_an_image_is_taken_by_its_tag_its_digest_or_as_the_only_one(client: Client) -> None:
    only = client.add("docker.io/library/app:1")
    assert await client.take("app") == {"file": "hello"}
    second = client.add("docker.io/library/app:2", text="second")
    assert await client.take("app:2") == {"file": "second"}
    assert await client.take(f"app@{only.target.digest}") == {"file": "hello"}
    assert await client.take(f"app:1@{second.target.digest}") == {"file": "second"}  # the digest decides
    with pytest.raises(NotFoundError, match="no image tagged 3; it has 1, 2"):
        await client.take("app:3")


async def test_of_an_index_the_platforms_image_is_taken(client: Client) -> None:
    client.add("docker.io/library/app:1", index=True)
    assert await client.take("app:1") == {"file": "hello"}
    assert await client.take("app:1", ARM64) == {"file": "for arm"}
    with pytest.raises(NotFoundError, match="s390x"):
        await client.take("app:1", Platform(os="linux", architecture="s390x"))


async def test_the_key_is_that_of_the_layers(client: Client) -> None:
    client.add("docker.io/library/app:1")
    client.add("docker.io/library/app:2")
    client.add("docker.io/library/app:3", text="other")
    keys = [(await client.step(f"app:{tag}").cache_map(Told())).digest for tag in (1, 2, 3)]
    assert keys[0] == keys[1] != keys[2]


async def test_a_damaged_blob_is_named_and_not_taken(client: Client) -> None:
    image = client.add("docker.io/library/app:1")
    (layer,) = (entry for entry in client.directory.glob("blobs/sha256/*") if entry.read_bytes()[:2] == b"\x1f\x8b")
    data = bytearray(layer.read_bytes())
    data[-10] ^= 1
    layer.write_bytes(data)
    with pytest.raises(IntegrityError, match=layer.name):
        await client.take("app:1")
    layer.unlink()
    with pytest.raises(NotFoundError, match=layer.name):
        await client.take("app:1")
    client.blob(image.target.digest).write_text("{}")
    with pytest.raises(IntegrityError, match=image.target.digest):
        await client.take("app:1")


async def test_what_is_no_layout_is_said(client: Client) -> None:
    client.directory.mkdir()
    with pytest.raises(NotFoundError, match="no OCI image layout"):
        await client.take("app")
    client.add("docker.io/library/app:1")
    (client.directory / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    with pytest.raises(UnsupportedError, match=r"2\.0\.0"):
        await client.take("app")
    (client.directory / "oci-layout").write_text("nonsense")
    with pytest.raises(InvalidError):
        await client.take("app")


async def test_a_pipe_in_the_place_of_a_blob_neither_blocks_nor_counts(client: Client) -> None:
    image = client.add("docker.io/library/app:1")
    blob = client.blob(image.target.digest)
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(InvalidError, match="not a regular file"):
        await client.take("app:1")
