"""Packets as bytes.

Those that there are thousands of are put together by hand. Names are bytes on the wire, as they are on disk; where
they aren't UTF-8, protobuf's strings can't hold them, and they are read and written by hand, too.

Field numbers: tonistiigi/fsutil, `types/wire.proto`, `types/stat.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError

from boatyard._pb.fsutil_pb2 import Packet as PacketMessage
from boatyard._pb.fsutil_pb2 import Stat
from boatyard.errors import InvalidError
from boatyard.session.fsutil.entry import Entry, of_stat, to_stat

STAT, REQ, DATA, FIN, ERR = range(5)

FINISHED = b"\x08\x03"
END_OF_LIST = b""
"""A STAT without a stat: all fields of the packet have their defaults."""


class Packet(NamedTuple):
    type: int
    id: int
    data: bytes
    entry: Entry | None


def decode(message: bytes) -> Packet:
    """InvalidError when it is no packet."""
    try:
        packet = PacketMessage.FromString(message)
    except DecodeError:
        return _decode_by_hand(message)
    if packet.type:
        return Packet(packet.type, packet.ID, packet.data, None)
    return Packet(STAT, 0, b"", of_stat(packet.stat) if packet.HasField("stat") else None)


def stat(entry: Entry) -> bytes:
    try:
        return PacketMessage(stat=to_stat(entry)).SerializeToString()
    except UnicodeEncodeError:
        return _stat_by_hand(entry)


def request(id: int) -> bytes:
    return b"\x08\x01\x18" + varint(id)


def data(id: int, piece: bytes) -> bytes:
    """An empty piece is the end of the file."""
    if not piece:
        return b"\x08\x02\x18" + varint(id)
    return b"".join((b"\x08\x02\x18", varint(id), b"\x22", varint(len(piece)), piece))


def error(text: str) -> bytes:
    return PacketMessage(type=PacketMessage.PACKET_ERR, data=text.encode("utf-8", "replace")).SerializeToString()


def varint(number: int) -> bytes:
    if number < 0x80:
        return _SMALL[number]
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_SMALL = tuple(bytes((number,)) for number in range(0x80))


# -- by hand: names that aren't UTF-8 --------------------------------------------------------------------------------


def _stat_by_hand(entry: Entry) -> bytes:
    """Protobuf takes the last of several values of a field, so the names are put behind the rest."""
    rest = to_stat(entry.renamed("", "")).SerializeToString()
    rest += b"".join(
        tag + varint(len(text)) + text
        for tag, text in ((b"\x0a", _bytes(entry.path)), (b"\x3a", _bytes(entry.link)))
        if text
    )
    return b"\x12" + varint(len(rest)) + rest


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode_by_hand(message: bytes) -> Packet:
    """Only a STAT can have strings in it."""
    path = link = b""
    kept = bytearray()
    try:
        for field, _, content in _fields(message):
            if field != 2:
                continue
            for number, tag, value in _fields(content):
                if number == 1:
                    path = value
                elif number == 7:
                    link = value
                else:
                    kept += tag
                    kept += value
        stat = Stat.FromString(bytes(kept))
    except (DecodeError, IndexError, ValueError) as error:
        raise InvalidError("the client sent something that is no packet") from error
    entry = of_stat(stat)
    return Packet(STAT, 0, b"", entry.renamed(_text(path), _text(link)))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The number of each field, its tag (and length) as they were, and its value. Only kinds that packets have."""
    position = 0
    while position < len(message):
        start = position
        tag, position = _read_varint(message, position)
        kind = tag & 7
        if kind == 2:
            length, position = _read_varint(message, position)
            end = position + length
            if end > len(message):
                raise ValueError("a field ends after its message")
        elif kind == 0:
            _, end = _read_varint(message, position)
        else:
            raise ValueError("no packet has such a field")
        yield tag >> 3, message[start:position], message[position:end]
        position = end


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too large")
