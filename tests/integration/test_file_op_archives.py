"""ADD unpacks archives, told by their bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from boatyard.build.llb.graph import Chown, User
from boatyard.errors import LayerError
from fixtures.filework import Link, Workshop, grow

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("private_mounts")]

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


def archive(files: dict[str, str | None], **attributes: object) -> bytes:
    """A tar; None makes a directory, a text that begins with -> a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            for key, value in attributes.items():
                setattr(entry, key, value)
            data = b""
            if text is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            elif text.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, text[3:]
            else:
                data = text.encode()
                entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.mark.parametrize("packer", PACKERS)
async def test_every_compression_is_unpacked(workshop: Workshop, packer: str) -> None:
    grow(workshop.context, {"a.bin": PACKERS[packer](archive({"d": None, "d/f": "f", "l": "-> d/f"}))})
    result = await workshop.copy(await workshop.local(), src="a.bin", dest="/x/", attempt_unpack=True)
    assert await workshop.shown(result) == {"x/": "", "x/d/": "", "x/d/f": "f", "x/l": "-> d/f"}


@pytest.mark.parametrize(
    "content", [b"", b"not a tar", gzip.compress(b"just text", mtime=0), b"\x1f\x8b\x08 broken", os.urandom(2000)]
)
async def test_everything_else_is_copied(workshop: Workshop, content: bytes) -> None:
    grow(workshop.context, {"file.tar.gz": content})
    result = await workshop.copy(await workshop.local(), src="file.tar.gz", dest="/x/", attempt_unpack=True)
    async with result.tree() as tree:
        assert (tree / "x/file.tar.gz").read_bytes() == content


async def test_without_unpacking_it_stays_an_archive(workshop: Workshop) -> None:
    grow(workshop.context, {"a.tar": archive({"f": "f"})})
    result = await workshop.copy(await workshop.local(), src="a.tar", dest="/x/")
    assert list(await workshop.shown(result)) == ["x/", "x/a.tar"]


async def test_it_goes_over_what_the_base_has(workshop: Workshop) -> None:
    base = workshop.layers({"usr/lib/old": "old", "lib": Link("usr/lib"), "srv/d/keep": "k", "srv/d/over": "old"})
    content = archive({"lib/new": "new", "srv/d/over": "new", ".wh.lib": "no whiteout", "srv/.wh.d": ""})
    grow(workshop.context, {"a.tar": content})
    result = await workshop.copy(await workshop.local(), base, src="a.tar", dest="/", attempt_unpack=True)
    assert await workshop.shown(result) == {
        ".wh.lib": "no whiteout",
        "lib": "-> usr/lib",
        "srv/": "",
        "srv/.wh.d": "",
        "srv/d/": "",
        "srv/d/keep": "k",
        "srv/d/over": "new",
        "usr/": "",
        "usr/lib/": "",
        "usr/lib/new": "new",
        "usr/lib/old": "old",
    }


async def test_owners_are_the_archives_unless_one_is_given(workshop: Workshop) -> None:
    grow(workshop.context, {"a.tar": archive({"f": "f"}, uid=12, gid=13)})
    kept = await workshop.copy(await workshop.local(), src="a.tar", dest="/x", attempt_unpack=True)
    assert ((await workshop.status(kept, "x/f")).st_uid, (await workshop.status(kept, "x/f")).st_gid) == (12, 13)
    owner = Chown(User(id=5), User(id=6))
    given = await workshop.copy(await workshop.local(), src="a.tar", dest="/x", attempt_unpack=True, owner=owner)
    for path in ("x", "x/f"):
        status = await workshop.status(given, path)
        assert (status.st_uid, status.st_gid) == (5, 6)


async def test_several_archives_and_files_are_told_apart(workshop: Workshop) -> None:
    grow(workshop.context, {"a.x": archive({"a": "a"}), "b.x": "text", "c.x": archive({"c": "c"})})
    result = await workshop.copy(await workshop.local(), src="*.x", dest="/", attempt_unpack=True)
    assert await workshop.shown(result) == {"a": "a", "b.x": "text", "c": "c"}


@pytest.mark.parametrize("name", ["../../outside", "/../../outside"])
async def test_an_archive_can_not_leave_the_destination(workshop: Workshop, name: str) -> None:
    grow(workshop.context, {"a.tar": archive({"f": "f", name: "bad"})})
    with pytest.raises(LayerError, match="outside"):
        await workshop.copy(await workshop.local(), src="a.tar", dest="/x/y", attempt_unpack=True)
    assert os.listdir(workshop.root / "snapshots/.active") == []


async def test_a_link_in_an_archive_can_not_leave_the_root(workshop: Workshop) -> None:
    outside = workshop.root / "outside"
    outside.mkdir()
    grow(workshop.context, {"a.tar": archive({"l": f"-> {outside}", "l/f": "bad"})})
    result = await workshop.copy(await workshop.local(), src="a.tar", dest="/", attempt_unpack=True)
    assert os.listdir(outside) == []
    assert (await workshop.shown(result))[f"{outside}/f".lstrip("/")] == "bad"


async def test_a_damaged_archive_is_an_error(workshop: Workshop) -> None:
    data = gzip.compress(archive({f"f{number}": os.urandom(2000).hex() for number in range(50)}))
    grow(workshop.context, {"a.tgz": data[:-2000]})
    with pytest.raises(LayerError):
        await workshop.copy(await workshop.local(), src="a.tgz", dest="/", attempt_unpack=True)
