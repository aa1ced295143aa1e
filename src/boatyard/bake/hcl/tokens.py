"""HCL's tokens. Strings and heredocs are cut into literals and the sequences between them, however deeply nested."""

from __future__ import annotations

import re
from dataclasses import dataclass

from boatyard.bake.source import Source, Span

IDENT = "name"
NUMBER = "number"
NEWLINE = "line end"
EOF = "end of the file"
OPEN_QUOTE = 'opening "'
CLOSE_QUOTE = 'closing "'
OPEN_HEREDOC = "heredoc"
CLOSE_HEREDOC = "heredoc's end"
LITERAL = "text"
INTERPOLATION = "${"
CONTROL = "%{"
SEQUENCE_END = "} of a template"

_BLANKS = re.compile(r"[ \t]+")
_COMMENT = re.compile(r"(?:#|//)[^\n]*|/\*.*?\*/", re.DOTALL)
_NEWLINE = re.compile(r"\r?\n")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HEREDOC = re.compile(r"<<(-?)([^\W\d][\w-]*)\r?\n")
_OPERATORS = (
    "...", "==", "!=", "<=", ">=", "&&", "||", "=>", "::",
    "{", "}", "[", "]", "(", ")", "=", "<", ">", "!", "?", ":", ",", ".", "+", "-", "*", "/", "%",
)  # fmt: skip
_QUOTED = re.compile(r'(?:[^"\\$%\r\n]+|\\.|\$\$\{|%%\{|\$(?!\{)|%(?!\{))+')
_BARE = re.compile(r"(?:[^$%\n]+|\$\$\{|%%\{|\$(?!\{)|%(?!\{))*(?:\n|(?=[$%]\{)|$)")


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    span: Span


@dataclass(slots=True)
class _Mode:
    """What the scanner is inside of: `expression` (with the braces that are open in it), `quote`, `heredoc`, or
    `template` (a bare one, up to the end of the text)."""

    kind: str
    braces: int = 0
    end: re.Pattern[str] | None = None


def tokenize(source: Source, *, start: int = 0, template: bool = False) -> list[Token]:
    """All tokens, the last of them EOF. With `template`, the text is that of a template, without quotes around it.
    DefinitionError for what is no token."""
    return _Scanner(source, start, template).run()


class _Scanner:
    def __init__(self, source: Source, start: int, template: bool) -> None:
        self._source = source
        self._text = source.text
        self._at = start
        self._modes = [_Mode("template" if template else "expression")]
        self._tokens: list[Token] = []

    def run(self) -> list[Token]:
        while self._at < len(self._text) or self._modes[-1].kind == "heredoc":
            mode = self._modes[-1]
            if mode.kind == "expression":
                self._expression(mode)
            elif mode.kind == "quote":
                self._quote()
            else:
                self._bare(mode)
        for mode in reversed(self._modes[1:]):
            if mode.kind == "quote":
                raise self._opening(OPEN_QUOTE).error("this string has no end", hint='close it with "')
            if mode.kind == "expression":
                raise self._opening(INTERPOLATION, CONTROL).error(
                    "this template sequence has no end", hint="close it with }, or write $${ or %%{ to mean just that"
                )
        self._add(EOF, self._at)
        return self._tokens

    def _opening(self, *kinds: str) -> Span:
        return next(token.span for token in reversed(self._tokens) if token.kind in kinds)

    def _add(self, kind: str, end: int) -> None:
        self._tokens.append(Token(kind, self._text[self._at : end], self._source.span(self._at, end)))
        self._at = end

    def _expression(self, mode: _Mode) -> None:
        text, at = self._text, self._at
        if match := _BLANKS.match(text, at) or _COMMENT.match(text, at):
            self._at = match.end()
        elif match := _NEWLINE.match(text, at):
            self._add(NEWLINE, match.end())
        elif match := _HEREDOC.match(text, at):
            closing = re.compile(rf"[ \t]*{re.escape(match[2])}[ \t]*(?=\r?\n|$)")
            self._add(OPEN_HEREDOC, match.end())
            self._modes.append(_Mode("heredoc", end=closing))
        elif text[at] == '"':
            self._add(OPEN_QUOTE, at + 1)
            self._modes.append(_Mode("quote"))
        elif match := _NUMBER.match(text, at):
            self._add(NUMBER, match.end())
        elif text[at] == "_" or text[at].isidentifier():
            end = at + 1
            while end < len(text) and (text[end] == "-" or ("a" + text[end]).isidentifier()):
                end += 1
            self._add(IDENT, end)
        elif len(self._modes) > 1 and not mode.braces and (text[at] == "}" or text.startswith("~}", at)):
            self._add(SEQUENCE_END, at + (1 if text[at] == "}" else 2))
            self._modes.pop()
        else:
            self._operator(mode)

    def _operator(self, mode: _Mode) -> None:
        text, at = self._text, self._at
        operator = next((each for each in _OPERATORS if text.startswith(each, at)), None)
        if operator is None:
            raise self._unknown()
        mode.braces += (operator == "{") - (operator == "}")
        self._add(operator, at + len(operator))

    def _unknown(self) -> Exception:
        character = self._text[self._at]
        span = self._source.span(self._at, self._at + 1)
        if character in "'`\u2018\u2019\u201c\u201d":
            return span.error(f"{character} is no quote in HCL", hint='strings are in double quotes: "..."')
        if self._text.startswith("<<", self._at):
            return span.error("a heredoc begins with <<NAME or <<-NAME and a line end")
        if self._text.startswith("/*", self._at):
            return span.error("this comment has no end", hint="close it with */")
        hint = {"&": "write && for and", "|": "write || for or", ";": "attributes end with their line"}.get(character)
        if character == "\r":
            return span.error("a carriage return without a line feed is no line end")
        return span.error(f"the character {character!r} has no meaning here", hint=hint)

    def _quote(self) -> None:
        text, at = self._text, self._at
        if text[at] == '"':
            self._add(CLOSE_QUOTE, at + 1)
            self._modes.pop()
        elif self._sequence():
            return
        elif match := _QUOTED.match(text, at):
            self._add(LITERAL, match.end())
        elif text[at] == "\\":
            raise self._source.span(at, at + 1).error("a backslash can't end the file")
        else:
            raise self._opening(OPEN_QUOTE).error(
                "a string must end on the line it began on", hint="close it, write \\n, or use a heredoc: <<EOT"
            )

    def _bare(self, mode: _Mode) -> None:
        """Text without quotes: each line is a literal of its own."""
        text, at = self._text, self._at
        fresh = not self._tokens or self._tokens[-1].kind == OPEN_HEREDOC or self._tokens[-1].text.endswith("\n")
        if mode.end and fresh and (match := mode.end.match(text, at)):
            self._add(CLOSE_HEREDOC, match.end())
            self._modes.pop()
        elif at >= len(text):
            opening = self._opening(OPEN_HEREDOC)
            name = opening.text.strip("<-\r\n")
            raise opening.error(
                f"this heredoc has no end: there is no line with {name} alone", hint=f"write {name} on its own line"
            )
        elif not self._sequence():
            match = _BARE.match(text, at)
            assert match is not None
            self._add(LITERAL, match.end())

    def _sequence(self) -> bool:
        """The beginning of a template sequence, if there is one here."""
        for kind in (INTERPOLATION, CONTROL):
            if self._text.startswith(kind, self._at):
                stripped = self._text.startswith("~", self._at + 2)
                self._add(kind, self._at + 2 + stripped)
                self._modes.append(_Mode("expression"))
                return True
        return False
