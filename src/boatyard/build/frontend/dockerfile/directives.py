"""The parser directives at the head of a Dockerfile: `# syntax=`, `# escape=`, `# check=`.

They stand before everything else: the first line that isn't one ends them. A byte order mark and a shebang line may
come first. `syntax` may also be given as `// syntax=` or as a JSON document with that key, for files that are no
Dockerfiles but name the frontend that reads them.

Specification: the Dockerfile reference, "Parser directives".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from boatyard.build.frontend.dockerfile.ast import BLANKS, Range, Source

_BOM = b"\xef\xbb\xbf"
_NAMES = ("syntax", "escape", "check")
_ESCAPES = ("\\", "`")
_DIRECTIVE = re.compile(rf"([a-zA-Z][a-zA-Z0-9]*)[{BLANKS}]*=[{BLANKS}]*([^{BLANKS}](?:.*[^{BLANKS}])?)[{BLANKS}]*")


@dataclass(frozen=True, slots=True)
class Directive:
    """`value` is the whole of it, without blanks around."""

    name: str
    value: str
    range: Range

    @property
    def word(self) -> str:
        """The value up to the first blank, which is what `syntax` and `check` use."""
        return self.value.split(" ", 1)[0]


@dataclass(frozen=True, slots=True)
class Directives:
    """What the head of the file asks for. `syntax` and `check` are None when they aren't there."""

    syntax: Directive | None = None
    check: Directive | None = None
    escape: str = "\\"
    last_line: int = 0
    """The last line that belongs to a directive or the shebang, 0 without any: what is above is no comment."""


def strip_mark(data: bytes) -> bytes:
    """The text without a UTF-8 byte order mark."""
    return data.removeprefix(_BOM)


def parse_directives(lines: Sequence[str], source: Source) -> Directives:
    """The directives at the head of `lines`. DockerfileError when one is given twice or `escape` is neither `\\` nor
    `` ` ``."""
    found: dict[str, Directive] = {}
    last_line = 1 if lines and lines[0].startswith("#!") else 0
    for directive in _scan(lines, "#"):
        if directive.name in found:
            raise source.error(
                f"the parser directive {directive.name!r} is given twice",
                directive.range,
                hint="keep one of them; if this line is only a comment, put it below the first empty line",
            )
        found[directive.name] = directive
        last_line = directive.range.end
    escape = found.get("escape")
    if escape is not None and escape.value not in _ESCAPES:
        raise source.error(
            f"the escape character can't be {escape.value!r}",
            escape.range,
            hint="# escape= takes a backslash (\\) or a backtick (`)",
        )
    return Directives(found.get("syntax"), found.get("check"), escape.value if escape else "\\", last_line)


def detect_syntax(data: bytes) -> Directive | None:
    """The frontend that a file of any kind asks for, in one of the three notations. Never raises."""
    text = strip_mark(data).decode("utf-8", "replace")
    lines = text.split("\n", 64)[:64]
    for prefix in ("#", "//"):
        for directive in _scan(lines, prefix):
            if directive.name == "syntax":
                return directive
    start = text.find("\n") + 1 if text.startswith("#!") else 0
    if not text[start:].lstrip(" \t\r\n").startswith("{"):
        return None
    try:
        document = json.loads(text[start:])
    except (ValueError, RecursionError):
        return None
    value = document.get("syntax") if isinstance(document, dict) else None
    return Directive("syntax", value, Range(1, 1)) if isinstance(value, str) and value else None


def parse_comment(comment: str) -> Directive | None:
    """A directive in a comment elsewhere (`# check=skip=...` above an instruction), or None."""
    return _match(comment, 0)


def _scan(lines: Sequence[str], prefix: str) -> Iterator[Directive]:
    for number, line in enumerate(lines, 1):
        if number == 1 and line.startswith("#!"):
            continue
        line = line.strip(BLANKS)
        directive = _match(line[len(prefix) :], number) if line.startswith(prefix) else None
        if directive is None:
            return
        yield directive


def _match(text: str, line: int) -> Directive | None:
    match = _DIRECTIVE.fullmatch(text.strip(BLANKS))
    if match is None or match[1].lower() not in _NAMES:
        return None
    return Directive(match[1].lower(), match[2], Range(line, line))
