"""Packets of files on the wire."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard._pb.fsutil_pb2 import Packet as PacketMessage
from boatyard._pb.fsutil_pb2 import Stat
from boatyard.errors import InvalidError
from boatyard.session.fsutil import packet
from boatyard.session.fsutil.entry import Entry

KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO)
names = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name).map(os.fsdecode)
entries = st.builds(
    Entry,
    path=names,
    mode=st.builds(lambda kind, rest: kind | rest, st.sampled_from(KINDS), st.integers(0, 0o7777)),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    size=st.integers(0, 2**63 - 1),
    mtime_ns=st.integers(-(2**63), 2**63 - 1),
    link=st.just("") | names,
    rdev=st.just(0) | st.builds(os.makedev, st.integers(0, 4095), st.integers(1, 2**20 - 1)),
    xattrs=st.dictionaries(st.text(min_size=1, max_size=10), st.binary(max_size=10), max_size=2),
)


@given(entries)
def test_an_entry_comes_back_whatever_its_names_are(entry: Entry) -> None:
    assert packet.decode(packet.stat(entry)) == packet.Packet(packet.STAT, 0, b"", entry)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=300))
def test_what_is_put_together_by_hand_is_what_protobuf_makes(id: int, data: bytes) -> None:
    assert PacketMessage.FromString(packet.data(id, data)) == PacketMessage(type=2, ID=id, data=data)
    assert PacketMessage.FromString(packet.request(id)) == PacketMessage(type=1, ID=id)
    assert PacketMessage.FromString(packet.FINISHED) == PacketMessage(type=3)
    assert PacketMessage.FromString(packet.END_OF_LIST) == PacketMessage(type=0)
    assert packet.decode(packet.data(id, data)) == packet.Packet(packet.DATA, id, data, None)
    assert packet.decode(packet.request(id)).id == id


def test_modes_are_those_of_go() -> None:
    """As `os.FileMode` has them: ModeDir|0755, a setuid program, a character device, a link."""
    for go, mode in (
        (0o20000000755, stat.S_IFDIR | 0o755),
        (0o40000755, stat.S_IFREG | 0o4755),
        (0o410000666, stat.S_IFCHR | 0o666),
        (0o1000000777, stat.S_IFLNK | 0o777),
    ):
        entry = packet.decode(PacketMessage(stat=Stat(path="x", mode=go)).SerializeToString()).entry
        assert entry is not None and entry.mode == mode, oct(entry.mode)
        assert PacketMessage.FromString(packet.stat(entry)).stat.mode == go


@given(st.binary(max_size=60))
def test_anything_is_a_packet_or_refused(message: bytes) -> None:
    try:
        packet.decode(message)
    except InvalidError:
        pass


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_names_that_are_not_utf8_are_read_by_hand(before: bytes, after: bytes) -> None:
    """With anything around them."""
    message = b"\x12" + bytes((len(before) + 6 + len(after),)) + before + b"\x0a\x04\xff\xfea\xff" + after
    try:
        packet.decode(message)
    except InvalidError:
        pass


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": 1 << 19},
        {"mode": 1 << 31 | 1 << 27},
        {"size": -1},
        {"mode": 1 << 26, "devmajor": -1},
        {"mode": 1 << 26, "devmajor": 1 << 40},
    ],
)
def test_what_no_file_can_be_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(InvalidError):
        packet.decode(PacketMessage(stat=Stat(path="x", **fields)).SerializeToString())
