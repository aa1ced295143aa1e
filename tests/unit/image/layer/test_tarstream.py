"""The reader against the standard library's writer, GNU tar's, hand-made oddities and noise."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boatyard.errors import LayerError
from boatyard.image.layer import tarstream
from boatyard.image.layer.tarheader import END, header
from boatyard.image.layer.tarstream import Entry, TarReader


class Trickle:
    """A stream that gives what it likes, as pipes do."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._file = io.BytesIO(data)
        self._piece = piece

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer[: self._piece])


def read(data: bytes, piece: int = 1 << 20, *, open_end: bool = False) -> list[tuple[Entry, bytes]]:
    """Every entry with its content, holes filled."""
    reader = TarReader(Trickle(data, piece), open_end=open_end)
    found = []
    for entry in reader:
        content = bytearray(entry.size)
        for offset, view in reader.content():
            content[offset : offset + len(view)] = view
        found.append((entry, bytes(content)))
    reader.drain()
    return found


def tar_of(format: int, *members: tuple[tarfile.TarInfo, bytes], pax: dict[str, str] | None = None) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format, pax_headers=pax) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target.getvalue()


def member(name: str, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


names = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1, max_size=300).filter(
    lambda name: not name.endswith("/")
)
formats = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


@settings(max_examples=100, deadline=None)
@given(
    format=formats,
    name=names,
    link=names,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**31),
    gid=st.integers(0, 2**31),
    mtime=st.integers(0, 2**35),
    content=st.binary(max_size=3000),
    piece=st.sampled_from([1, 511, 513, 1 << 20]),
)
@example(tarfile.GNU_FORMAT, "a" * 256, "b" * 300, 0o644, 2**31, 5, 2**34, b"", 7)
def test_what_the_standard_library_writes_is_read_the_same(
    format: int, name: str, link: str, mode: int, uid: int, gid: int, mtime: int, content: bytes, piece: int
) -> None:
    common = {"mode": mode, "uid": uid, "gid": gid, "mtime": mtime}
    data = tar_of(
        format,
        (member(name, **common), content),
        (member("link", type=tarfile.SYMTYPE, linkname=link, **common), b""),
    )
    (first, seen), (second, _) = read(data, piece)
    assert first == Entry(
        name.encode(), tarstream.REGULAR, mode, uid, gid, len(content), mtime * 10**9, b"", 0, 0, {}, None
    )
    assert seen == content
    assert (second.kind, second.link) == (tarstream.SYMLINK, link.encode())


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_entry_is_told_apart(format: int) -> None:
    kinds = {
        tarfile.REGTYPE: tarstream.REGULAR,
        tarfile.AREGTYPE: tarstream.REGULAR,
        tarfile.CONTTYPE: tarstream.REGULAR,
        tarfile.LNKTYPE: tarstream.HARD_LINK,
        tarfile.SYMTYPE: tarstream.SYMLINK,
        tarfile.CHRTYPE: tarstream.CHAR,
        tarfile.BLKTYPE: tarstream.BLOCK,
        tarfile.DIRTYPE: tarstream.DIRECTORY,
        tarfile.FIFOTYPE: tarstream.FIFO,
    }
    data = tar_of(format, *((member("x", type=kind, devmajor=3, devminor=7, linkname="y"), b"") for kind in kinds))
    entries = [entry for entry, _ in read(data)]
    assert [entry.kind for entry in entries] == list(kinds.values())
    devices = [(entry.major, entry.minor) for entry in entries if entry.kind in (tarstream.CHAR, tarstream.BLOCK)]
    assert devices == [(3, 7), (3, 7)]


def test_an_old_entry_whose_name_ends_in_a_slash_is_a_directory() -> None:
    old = changed(plain(b"dir/", b"\0", 0), slice(257, 265), bytes(8))
    assert read(old + END)[0][0].kind == tarstream.DIRECTORY


def test_long_names_may_be_split_into_prefix_and_name() -> None:
    name = "d" * 120 + "/" + "n" * 90
    data = tar_of(tarfile.USTAR_FORMAT, (member(name), b"x"))
    assert read(data)[0][0].name == name.encode()


def test_names_need_not_be_text() -> None:
    info = member(os.fsdecode(b"caf\xe9 \xff" + b"x" * 200))
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        tar.addfile(info)
    assert read(target.getvalue())[0][0].name == b"caf\xe9 \xff" + b"x" * 200


def plain(name: bytes, kind: bytes, size: int) -> bytes:
    """A header of any kind."""
    return changed(header(name, b"0", 0o644, 0, 0, size, 0), slice(156, 157), kind)


def changed(block: bytes, field: slice, value: bytes) -> bytes:
    new = bytearray(block)
    new[field] = value
    new[148:156] = b" " * 8
    new[148:156] = b"%06o\0 " % sum(new)
    return bytes(new)


def pax(records: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    data = b""
    for key, value in records.items():
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest + len(str(rest))))
        data += b"%d %b=%b\n" % (length, key, value)
    return plain(b"pax", kind, len(data)) + data + bytes(-len(data) % 512)


FILE = header(b"file", b"0", 0o644, 0, 0, 0, 1)


def one(*blocks: bytes) -> Entry:
    ((entry, _),) = read(b"".join(blocks) + END)
    return entry


def test_xattrs_are_read_as_schily_and_as_libarchive_write_them() -> None:
    entry = one(
        pax(
            {
                b"SCHILY.xattr.security.capability": b"\1\0\0\2\n=\xff",
                b"LIBARCHIVE.xattr.user.a%20b": b"aGVsbG8",
                b"SCHILY.xattr.user.empty": b"",
            }
        ),
        FILE,
    )
    assert entry.xattrs == {b"security.capability": b"\1\0\0\2\n=\xff", b"user.a b": b"hello", b"user.empty": b""}


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [(b"1.5", 1_500_000_000), (b"-1.25", -1_250_000_000), (b"7", 7_000_000_000), (b"0.1234567891", 123_456_789)],
)
def test_times_keep_their_fraction(text: bytes, nanoseconds: int) -> None:
    assert one(pax({b"mtime": text}), FILE).mtime_ns == nanoseconds


def test_global_headers_count_until_an_entry_says_otherwise() -> None:
    data = pax({b"uid": b"7", b"gid": b"8"}, b"g") + FILE + pax({b"uid": b"9"}) + FILE + END
    owners = [(entry.uid, entry.gid) for entry, _ in read(data)]
    assert owners == [(7, 8), (9, 8)]


def test_pax_overrides_what_doesn_t_fit_a_header() -> None:
    entry = one(pax({b"path": b"p" * 500, b"linkpath": b"l" * 500, b"uid": b"4000000000"}), FILE)
    assert (entry.name, entry.link, entry.uid) == (b"p" * 500, b"l" * 500, 4_000_000_000)


def test_a_volume_label_is_no_entry() -> None:
    assert one(plain(b"label", b"V", 0), FILE).name == b"file"


def numbered(field: slice, value: bytes) -> bytes:
    return changed(FILE, field, value)


def test_base_256_numbers_are_read() -> None:
    assert one(numbered(slice(136, 148), b"\xff" * 11 + b"\xfe")).mtime_ns == -2_000_000_000
    assert one(numbered(slice(108, 116), b"\x80" + (1 << 31).to_bytes(7, "big"))).uid == 1 << 31


SIZE, UID = slice(124, 136), slice(108, 116)


@pytest.mark.parametrize(
    "data",
    {
        "a negative size": numbered(SIZE, b"\xff" * 12),
        "a size beyond all": numbered(SIZE, b"\x80" + b"\xff" * 11),
        "no number": numbered(SIZE, b"0000xyz\0\0\0\0\0"),
        "a negative number": numbered(SIZE, b"-0000001\0\0\0\0"),
        "a number with an underscore": numbered(SIZE, b"0000_1\0\0\0\0\0\0"),
        "an owner beyond all": numbered(UID, b"\x80" + b"\xff" * 7),
        "a wrong checksum": FILE[:10] + b"x" + FILE[11:],
        "an unknown type": plain(b"x", b"M", 0),
        "a header cut off": FILE[:400],
        "content cut off": header(b"x", b"0", 0, 0, 0, 1000, 0) + bytes(600),
        "padding cut off": header(b"x", b"0", 0, 0, 0, 1000, 0) + bytes(1000),
        "an end followed by more": bytes(512) + FILE,
        "half an end": bytes(700),
        "an extended header without entry": pax({b"path": b"x"}),
        "a record without newline": plain(b"p", b"x", 9) + b"9 path=xy".ljust(512, b"\0") + FILE,
        "a record that is too long": plain(b"p", b"x", 9) + b"99 path=x".ljust(512, b"\0") + FILE,
        "a record without key": plain(b"p", b"x", 5) + b"5 =x\n".ljust(512, b"\0") + FILE,
        "a record of length 0": plain(b"p", b"x", 5) + b"0 a=\n".ljust(512, b"\0") + FILE,
        "a huge extended header": plain(b"p", b"x", 1 << 30),
        "a name with NUL": pax({b"path": b"a\0b"}) + FILE,
        "a PAX size that is none": pax({b"size": b"-5"}) + FILE,
        "a PAX size beyond all": pax({b"size": b"9" * 19}) + FILE,
        "a time that is none": pax({b"mtime": b"yesterday"}) + FILE,
        "an xattr that is no base64": pax({b"LIBARCHIVE.xattr.user.x": b"\xff?"}) + FILE,
        "sparse of a future version": pax({b"GNU.sparse.major": b"9", b"GNU.sparse.realsize": b"1"}) + FILE,
        "a sparse map that doesn't fit": pax({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"0,5"}) + FILE,
        "a sparse map that goes back": pax({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"5,0,2,0"}) + FILE,
        "a sparse map with an odd end": pax({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"5"}) + FILE,
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_tar_is_refused(data: tuple[str, bytes]) -> None:
    with pytest.raises(LayerError):
        read(data[1])


def test_an_empty_stream_and_one_without_end_mark_are_fine() -> None:
    assert read(b"") == []
    assert len(read(FILE)) == 1
    assert len(read(FILE + bytes(512))) == 1


@pytest.mark.parametrize("end", [0, 1, 23])
def test_a_stream_may_end_with_the_last_byte_of_content_or_in_its_padding(end: int) -> None:
    """As that of `docker build -f - .`."""
    data = header(b"x", b"0", 0, 0, 0, 1000, 0) + bytes(1000 + end)
    assert [len(content) for _, content in read(data, open_end=True)] == [1000]
    assert [len(content) for _, content in read(FILE + data, open_end=True)][1:] == [1000]


def test_what_follows_the_end_is_read_but_not_looked_at() -> None:
    assert len(read(FILE + END + b"anything")) == 1


def test_unread_content_is_skipped() -> None:
    data = header(b"big", b"0", 0, 0, 0, 3_000_001, 0) + bytes(3_000_001 + -3_000_001 % 512) + FILE + END
    assert [entry.name for entry in TarReader(io.BytesIO(data))] == [b"big", b"file"]


def test_small_content_comes_at_once() -> None:
    reader = TarReader(io.BytesIO(header(b"a", b"0", 0, 0, 0, 3, 0) + b"abc".ljust(512, b"\0") + FILE + END))
    assert reader.next() is not None
    assert bytes(reader.small_content() or b"") == b"abc"
    assert reader.next() is not None
    assert bytes(reader.small_content() or b"") == b""


@pytest.fixture
def sparse_file(tmp_path: Path) -> Path:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for number in range(40):  # more pieces than one extension block of the old format holds
            file.seek(number * 65536 + 4096)
            file.write(bytes([number + 1]) * 5000)
        file.truncate(40 * 65536)
    return path


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar makes these")
@pytest.mark.parametrize(
    "flags",
    [["--format=gnu"], *(["--format=pax", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0"))],
    ids=["old GNU", "0.0", "0.1", "1.0"],
)
def test_sparse_files_of_gnu_tar_are_read(flags: list[str], sparse_file: Path) -> None:
    command = ["tar", "-C", str(sparse_file.parent), "-c", "--sparse", *flags, sparse_file.name, sparse_file.name]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    for entry, content in read(data, piece=10_000)[:1]:
        assert entry.name == b"sparse"
        assert entry.sparse is not None
        assert len(entry.sparse) >= 40
        assert content == sparse_file.read_bytes()
    assert len(read(data)) == 2


def made_by_everybody() -> list[bytes]:
    return [
        tar_of(
            tarfile.PAX_FORMAT,
            (member("é" * 80, uid=2**31), b"x" * 700),
            (member("d/", type=tarfile.DIRTYPE), b""),
            pax={"comment": "x"},
        ),
        tar_of(tarfile.GNU_FORMAT, (member("n" * 200, linkname="l" * 200, type=tarfile.SYMTYPE), b"")),
        pax({b"GNU.sparse.size": b"9000", b"GNU.sparse.map": b"5,3", b"size": b"3"}) + FILE + b"abc".ljust(512, b"\0"),
        pax({b"SCHILY.xattr.user.x": b"1"}) + FILE + END,
    ]


@settings(max_examples=200, deadline=None)
@given(
    which=st.integers(0, 3),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 6000),
    sums=st.booleans(),
)
def test_damage_ends_in_entries_or_a_layer_error(
    which: int, changes: list[tuple[int, int]], cut: int, sums: bool
) -> None:
    data = bytearray(made_by_everybody()[which])
    for offset, value in changes:
        data[offset % len(data)] = value
    if sums:  # so that the damage gets past the checksums
        for start in range(0, len(data) - 511, 512):
            block = data[start : start + 512]
            if block[257:262] == b"ustar":
                block[148:156] = b" " * 8
                data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    reader = TarReader(io.BytesIO(bytes(data[: cut or None])))
    try:
        for entry in reader:
            assert entry.size >= 0
            for offset, view in reader.content():
                assert offset + len(view) <= max(entry.size, len(view))
    except LayerError:
        pass


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000))
def test_noise_ends_in_a_layer_error(data: bytes) -> None:
    try:
        read(data)
    except LayerError:
        pass


@pytest.mark.parametrize("make", made_by_everybody(), ids=range(4))
def test_a_stream_that_can_only_read_is_enough(make: bytes) -> None:
    class OnlyRead:
        def __init__(self) -> None:
            self.read: Callable[[int], bytes] = io.BytesIO(make).read

    assert list(TarReader(OnlyRead())) == [entry for entry, _ in read(make)]  # type: ignore[arg-type]
