"""Write tar headers: ustar where it suffices, else with a PAX header before it.

The same entry always gives the same bytes, in every version of Boatyard: layers are known by the digest of these bytes,
and are made again from their files when somebody needs them. `tests/unit/image/layer/test_tarheader.py` pins them.

Specification: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Header Block".
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from boatyard.image.layer.tarstream import BLOCK, CHAR

END = bytes(1024)
"""Two blocks of zeros close an archive."""

_MAX_OCTAL_7 = 0o7777777
_MAX_OCTAL_11 = 0o77777777777
_owners: dict[tuple[int, int, int], bytes] = {}
_MAGIC = b"ustar\x0000" + bytes(64)
_NO_DEVICE = b"0000000\0" * 2
_NO_PREFIX = bytes(167)
_PLAIN = {
    kind: kind + bytes(100) + _MAGIC + _NO_DEVICE + _NO_PREFIX for kind in (b"0", b"1", b"2", b"3", b"4", b"5", b"6")
}
_PLAIN_SUMS = {kind: sum(tail) + 256 for kind, tail in _PLAIN.items()}


def header(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    xattrs: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """The blocks before an entry's content. `size` counts for regular files only; `mtime` is in whole seconds."""
    key = (mode, uid, gid)
    owner = _owners.get(key)
    if owner is None or len(name) > 100 or link or xattrs or not 0 <= mtime <= _MAX_OCTAL_11 or size > _MAX_OCTAL_11:
        return _uncommon(name, kind, mode, uid, gid, size, mtime, link, major, minor, xattrs)
    if kind in (CHAR, BLOCK):
        return _uncommon(name, kind, mode, uid, gid, size, mtime, link, major, minor, xattrs)
    head = b"%b%b%011o\0%011o\0" % (name.ljust(100, b"\0"), owner, size, mtime)
    # Adler-32's lower half is one more than the sum of the bytes, modulo 65521; 148 bytes can't reach that.
    return b"%b%06o\0 %b" % (head, (zlib.adler32(head) & 0xFFFF) - 1 + _PLAIN_SUMS[kind], _PLAIN[kind])


def padding(size: int) -> bytes:
    """What follows `size` bytes of content."""
    return bytes(-size % 512)


def _uncommon(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    major: int,
    minor: int,
    xattrs: Mapping[bytes, bytes] | None,
) -> bytes:
    records: list[tuple[bytes, bytes]] = []
    prefix = b""
    full_name = name
    if len(name) > 100:
        prefix, name = _split(name)
        if not name:
            records.append((b"path", full_name))
            prefix, name = b"", full_name[:100]
    if len(link) > 100:
        records.append((b"linkpath", link))
        link = link[:100]
    if records and not all(_is_utf8(value) for _, value in records):
        records.insert(0, (b"hdrcharset", b"BINARY"))
    if size > _MAX_OCTAL_11:
        records.append((b"size", b"%d" % size))
        size = 0
    if uid > _MAX_OCTAL_7:
        records.append((b"uid", b"%d" % uid))
        uid = 0
    if gid > _MAX_OCTAL_7:
        records.append((b"gid", b"%d" % gid))
        gid = 0
    if not 0 <= mtime <= _MAX_OCTAL_11:
        records.append((b"mtime", b"%d" % mtime))
        mtime = 0
    if major > _MAX_OCTAL_7 or minor > _MAX_OCTAL_7:
        records += [(b"SCHILY.devmajor", b"%d" % major), (b"SCHILY.devminor", b"%d" % minor)]
        major = minor = 0
    for key in sorted(xattrs or ()):
        records.append((b"SCHILY.xattr." + key, (xattrs or {})[key]))
    block = _ustar(name, kind, mode, uid, gid, size, mtime, link, major, minor, prefix)
    if not records:
        if len(_owners) < 4096:
            _owners.setdefault((mode, uid, gid), b"%07o\0%07o\0%07o\0" % (mode, uid, gid))
        return block
    data = b"".join(_record(key, value) for key, value in records)
    base = full_name.rstrip(b"/").rpartition(b"/")[2]
    extended = _ustar(b"PaxHeaders.0/" + base[:80], b"x", 0o644, 0, 0, len(data), 0, b"", 0, 0, b"")
    return b"%b%b%b%b" % (extended, data, padding(len(data)), block)


def _ustar(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    major: int,
    minor: int,
    prefix: bytes,
) -> bytes:
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, mtime)
    device = b"%07o\0%07o\0" % (major, minor) if kind in (CHAR, BLOCK) else _NO_DEVICE
    tail = kind + link.ljust(100, b"\0") + _MAGIC + device + prefix.ljust(167, b"\0")
    return b"%b%06o\0 %b" % (head, sum(head) + sum(tail) + 256, tail)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """(prefix, name) for a name of more than 100 bytes; an empty name when it can't be split."""
    at = name.find(b"/", len(name) - 101, min(156, len(name) - 1))
    return (name[:at], name[at + 1 :]) if at > 0 else (b"", b"")


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _record(key: bytes, value: bytes) -> bytes:
    """The length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)
