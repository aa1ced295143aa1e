"""The `local` and `tar` exporters on real layers: what arrives, whose it is, and what can't be led astray."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.build.exporter.base import BuiltImage, ExportRequest
from boatyard.build.exporter.files import LocalExporter, TarExporter
from boatyard.build.requester import OutputTarget
from boatyard.build.result import LayersResult
from boatyard.build.solver.step import SharedStep
from boatyard.errors import InvalidError, StorageError, UnavailableError
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import parse as parse_platform
from boatyard.image.snapshot.copying import CopyingSnapshotter
from boatyard.image.spec import ImageConfig

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")


class Place:
    """A layer store, a destination, and exporters."""

    def __init__(self, root: Path) -> None:
        self.layers = LayerStore(Database(":memory:"), MemoryStore(), CopyingSnapshotter(root / "snapshots"))
        self.target = root / "target"
        self.target.mkdir()
        self.step = SharedStep(lambda: 0.0)
        self.uid, self.gid = os.geteuid(), os.getegid()

    def layer(self) -> Path:
        """The directory of a layer to be; `image` makes an image of the last one."""
        self._active = self.layers.snapshotter.prepare()
        return self.layers.snapshotter.directory(self._active)

    def image(self, platform: str = "linux/amd64", epoch: int | None = None) -> BuiltImage:
        chain = (self.layers.add(self._active),)
        return BuiltImage(
            parse_platform(platform),
            LayersResult(chain, self.layers),
            ImageConfig(architecture="amd64", os="linux"),
            epoch=epoch,
        )

    async def export(self, *images: BuiltImage, **attrs: str) -> None:
        exporter = LocalExporter(self.layers)
        exporter.check(attrs)
        descriptor = os.open(self.target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            target = OutputTarget(directory_fd=descriptor, uid=self.uid, gid=self.gid)
            await exporter(self.step, ExportRequest(images, attrs, target, len(images) > 1))
        finally:
            os.close(descriptor)

    async def tar(self, *images: BuiltImage) -> dict[str, tarfile.TarInfo]:
        path = self.target / "out.tar"
        with open(path, "wb") as file:
            target = OutputTarget(file_fd=file.fileno())
            await TarExporter(self.layers)(self.step, ExportRequest(images, {}, target, len(images) > 1))
        with tarfile.open(path) as tar:
            return {entry.name: entry for entry in tar}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_files_arrive_with_modes_times_and_links(place: Place) -> None:
    source = place.layer()
    (source / "bin").mkdir(mode=0o750)
    (source / "bin/tool").write_bytes(b"\x7fELF" * 1000)
    (source / "bin/tool").chmod(0o755)
    (source / "link").symlink_to("bin/tool")
    os.mkfifo(source / "pipe")
    os.utime(source / "bin/tool", (1, 1))
    await place.export(place.image())
    assert (place.target / "bin/tool").read_bytes() == b"\x7fELF" * 1000
    assert stat.S_IMODE((place.target / "bin/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((place.target / "bin").stat().st_mode) == 0o750
    assert (place.target / "bin/tool").stat().st_mtime == 1
    assert os.readlink(place.target / "link") == "bin/tool"
    assert stat.S_ISFIFO((place.target / "pipe").stat().st_mode)


async def test_times_are_not_after_the_epoch_of_the_build(place: Place) -> None:
    source = place.layer()
    (source / "new").touch()
    (source / "directory").mkdir()
    await place.export(place.image(epoch=1000))
    assert (place.target / "new").stat().st_mtime == (place.target / "directory").stat().st_mtime == 1000


async def test_what_is_there_already_stays_or_goes_as_asked(place: Place) -> None:
    (place.target / "old").mkdir()
    (place.target / "old/file").touch()
    (place.layer() / "new").touch()
    image = place.image()
    await place.export(image)
    assert sorted(os.listdir(place.target)) == ["new", "old"]
    await place.export(image, mode="delete")
    assert os.listdir(place.target) == ["new"]


async def test_symlinks_in_the_destination_are_replaced_never_followed(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    (place.target / "etc").symlink_to(outside)
    (place.target / "file").symlink_to(outside / "precious")
    source = place.layer()
    (source / "etc").mkdir()
    (source / "etc/precious").write_text("theirs")
    (source / "file").write_text("theirs")
    await place.export(place.image())
    assert (outside / "precious").read_text() == "mine"
    assert os.listdir(outside) == ["precious"]
    assert (place.target / "etc/precious").read_text() == (place.target / "file").read_text() == "theirs"
    assert not (place.target / "etc").is_symlink()


async def test_emptying_the_destination_does_not_follow_symlinks(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (place.target / "link").symlink_to(outside)
    (place.layer() / "new").touch()
    await place.export(place.image(), mode="delete")
    assert os.listdir(place.target) == ["new"]
    assert (outside / "precious").exists()


async def test_a_file_in_the_way_of_a_directory_and_the_reverse_give_way(place: Place) -> None:
    (place.target / "a").write_text("file")
    (place.target / "b").mkdir()
    (place.target / "b/inner").touch()
    source = place.layer()
    (source / "a").mkdir()
    (source / "b").write_text("now a file")
    await place.export(place.image())
    assert (place.target / "a").is_dir()
    assert (place.target / "b").read_text() == "now a file"


@root_only
async def test_files_are_given_to_the_requester_but_not_what_others_had(place: Place) -> None:
    place.uid = place.gid = 1000
    (place.target / "shared").mkdir()
    os.chown(place.target / "shared", 7, 7)
    source = place.layer()
    (source / "shared").mkdir()
    (source / "shared/tool").touch()
    (source / "shared/tool").chmod(0o4755)
    (source / "link").symlink_to("x")
    await place.export(place.image())
    assert (place.target / "shared").stat().st_uid == 7
    assert (place.target / "shared/tool").stat().st_uid == 1000
    assert stat.S_IMODE((place.target / "shared/tool").stat().st_mode) == 0o755
    assert (place.target / "link").lstat().st_uid == 1000


async def test_several_platforms_get_directories_of_their_own(place: Place) -> None:
    (place.layer() / "file").write_text("amd64")
    one = place.image("linux/amd64")
    (place.layer() / "file").write_text("arm64")
    other = place.image("linux/arm64")
    await place.export(one, other)
    assert (place.target / "linux_amd64/file").read_text() == "amd64"
    assert (place.target / "linux_arm64/file").read_text() == "arm64"


async def test_a_tree_of_hundreds_of_levels_arrives(place: Place) -> None:
    source = place.layer()
    deep = source.joinpath(*["d"] * 400)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    await place.export(place.image())
    assert place.target.joinpath(*["d"] * 400, "file").exists()


@pytest.mark.parametrize("attrs", [{"mode": "merge"}, {"nmae": "x"}, {"platform-split": "perhaps"}])
def test_attributes_are_checked_before_anything_is_built(place: Place, attrs: dict[str, str]) -> None:
    with pytest.raises(InvalidError):
        LocalExporter(place.layers).check(attrs)


async def test_an_output_without_a_place_is_refused(place: Place) -> None:
    place.layer()
    for exporter in (LocalExporter(place.layers), TarExporter(place.layers)):
        with pytest.raises(InvalidError, match="needs a"):
            await exporter(place.step, ExportRequest([place.image()], {}, OutputTarget()))
        place.layer()


async def test_an_export_that_is_cancelled_has_ended_before_its_directory_is_closed(place: Place) -> None:
    source = place.layer()
    for number in range(3000):
        (source / f"f{number}").touch()
    task = asyncio.create_task(place.export(place.image()))
    while not os.listdir(place.target) and not task.done():  # noqa: ASYNC110 -- a thread of the exporter makes them
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    count = len(os.listdir(place.target))
    await asyncio.sleep(0.02)
    assert len(os.listdir(place.target)) == count < 3000


@root_only
async def test_a_tar_keeps_owners_modes_and_devices(place: Place) -> None:
    source = place.layer()
    (source / "tool").touch()
    os.chown(source / "tool", 1000, 1001)
    (source / "tool").chmod(0o4755)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    found = await place.tar(place.image())
    assert (found["tool"].uid, found["tool"].gid, found["tool"].mode) == (1000, 1001, 0o4755)
    assert (found["null"].type, found["null"].devmajor, found["null"].devminor) == (tarfile.CHRTYPE, 1, 3)


@root_only
async def test_a_tar_of_several_platforms_keeps_owners_too(place: Place) -> None:
    images = []
    for platform in ("linux/amd64", "linux/arm64"):
        source = place.layer()
        (source / "tool").touch()
        os.chown(source / "tool", 1000, 1001)
        images.append(place.image(platform))
    found = await place.tar(*images)
    assert (found["linux_arm64/tool"].uid, found["linux_amd64/tool"].gid) == (1000, 1001)
    assert (
        os.listdir(place.layers.snapshotter.directory(place.layers.snapshotter.walk()[0]).parent.parent / ".active")
        == []
    )


@pytest.fixture
def full() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


async def test_a_full_disk_is_told_as_such(place: Place, full: int) -> None:
    (place.layer() / "file").write_bytes(bytes(1 << 20))
    request = ExportRequest([place.image()], {}, OutputTarget(file_fd=full))
    with pytest.raises(StorageError, match="No space left") as caught:
        await TarExporter(place.layers)(place.step, request)
    assert caught.value.hint


async def test_a_reader_that_goes_away_is_told_as_such(place: Place) -> None:
    (place.layer() / "file").write_bytes(os.urandom(4 << 20))
    reader, writer = os.pipe()
    taken = threading.Thread(target=lambda: (os.read(reader, 1000), os.close(reader)))
    taken.start()
    with pytest.raises(UnavailableError, match="went away"):
        await TarExporter(place.layers)(place.step, ExportRequest([place.image()], {}, OutputTarget(file_fd=writer)))
    taken.join()
    os.close(writer)


async def test_a_tar_goes_through_a_pipe(place: Place) -> None:
    data = os.urandom(1 << 20)
    (place.layer() / "file").write_bytes(data)
    reader, writer = os.pipe()
    got = io.BytesIO()

    def take() -> None:
        with open(reader, "rb") as file:
            got.write(file.read())

    taking = threading.Thread(target=take)
    taking.start()
    await TarExporter(place.layers)(place.step, ExportRequest([place.image()], {}, OutputTarget(file_fd=writer)))
    os.close(writer)
    taking.join()
    got.seek(0)
    with tarfile.open(fileobj=got) as tar:
        file = tar.extractfile("file")
        assert file is not None and file.read() == data
