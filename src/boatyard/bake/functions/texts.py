"""Functions of texts."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable, Mapping

from boatyard.bake.functions.arithmetic import whole
from boatyard.bake.functions.graphemes import graphemes
from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.type import NUMBER, STRING, ListOf
from boatyard.bake.values.value import Value, number, string, strings

_STR = Parameter("str", STRING)
_STRINGS = ListOf(STRING)
_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")
_LINE_ENDS = re.compile(r"(?:\r\n?|\n)*\Z")
_BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
LONGEST = 1 << 20
"""A text that a function makes of a number (of blanks, say) has at most so many characters."""


def _substr(text: Value, offset: Value, length: Value) -> Value:
    """A negative offset counts from the end, a negative length takes all that is left."""
    start, size = whole(offset, 1), whole(length, 2)
    clusters = graphemes(text.raw)
    if start < 0:
        start += len(clusters)
        size = size or -1 if start < 0 else size
    elif size == 0:
        return string("")
    rest = clusters[max(start, 0) :]
    return string("".join(rest if size <= 0 else rest[:size]))


def _join(separator: Value, *lists: Value) -> Value:
    if not lists:
        raise CallError("at least one list is required")
    texts = []
    for place, each in enumerate(lists):
        for index, element in enumerate(each.elements()):
            if element.null:
                raise CallError(f"element {index} is null: only texts can be joined", place + 1)
            texts.append(element.raw)
    return string(separator.raw.join(texts))


def _sort(given: Value) -> Value:
    for index, element in enumerate(given.elements()):
        if element.null:
            raise CallError(f"element {index} is null: only texts can be sorted", 0)
    return strings(sorted((element.raw for element in given.elements()), key=str.encode))


def _split(separator: Value, text: Value) -> Value:
    if not separator.raw:
        return strings(text.raw)
    return strings(text.raw.split(separator.raw))


def _indent(spaces: Value, text: Value) -> Value:
    count = whole(spaces, 0)
    if not 0 <= count * (text.raw.count("\n") or 1) <= LONGEST:
        raise CallError("this is no number of blanks to indent by", 0)
    return string(text.raw.replace("\n", "\n" + " " * count))


def _title(text: Value) -> Value:
    """The first letter of each word upper case; an apostrophe ends a word."""
    done: list[str] = []
    begins = True
    for character in text.raw:
        done.append((character.title() if len(character.title()) == 1 else character.upper()) if begins else character)
        begins = not (character.isalnum() or character == "_" or unicodedata.category(character).startswith("M"))
    return string("".join(done))


def _replace(text: Value, old: Value, new: Value) -> Value:
    found = text.raw.replace(old.raw, new.raw)
    return string(found)


def _dirname(path: Value) -> Value:
    head = path.raw[: path.raw.rfind("/") + 1]
    return string(_clean(head))


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    return "/" + cleaned.lstrip("/") if path.startswith("/") else cleaned


def _basename(path: Value) -> Value:
    if not path.raw:
        return string(".")
    return string(path.raw.rstrip("/").rpartition("/")[2] or "/")


def _text(change: Callable[[str], str]) -> Function:
    return function(lambda text: string(change(text.raw)), _STR)


def _upper(text: str) -> str:
    """One character for one: no ß to SS."""
    return "".join(each.upper() if len(each.upper()) == 1 else each for each in text)


def _lower(text: str) -> str:
    return "".join(each.lower() if len(each.lower()) == 1 else each for each in text)


def _byteslice(text: Value, offset: Value, length: Value) -> Value:
    data = text.raw.encode()
    start, size = whole(offset, 1), whole(length, 2)
    if start < 0 or size < 0 or start + size > len(data):
        raise CallError(f"there are {len(data)} bytes: {size} from {start} on are out of their bounds")
    return string(data[start : start + size].decode("utf-8", "replace"))


FUNCTIONS: Mapping[str, Function] = {
    "upper": _text(_upper),
    "lower": _text(_lower),
    "reverse": _text(lambda text: "".join(reversed(graphemes(text)))),
    "title": function(_title, _STR),
    "chomp": _text(lambda text: _LINE_ENDS.sub("", text, count=1)),
    "trimspace": _text(lambda text: text.strip(_BLANKS)),
    "sanitize": function(lambda name: string(_UNSAFE.sub("_", name.raw)), Parameter("name", STRING)),
    "strlen": function(lambda text: number(len(graphemes(text.raw))), _STR),
    "substr": function(_substr, _STR, Parameter("offset", NUMBER), Parameter("length", NUMBER)),
    "join": function(_join, Parameter("separator", STRING), variadic=Parameter("lists", _STRINGS)),
    "sort": function(_sort, Parameter("list", _STRINGS)),
    "split": function(_split, Parameter("separator", STRING), _STR),
    "indent": function(_indent, Parameter("spaces", NUMBER), _STR),
    "replace": function(_replace, _STR, Parameter("substr", STRING), Parameter("replace", STRING)),
    "trim": function(
        lambda text, cut: string(text.raw.strip(cut.raw) if cut.raw else text.raw), _STR, Parameter("cutset", STRING)
    ),
    "trimprefix": function(
        lambda text, prefix: string(text.raw.removeprefix(prefix.raw)), _STR, Parameter("prefix", STRING)
    ),
    "trimsuffix": function(
        lambda text, suffix: string(text.raw.removesuffix(suffix.raw)), _STR, Parameter("suffix", STRING)
    ),
    "basename": function(_basename, Parameter("path", STRING)),
    "dirname": function(_dirname, Parameter("path", STRING)),
    "byteslen": function(lambda buffer: number(len(buffer.raw.encode())), Parameter("buf", STRING)),
    "bytesslice": function(
        _byteslice, Parameter("buf", STRING), Parameter("offset", NUMBER), Parameter("length", NUMBER)
    ),
}
