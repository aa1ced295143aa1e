"""`.env` files: lines of NAME=VALUE.

Values may be quoted: in single quotes they are taken literally, in double quotes and without any they may have
variables in them, and in double quotes escapes. Comments begin with # at the beginning of a line or after a blank.

Specification: compose-spec (env_file), compose-go dotenv.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from boatyard.bake.compose.interpolation import InterpolationError, interpolate
from boatyard.bake.source import Source

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:([=:])[ \t]*|(?=\r?$))", re.MULTILINE)
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|$)")
_EMPTY = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|$)")
_BARE = re.compile(r"[^\n]*")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def parse(source: Source, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of the file; `environment` goes before them where they use each other. DefinitionError for a line
    that is none."""
    found: dict[str, str] = {}
    text, at = source.text, 0
    while at < len(text):
        if match := _EMPTY.match(text, at):
            at = match.end()
            continue
        name = _NAME.match(text, at)
        if name is None:
            end = text.find("\n", at)
            raise source.span(at, len(text) if end < 0 else end).error(
                "this line of an environment file is not NAME=VALUE"
            )
        at = name.end()
        if name[2] is None:  # the environment's own
            if name[1] in environment:
                found[name[1]] = environment[name[1]]
            continue
        value, at = _value(source, at, {**found, **environment})
        found[name[1]] = value
    return found


def _value(source: Source, at: int, known: Mapping[str, str]) -> tuple[str, int]:
    text = source.text
    if text[at : at + 1] in ("'", '"'):
        quoted = (_SINGLE if text[at] == "'" else _DOUBLE).match(text, at)
        if quoted is None:
            raise source.span(at, at + 1).error("this quoted value has no end")
        rest = _REST.match(text, quoted.end())
        if rest is None:
            raise source.span(quoted.end(), quoted.end() + 1).error("there is something behind the quoted value")
        if text[at] == "'":
            return quoted[1], rest.end()
        escaped = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), quoted[1], flags=re.DOTALL)
        return _expanded(source, at, quoted.end(), escaped, known), rest.end()
    bare = _BARE.match(text, at)
    assert bare is not None
    value = _COMMENT.sub("", bare[0].rstrip("\r")).strip()
    return _expanded(source, at, bare.end(), value, known), bare.end()


def _expanded(source: Source, start: int, end: int, value: str, known: Mapping[str, str]) -> str:
    try:
        return interpolate(value, known, lambda name: None)
    except InterpolationError as error:
        raise source.span(start, end).error(str(error)) from None
