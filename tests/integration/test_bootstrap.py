"""Base images made without a registry: what is in them, and that the same inputs give the same image."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.bootstrap.image import BootstrapRequest, bootstrap
from boatyard.image.database import Database
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import LayerId
from boatyard.image.platform import Platform, host_platform
from boatyard.image.spec import ImageConfig
from boatyard.image.store import ImageStore
from fixtures.filework import Workshop

pytestmark = pytest.mark.root
EPOCH = 1_600_000_000


class Base:
    """A store of its own with one base image in it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.workshop = Workshop(directory)
        self.layers = self.workshop.store
        self.images = ImageStore(Database(":memory:"), self.layers.content)

    async def make(self, name: str, *, platform: Platform | None = None, epoch: int | None = EPOCH) -> Digest:
        request = BootstrapRequest(references.parse(name), platform or host_platform(), epoch=epoch)
        target = await bootstrap(request, self.layers, lambda line: None)
        self.images.put(request.reference, target)
        return target.digest

    def config(self, name: str) -> ImageConfig:
        image = self.images.get(name)
        assert image is not None
        return documents.read_image(self.layers.content, image.target, host_platform()).config

    def chain(self, name: str) -> tuple[LayerId, ...]:
        found = self.layers.find_chain(self.config(name).rootfs.diff_ids)
        assert found is not None
        return found


async def test_busybox_is_a_shell_and_nothing_else(tmp_path: Path) -> None:
    base = Base(tmp_path / "a")
    await base.make("busybox")
    config = base.config("busybox")
    assert config.config.cmd == ("sh",)
    assert config.created.startswith("2020-09-13T12:26:40")
    with base.layers.mount(base.chain("busybox")) as tree:
        assert (tree / "bin/sh").readlink() == Path("busybox")
        assert (tree / "usr/bin/env").resolve() == (tree / "bin/busybox").resolve()
        assert (tree / "bin/busybox").stat().st_mode & 0o7777 == 0o755
        assert (tree / "etc/passwd").read_text().startswith("root:x:0:0:")
        assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777
        assert (tree / "root").stat().st_mode & 0o7777 == 0o700


async def test_busybox_twice_is_the_same_image(tmp_path: Path) -> None:
    digests = [await Base(tmp_path / name).make("busybox") for name in "ab"]
    assert digests[0] == digests[1]
    assert await Base(tmp_path / "c").make("busybox", epoch=EPOCH + 1) != digests[0]


async def test_what_there_is_no_recipe_for_is_said(tmp_path: Path) -> None:
    base = Base(tmp_path / "a")
    with pytest.raises(InvalidError, match="no recipe") as raised:
        await base.make("alpine:3")
    assert "debian:bookworm-slim" in (raised.value.hint or "")
    with pytest.raises(InvalidError, match="Debian has no release"):
        await base.make("busybox", platform=Platform(os="linux", architecture="wasm"))
    with pytest.raises(InvalidError, match="Debian has no release"):
        await base.make("debian:12", platform=Platform(os="linux", architecture="wasm"))
    assert list(base.layers.walk()) == []


@pytest.mark.network
@pytest.mark.timeout(300)
async def test_debian_twice_is_the_same_image(tmp_path: Path) -> None:
    if not shutil.which("mmdebstrap"):
        pytest.skip("needs mmdebstrap")
    first, second = Base(tmp_path / "a"), Base(tmp_path / "b")
    assert await first.make("debian:bookworm-slim") == await second.make("debian:bookworm-slim")
    with first.layers.mount(first.chain("debian:bookworm-slim")) as tree:
        assert "bookworm" in (tree / "etc/os-release").read_text()
        assert (tree / "usr/bin/apt-get").exists()
        assert not (tree / "etc/resolv.conf").exists()
        assert (tree / "etc/machine-id").read_text() == ""
        assert not list((tree / "usr/share/man").glob("man*/*"))
        assert list((tree / "usr/share/doc").glob("*/copyright"))


@pytest.mark.network
@pytest.mark.timeout(120)
async def test_a_busybox_of_another_architecture_is_made_without_running_it(tmp_path: Path) -> None:
    if not shutil.which("mmdebstrap"):
        pytest.skip("needs mmdebstrap")
    base, other = Base(tmp_path / "a"), Platform(os="linux", architecture="s390x")
    request = BootstrapRequest(references.parse("busybox"), other, epoch=EPOCH, runnable=False)
    target = await bootstrap(request, base.layers, lambda line: None)
    found = documents.read_image(base.layers.content, target)
    assert found.platform == other
    chain = base.layers.find_chain(found.config.rootfs.diff_ids)
    assert chain is not None
    with base.layers.mount(chain) as tree:
        # ELF, 64 bits, big endian, machine 22.
        assert (tree / "bin/busybox").read_bytes()[:20] == b"\x7fELF\2\2\1\3" + bytes(8) + b"\0\2\0\x16"
        assert (tree / "bin/sh").readlink() == Path("busybox")
    with pytest.raises(UnsupportedError) as raised:
        await bootstrap(replace(request, reference=references.parse("debian")), base.layers, lambda line: None)
    assert raised.value.hint == "boat platform install s390x"
