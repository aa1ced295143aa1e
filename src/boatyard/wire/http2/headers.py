"""Header lists as bytes: HPACK (RFC 7541).

What is sent is encoded without a dynamic table, so that it depends on nothing; frequent fields are remembered encoded.
What is received may use everything. A character is an octet here (ISO 8859-1): tables count octets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import lru_cache

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

Headers = list[tuple[str, str]]

_STATIC = tuple((name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE)
_STATIC_COUNT = len(_STATIC)
_INDEX = {field: number for number, field in reversed(list(enumerate(_STATIC, 1)))}
_NAME_INDEX = {name: number for number, (name, _) in reversed(list(enumerate(_STATIC, 1)))}
_FIELD_OVERHEAD = 32
_TABLE_BYTES = 4096
_MAX_INTEGER_BYTES = 5
_REMEMBERED = frozenset((":method", ":scheme", ":path", ":authority", ":status", "content-type", "te", "user-agent"))


class HeaderError(Exception):
    """The bytes are no header list. The connection can't go on: both ends' tables differ now."""


class HeaderSizeError(HeaderError):
    """The list is longer than allowed."""


def encode(headers: Iterable[tuple[str, str]]) -> bytes:
    return b"".join([_known(*field) if field[0] in _REMEMBERED else _field(*field) for field in headers])


def list_size(headers: Iterable[tuple[str, str]]) -> int:
    """As SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    return sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in headers)


def _field(name: str, value: str) -> bytes:
    if index := _INDEX.get((name, value)):
        return bytes((0x80 | index,))
    if index := _NAME_INDEX.get(name):
        return _integer(0, 4, index) + _string(value)
    return b"\0" + _string(name) + _string(value)


_known = lru_cache(maxsize=1024)(_field)


def _string(text: str) -> bytes:
    data = text.encode("latin-1")
    return _integer(0, 7, len(data)) + data


def _integer(first: int, bits: int, number: int) -> bytes:
    most = (1 << bits) - 1
    if number < most:
        return bytes((first | number,))
    encoded = bytearray((first | most,))
    number -= most
    while number >= 0x80:
        encoded.append(0x80 | number & 0x7F)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


class Decoder:
    """One direction of one connection: later lists refer to earlier ones."""

    def __init__(self, max_list: int) -> None:
        self._max_list = max_list
        self._table: deque[tuple[str, str]] = deque()
        self._table_size = 0
        self._table_limit = _TABLE_BYTES

    def decode(self, block: bytes) -> Headers:
        """Raises HeaderError."""
        headers: Headers = []
        size = 0
        position = 0
        end = len(block)
        while position < end:
            first = block[position]
            if first & 0x80:
                index, position = _read_integer(block, position, 7)
                field = self._at(index)
            elif first & 0x40:
                field, position = self._literal(block, position, 6)
                self._remember(field)
            elif first & 0x20:
                if headers:
                    raise HeaderError("a table's size changes within a header list")
                self._table_limit, position = _read_integer(block, position, 5)
                if self._table_limit > _TABLE_BYTES:
                    raise HeaderError("a table's size is larger than allowed")
                self._evict()
                continue
            else:
                field, position = self._literal(block, position, 4)
            size += len(field[0]) + len(field[1]) + _FIELD_OVERHEAD
            if size > self._max_list:
                raise HeaderSizeError(f"the header list is longer than {self._max_list} bytes")
            headers.append(field)
        return headers

    def _at(self, index: int) -> tuple[str, str]:
        if 0 < index <= _STATIC_COUNT:
            return _STATIC[index - 1]
        if _STATIC_COUNT < index <= _STATIC_COUNT + len(self._table):
            return self._table[index - _STATIC_COUNT - 1]
        raise HeaderError(f"there is no header field {index}")

    def _literal(self, block: bytes, position: int, bits: int) -> tuple[tuple[str, str], int]:
        index, position = _read_integer(block, position, bits)
        if index:
            name = self._at(index)[0]
        else:
            name, position = _read_string(block, position)
        value, position = _read_string(block, position)
        return (name, value), position

    def _remember(self, field: tuple[str, str]) -> None:
        self._table.appendleft(field)
        self._table_size += len(field[0]) + len(field[1]) + _FIELD_OVERHEAD
        self._evict()

    def _evict(self) -> None:
        while self._table_size > self._table_limit:
            name, value = self._table.pop()
            self._table_size -= len(name) + len(value) + _FIELD_OVERHEAD


def _read_integer(block: bytes, position: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    try:
        number = block[position] & most
        position += 1
        if number < most:
            return number, position
        for shift in range(0, 7 * _MAX_INTEGER_BYTES, 7):
            byte = block[position]
            position += 1
            number += (byte & 0x7F) << shift
            if byte < 0x80:
                return number, position
    except IndexError:
        raise HeaderError("a header list ends within a number") from None
    raise HeaderError("a number in a header list is too large")


def _read_string(block: bytes, position: int) -> tuple[str, int]:
    try:
        huffman = block[position] & 0x80
    except IndexError:
        raise HeaderError("a header list ends before a string") from None
    length, position = _read_integer(block, position, 7)
    data = block[position : position + length]
    if len(data) != length:
        raise HeaderError("a header list ends within a string")
    if huffman:
        try:
            data = bytes(decode_huffman(data))
        except HPACKError as error:
            raise HeaderError(str(error)) from error
    return data.decode("latin-1"), position + length
