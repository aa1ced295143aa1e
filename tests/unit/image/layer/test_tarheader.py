"""Headers as others read them, and as they must stay."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.image.layer import tarstream
from boatyard.image.layer.tarheader import END, header
from boatyard.image.layer.tarstream import Entry, TarReader

names = st.binary(min_size=1, max_size=400).map(lambda name: name.replace(b"\0", b"-").rstrip(b"/") or b"x")
xattr_names = st.binary(min_size=1, max_size=20).map(
    lambda name: b"user." + name.replace(b"\0", b".").replace(b"=", b".")
)


@settings(max_examples=200, deadline=None)
@given(
    name=names,
    kind=st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6"]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    size=st.integers(0, 2**40),
    mtime=st.integers(-(2**33), 2**40),
    link=names,
    device=st.tuples(st.integers(0, 2**24), st.integers(0, 2**24)),
    xattrs=st.dictionaries(xattr_names, st.binary(max_size=600), max_size=3),
)
def test_what_is_written_is_read_back(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    device: tuple[int, int],
    xattrs: dict[bytes, bytes],
) -> None:
    size = size if kind == tarstream.REGULAR else 0
    link = link if kind in (tarstream.HARD_LINK, tarstream.SYMLINK) else b""
    major, minor = device if kind in (tarstream.CHAR, tarstream.BLOCK) else (0, 0)
    for _ in range(2):  # the second time from what was prepared by the first
        data = header(name, kind, mode, uid, gid, size, mtime, link, major, minor, xattrs)
        assert len(data) % 512 == 0
        entry = TarReader(io.BytesIO(data)).next()
        assert entry == Entry(name, kind, mode, uid, gid, size, mtime * 10**9, link, major, minor, xattrs, None)


@settings(max_examples=100, deadline=None)
@given(name=names, uid=st.integers(0, 2**32 - 2), mtime=st.integers(0, 2**34), link=names)
def test_the_standard_library_reads_the_same(name: bytes, uid: int, mtime: int, link: bytes) -> None:
    data = header(name, b"2", 0o777, uid, 5, 0, mtime, link) + END
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        (info,) = tar.getmembers()
    assert (info.uid, info.gid, info.mtime, info.mode) == (uid, 5, mtime, 0o777)
    assert (os.fsencode(info.name), os.fsencode(info.linkname)) == (name.rstrip(b"/"), link)


@pytest.mark.skipif(shutil.which("tar") is None, reason="asks GNU tar")
@pytest.mark.parametrize("length", [99, 100, 101, 150, 255, 256, 257, 1000])
def test_gnu_tar_reads_names_of_every_length(length: int) -> None:
    name = (b"directory/" * 100)[: length - 1] + b"x"
    data = header(name, b"0", 0o644, 0, 0, 0, 0) + END
    listed = subprocess.run(["tar", "-t"], input=data, capture_output=True, check=True)
    assert (listed.stdout, listed.stderr) == (name + b"\n", b"")


def test_a_name_that_is_no_text_says_so_when_it_needs_an_extended_header() -> None:
    assert b"hdrcharset=BINARY" in header(b"\xff" * 200, b"0", 0, 0, 0, 0, 0)
    assert b"hdrcharset" not in header("é".encode() * 200, b"0", 0, 0, 0, 0, 0)


def test_common_entries_need_no_extended_header() -> None:
    assert len(header("é".encode() * 50, b"0", 0o644, 1000, 1000, 2**32, 2**32)) == 512
    assert len(header(b"d" * 150 + b"/" + b"n" * 100, b"0", 0o644, 0, 0, 0, 0)) == 512


def test_the_bytes_stay_what_they_are() -> None:
    """Stored layers are known by these bytes and made again when they are read. Another format needs another name."""
    data = b"".join(
        [
            header(b"etc/", b"5", 0o755, 0, 0, 0, 1_700_000_000),
            header(b"etc/passwd", b"0", 0o644, 0, 0, 1234, 1_700_000_000),
            header(b"etc/link", b"2", 0o777, 0, 0, 0, 1_700_000_000, b"../somewhere"),
            header(b"etc/hard", b"1", 0o644, 0, 0, 0, 1_700_000_000, b"etc/passwd"),
            header(b"dev/null", b"3", 0o666, 0, 0, 0, 1_700_000_000, b"", 1, 3),
            header(b"pipe", b"6", 0o600, 1000, 1000, 0, 1_700_000_000),
            header(b"p" * 150 + b"/" + b"q" * 90, b"0", 0o644, 0, 0, 1, -1),
            header(b"r" * 300, b"2", 0o777, 2**31, 2**31, 0, 2**36, b"s" * 300),
            header(b"ping", b"0", 0o755, 0, 0, 2**34, 5, xattrs={b"security.capability": b"\1\0\0\2\0 \0\0"}),
            END,
        ]
    )
    assert hashlib.sha256(data).hexdigest() == "64ea20a7103642bdb9cdcb26ec83678bdd114197f7d2c1945c84659d5a14049c"
