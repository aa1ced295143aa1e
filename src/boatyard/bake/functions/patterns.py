"""Functions of regular expressions, which are RE2's: translated to Python's, and refused where RE2 would refuse them.

Specification: google/re2, doc/syntax.txt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.type import STRING, ObjectOf, TupleOf, Type
from boatyard.bake.values.value import Value, list_of, null, object_of, string, tuple_of

_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ", "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_ESCAPES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
_BOUNDARIES = {"b": r"(?a:\b)", "B": r"(?a:\B)", "A": r"\A", "z": r"\Z"}
_PLAIN = set("aftnrv") | set(r"\.+*?()|[]{}^$-/")
_GROUP = re.compile(r"\(\?(?:P?<([A-Za-z_0-9]+)>|([imsU]*)(-[imsU]+)?([:)])|(.?.?))", re.DOTALL)
_REPEAT = re.compile(r"(?:[*+?]|\{\d+(?:,\d*)?\})\??")
_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)
_LONGEST = 4000


@lru_cache(maxsize=64)
def compiled(pattern: str) -> re.Pattern[str]:
    """CallError for what RE2 doesn't know."""
    if len(pattern) > _LONGEST:
        raise CallError("the pattern is too long")
    try:
        return re.compile(_Translation(pattern).all())
    except (re.error, OverflowError, RecursionError) as error:
        raise CallError(f"the pattern is malformed: {error}") from None


class _Translation:
    """One per pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._out: list[str] = []
        self._closing: list[str] = [""]
        self._multiline = [False]

    def all(self) -> str:
        while self._at < len(self._pattern):
            self._one()
        return "".join(self._out) + self._closing[0]

    def _one(self) -> None:
        character = self._pattern[self._at]
        if character == "\\":
            self._escape()
        elif character == "[":
            self._class()
        elif character == "(":
            self._group()
        elif character == ")":
            self._take(1, self._closing.pop() + ")" if len(self._closing) > 1 else ")")
            if len(self._multiline) > 1:
                self._multiline.pop()
        elif character == "$":
            self._take(1, "$" if self._multiline[-1] else r"\Z")
        elif match := _REPEAT.match(self._pattern, self._at):
            self._take(len(match[0]), match[0])
            if self._at < len(self._pattern) and _REPEAT.match(self._pattern, self._at):
                raise CallError(f"the pattern repeats a repetition: {self._pattern[match.start() : self._at + 1]!r}")
        else:
            self._take(1, character if character not in "#{ " else "\\" + character)

    def _take(self, count: int, text: str) -> None:
        self._at += count
        self._out.append(text)

    def _escape(self) -> None:
        letter = self._pattern[self._at + 1 : self._at + 2]
        if letter.lower() in _ESCAPES:
            self._take(2, f"[{'^' if letter.isupper() else ''}{_ESCAPES[letter.lower()]}]")
        elif letter in _BOUNDARIES and letter:
            self._take(2, _BOUNDARIES[letter])
        elif letter == "Q":
            end = self._pattern.find(r"\E", self._at)
            end = len(self._pattern) if end < 0 else end
            self._take(end + 2 - self._at, re.escape(self._pattern[self._at + 2 : end]))
        elif letter and letter in "pP":
            text, length = self._property()
            self._take(length, f"[{text}]")
        else:
            text, length = self._character()
            self._take(length, text)

    def _character(self) -> tuple[str, int]:
        """An escape that means one character, and its length."""
        rest = self._pattern[self._at :]
        if match := re.match(r"\\x\{([0-9A-Fa-f]{1,6})\}", rest):
            code = int(match[1], 16)
            if code > 0x10FFFF:
                raise CallError(f"there is no character {match[0]}")
            return re.escape(chr(code)), len(match[0])
        if match := re.match(r"\\x[0-9A-Fa-f]{2}|\\0[0-7]{0,2}", rest):
            return match[0], len(match[0])
        letter = rest[1:2]
        if not letter:
            raise CallError("the pattern ends with a backslash")
        if letter in _PLAIN or (letter.isascii() and not letter.isalnum()):
            return "\\" + letter, 2
        raise CallError(f"the pattern has an escape that RE2 doesn't know: \\{letter}")

    def _property(self) -> tuple[str, int]:
        match = re.match(r"\\([pP])(?:\{(\^?)(\w+)\}|(\w))", self._pattern[self._at :])
        if match is None:
            raise CallError("the pattern has a malformed \\p")
        negative = (match[1] == "P") != bool(match[2])
        return _category(match[3] or match[4], negative), len(match[0])

    def _class(self) -> None:
        self._at += 1
        self._out.append("[")
        if self._pattern.startswith("^", self._at):
            self._take(1, "^")
        first = True
        while True:
            rest = self._pattern[self._at :]
            if not rest:
                raise CallError("the pattern has a [ without ]")
            if rest[0] == "]" and not first:
                self._take(1, "]")
                return
            first = False
            if match := re.match(r"\[:(\^?)(\w+):\]", rest):
                if match[2] not in _CLASSES:
                    raise CallError(f"there is no class [:{match[2]}:]")
                self._take(len(match[0]), _inverted(_CLASSES[match[2]]) if match[1] else _CLASSES[match[2]])
            elif rest[0] == "\\":
                self._class_escape(rest[1:2])
            else:
                self._take(1, "\\" + rest[0] if rest[0] in "[&~|" else rest[0])

    def _class_escape(self, letter: str) -> None:
        if letter in _ESCAPES:
            self._take(2, _ESCAPES[letter])
        elif letter and letter.lower() in _ESCAPES:
            self._take(2, _inverted(_ESCAPES[letter.lower()]))
        elif letter and letter in "pP":
            text, length = self._property()
            self._take(length, text)
        else:
            text, length = self._character()
            self._take(length, text)

    def _group(self) -> None:
        match = _GROUP.match(self._pattern, self._at)
        multiline = self._multiline[-1]
        if match is None:
            self._take(1, "(")
        elif match[1]:
            self._take(len(match[0]), f"(?P<{match[1]}>")
        elif match[4]:
            on, off = match[2], match[3] or ""
            if "U" in on + off:
                raise CallError("the flag U (swap the greediness) is not supported", 0)
            multiline = (multiline or "m" in on) and "m" not in off
            flags = f"(?{on}{off}:" if on or off else "(?:"
            if match[4] == ")":  # up to the end of the group it stands in
                self._take(len(match[0]), flags)
                self._closing[-1] += ")"
                self._multiline[-1] = multiline
                return
            self._take(len(match[0]), flags)
        else:
            raise CallError(f"the pattern has a group that RE2 doesn't know: {match[0]}")
        self._closing.append("")
        self._multiline.append(multiline)


def _inverted(ranges: str) -> str:
    """The characters that a class hasn't, as ranges."""
    inside = re.compile(f"[{ranges}]")
    return _ranges(code for code in range(0x80) if not inside.match(chr(code))) + "\\x80-\U0010ffff"


@lru_cache(maxsize=32)
def _category(name: str, negative: bool) -> str:
    """The characters of a Unicode category, as ranges. Looks at all there are."""
    if len(name) > 2 or not any(unicodedata.category(chr(code)).startswith(name) for code in range(0x3000)):
        raise CallError(f"the pattern has a class that is not supported: \\p{{{name}}}")
    return _ranges(
        code
        for code in range(0x110000)
        if unicodedata.category(chr(code)).startswith(name) != negative and not 0xD800 <= code <= 0xDFFF
    )


def _ranges(codes: Iterable[int]) -> str:
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in found)


def _matched(pattern: re.Pattern[str], match: re.Match[str]) -> Value:
    """The text; with groups a tuple of theirs, with named ones an object."""
    if pattern.groupindex:
        return object_of({name: _captured(match[name]) for name in pattern.groupindex})
    if pattern.groups:
        return tuple_of(map(_captured, match.groups()))
    return string(match[0])


def _captured(text: str | None) -> Value:
    return null(STRING) if text is None else string(text)


def _result_type(pattern: re.Pattern[str]) -> Type:
    if pattern.groupindex:
        return ObjectOf(dict.fromkeys(sorted(pattern.groupindex), STRING))
    return TupleOf((STRING,) * pattern.groups) if pattern.groups else STRING


def _pattern(text: Value, argument: int) -> re.Pattern[str]:
    try:
        pattern = compiled(text.raw)
    except CallError as error:
        raise CallError(str(error), argument) from None
    if pattern.groupindex and len(pattern.groupindex) != pattern.groups:
        raise CallError("a pattern has either named or unnamed groups, not both", argument)
    return pattern


def _regex(pattern: Value, text: Value) -> Value:
    expression = _pattern(pattern, 0)
    match = expression.search(text.raw)
    if match is None:
        raise CallError("the pattern doesn't match")
    return _matched(expression, match)


def _regexall(pattern: Value, text: Value) -> Value:
    expression = _pattern(pattern, 0)
    return list_of(_result_type(expression), (_matched(expression, each) for each in expression.finditer(text.raw)))


def _regex_replace(text: Value, pattern: Value, replacement: Value) -> Value:
    """`$1`, `${name}` stand for groups, `$$` for a dollar."""
    try:
        expression = compiled(pattern.raw)
    except CallError as error:
        raise CallError(str(error), 1) from None

    def replaced(match: re.Match[str]) -> str:
        def group(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            if name is None:
                return "$"
            if name.isdigit():
                return (match[int(name)] or "") if int(name) <= expression.groups else ""
            return (match[name] or "") if name in expression.groupindex else ""

        return _REFERENCE.sub(group, replacement.raw)

    return string(expression.sub(replaced, text.raw))


FUNCTIONS: Mapping[str, Function] = {
    "regex": function(_regex, Parameter("pattern", STRING), Parameter("string", STRING)),
    "regexall": function(_regexall, Parameter("pattern", STRING), Parameter("string", STRING)),
    "regex_replace": function(
        _regex_replace, Parameter("str", STRING), Parameter("pattern", STRING), Parameter("replace", STRING)
    ),
}
