"""Splitting what follows a keyword: flags, quoted words, `key=value`, JSON arrays, comma-separated fields.

Nothing is expanded and quotes stay where they are, but for flags, whose quotes are taken off here.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

from boatyard.build.frontend.dockerfile.ast import BLANKS
from boatyard.errors import InvalidError

BETWEEN = re.compile(r"[\t\v\f\r ]+")
"""What separates words where quotes mean nothing."""


def split_keyword(line: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """A logical line's keyword, flags and rest."""
    keyword, *others = BETWEEN.split(line.strip(BLANKS), maxsplit=1)
    if not others:
        return keyword, (), ""
    flags, rest = _split_flags(others[0], escape)
    return keyword, flags, rest.strip(BLANKS)


def split_blanks(text: str) -> tuple[str, ...]:
    """Words between blanks; quotes mean nothing."""
    return tuple(BETWEEN.split(text)) if text else ()


def split_quoted(text: str, escape: str) -> tuple[str, ...]:
    """Words between blanks that are neither quoted nor escaped, with their quotes and escapes. Quotes that aren't
    closed reach to the end."""
    words: list[str] = []
    word: list[str] = []
    pattern = _quoted_pieces(escape)
    at = 0
    while at < len(text):
        piece = pattern.match(text, at)
        assert piece is not None  # the alternatives cover every character
        at = piece.end()
        if piece.lastgroup == "blank":
            if word:
                words.append("".join(word))
                word.clear()
        elif piece[0] != escape or at < len(text):
            word.append(piece[0])
    if word:
        words.append("".join(word))
    return tuple(words)


def parse_json_words(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None when the text is none. InvalidError when it holds something else than
    strings."""
    text = text.lstrip(BLANKS)
    if not text.startswith("["):
        return None
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidError(
            "a JSON array here may hold nothing but strings", hint='write numbers as strings too: ["sleep", "10"]'
        )
    return tuple(_without_surrogates(item) for item in value)


def parse_fields(text: str) -> tuple[str, ...]:
    """Comma-separated fields, RFC 4180: a field may stand in double quotes, in which `""` is one. InvalidError when
    it is malformed."""
    fields: list[str] = []
    at = 0
    while True:
        if not text.startswith('"', at):
            end = text.find(",", at)
            field = text[at:] if end < 0 else text[at:end]
            if '"' in field:
                raise InvalidError(
                    f"a quote in the middle of the field {field!r}", hint="put the whole field in quotes"
                )
            at = len(text) if end < 0 else end
        else:
            match = _FIELD.match(text, at)
            if match is None or text[match.end() : match.end() + 1] not in ("", ","):
                raise InvalidError(
                    f"the quotes in {text!r} don't match", hint='a quote within quotes is written twice: ""'
                )
            field, at = match[1].replace('""', '"'), match.end()
        fields.append(field)
        if at >= len(text):
            return tuple(fields)
        at += 1


_FIELD = re.compile(r'"((?:[^"]|"")*)"(?!")')


def _no_constant(name: str) -> None:
    raise ValueError(name)


# Numbers are refused later, so their value is of no interest; converting a million digits would be.
_JSON = json.JSONDecoder(parse_int=lambda _: None, parse_float=lambda _: None, parse_constant=_no_constant)


def _without_surrogates(text: str) -> str:
    """An escape like `\\ud800` alone is no character; what other decoders make of it is the replacement character."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


@lru_cache(maxsize=4)
def _quoted_pieces(escape: str) -> re.Pattern[str]:
    token = re.escape(escape)
    # A quote that isn't closed takes everything up to the end. Nothing here backtracks: a long line takes its length.
    return re.compile(
        rf"(?P<blank>[{BLANKS}]+)|{token}.?|'[^']*+'?|\"(?:[^\"{token}]++|{token}.)*+(?:\"|{token}?)|[^{BLANKS}'\"{token}]+",
        re.DOTALL,
    )


@lru_cache(maxsize=4)
def _flag_pieces(escape: str) -> re.Pattern[str]:
    token = re.escape(escape)
    return re.compile(
        rf"(?P<blank>[{BLANKS}]+)|{token}(?P<escaped>.?)|(?P<quote>['\"])|(?P<plain>[^{BLANKS}'\"{token}]+)", re.DOTALL
    )


def _split_flags(line: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The words that begin with two dashes, without quotes and escapes, and what follows them. `--` alone ends the
    flags."""
    flags: list[str] = []
    at = 0
    while True:
        at = _skip_blanks(line, at)
        if not line.startswith("--", at):
            return tuple(flags), line[at:]
        word, at = _flag_word(line, at, escape)
        if word == "--":
            return tuple(flags), line[at:]
        flags.append(word)


def _skip_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in BLANKS:
        at += 1
    return at


def _flag_word(line: str, at: int, escape: str) -> tuple[str, int]:
    word: list[str] = []
    pattern = _flag_pieces(escape)
    while at < len(line):
        piece = pattern.match(line, at)
        assert piece is not None  # the alternatives cover every character
        if piece.lastgroup == "blank":
            break
        at = piece.end()
        if piece["quote"]:
            content, at = _flag_quoted(line, at, piece["quote"], escape)
            word.append(content)
        else:
            word.append(piece["plain"] or piece["escaped"] or "")
    return "".join(word), at


def _flag_quoted(line: str, at: int, quote: str, escape: str) -> tuple[str, int]:
    """Here both kinds of quotes know the escape character."""
    content: list[str] = []
    plain = re.compile(f"[^{quote}{re.escape(escape)}]+")
    while at < len(line):
        if (run := plain.match(line, at)) is not None:
            content.append(run[0])
            at = run.end()
        elif line[at] == quote:
            return "".join(content), at + 1
        else:
            content.append(line[at + 1 : at + 2])
            at += 2
    return "".join(content), at
