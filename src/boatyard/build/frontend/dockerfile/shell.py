"""Variables, quotes and escapes in the words of a Dockerfile, as a shell would read them.

    $x ${x}                          the value, nothing when unset
    ${x:-w} ${x-w}                   `w` when unset (with the colon: or empty)
    ${x:+w} ${x+w}                   `w` when set (with the colon: and not empty), otherwise nothing
    ${x:?m} ${x?m}                   an error saying `m` when unset (with the colon: or empty)
    ${x#p} ${x##p} ${x%p} ${x%%p}    the value without its shortest or longest beginning or end that matches `p`
    ${x/p/r} ${x//p/r}               the value with the first or every match of `p` replaced

`w`, `m`, `p` and `r` are words themselves. Single quotes keep everything as it is; within double quotes variables are
expanded and the escape character only protects `"`, `$` and itself. Patterns: see `shell_patterns`.

Specification: the Dockerfile reference, "Environment replacement"; POSIX shell, 2.6.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from boatyard.build.frontend.dockerfile import shell_patterns
from boatyard.build.frontend.dockerfile.ast import BLANKS
from boatyard.errors import InvalidError

_DEEPEST = 64
"""Levels of ${x:-${y:-...}}: more is no Dockerfile that somebody wrote."""
_SPECIAL_PARAMETERS = "@*#?-$!0"
_SPLIT = re.compile(f"[{BLANKS}]+")
_FORMS = "supported are ${x} ${x:-word} ${x:+word} ${x:?message} ${x#pattern} ${x%pattern} ${x/pattern/replacement}"


@dataclass(frozen=True, slots=True)
class Expansion:
    """What became of a word.

    `text` is it as one string; `words` are what it splits into at blanks that aren't quoted. `matched` are the names of
    the variables that were looked up and found, `unmatched` of those that weren't, each once, in order."""

    text: str
    words: tuple[str, ...]
    matched: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()


def expand(
    text: str,
    variables: Mapping[str, str],
    *,
    escape: str = "\\",
    raw_quotes: bool = False,
    raw_escapes: bool = False,
    ignore_quotes: bool = False,
    keep_unset: bool = False,
) -> Expansion:
    """Expand `text`. InvalidError when it is malformed, or a `${x?}` isn't met.

    `raw_quotes`, `raw_escapes`: the quotes, the escape characters stay in the result. `ignore_quotes`: quotes mean
    nothing (heredoc bodies). `keep_unset`: variables without a value stay as they were written (step names in
    progress)."""
    run = _Run(text, variables, escape, raw_quotes, raw_escapes, ignore_quotes, keep_unset)
    words = _Words()
    result = run.until(None, raw_escapes, words)
    return Expansion(result, words.finish(), tuple(run.matched), tuple(run.unmatched))


def expand_word(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> str:
    """`expand(...).text`, for when nothing else is of interest."""
    if "$" not in text and escape not in text and "'" not in text and '"' not in text:
        return text
    return _Run(text, variables, escape, False, False, False, False).until(None, False, None)


class _Words:
    """Splits at blanks what is added; what is added raw never splits."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._current: list[str] = []

    def add(self, text: str) -> None:
        first, *others = _SPLIT.split(text)
        self._current.append(first)
        for piece in others:
            self._end_word()
            self._current.append(piece)

    def add_raw(self, text: str) -> None:
        self._current.append(text)

    def finish(self) -> tuple[str, ...]:
        self._end_word()
        return tuple(self._words)

    def _end_word(self) -> None:
        word = "".join(self._current)
        if word:
            self._words.append(word)
        self._current.clear()


@lru_cache(maxsize=64)
def _plain(escape: str, stop: str, quotes: bool, heredocs: bool) -> re.Pattern[str]:
    """A run of characters that mean nothing special."""
    special = "$" + escape + stop + ("'\"" if quotes else "") + ("<" if heredocs else "")
    return re.compile(f"[^{re.escape(special)}]+")


class _Run:
    """One pass over a text: the position, the options, and which variables were met."""

    def __init__(
        self,
        text: str,
        variables: Mapping[str, str],
        escape: str,
        raw_quotes: bool,
        raw_escapes: bool,
        ignore_quotes: bool,
        keep_unset: bool,
    ) -> None:
        self._text = text
        self._at = 0
        self._variables = variables
        self._escape = escape
        self._raw_quotes = raw_quotes
        self._raw_escapes = raw_escapes
        self._ignore_quotes = ignore_quotes
        self._keep_unset = keep_unset
        self._depth = 0
        self.matched: dict[str, None] = {}
        self.unmatched: dict[str, None] = {}

    def until(self, stop: str | None, raw_escapes: bool, words: _Words | None) -> str:
        """Read up to `stop` (consumed, not part of the result) or, without one, to the end."""
        outer, self._raw_escapes = self._raw_escapes, raw_escapes
        text = self._text
        plain = _plain(self._escape, stop or "", not self._ignore_quotes, words is not None)
        result: list[str] = []
        while self._at < len(text):
            if (run := plain.match(text, self._at)) is not None:
                self._at = run.end()
                piece, splits = run[0], True
            elif (char := text[self._at]) == stop:
                self._at += 1
                self._raw_escapes = outer
                return "".join(result)
            elif char == "$":
                piece, splits = self._dollar(), True
            elif char == "'" and not self._ignore_quotes:
                piece, splits = self._single_quoted(), False
            elif char == '"' and not self._ignore_quotes:
                piece, splits = self._double_quoted(), False
            elif char == self._escape:
                piece, splits = self._escaped(), False
            else:
                piece, splits = self._angle(), False
            result.append(piece)
            if words is not None:
                (words.add if splits else words.add_raw)(piece)
        if stop is not None:
            raise self._error(f"missing '{stop}'", hint=_FORMS)
        return "".join(result)

    def _escaped(self) -> str:
        """The escape character protects the next one; at the very end it is dropped."""
        piece = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        return self._escape + piece if self._raw_escapes else piece

    def _angle(self) -> str:
        """`<`, or `<<` with the blanks after it: `<< EOF` is one word."""
        end = self._at + 1
        if self._text.startswith("<", end):
            end += 1
            while end < len(self._text) and self._text[end] in "\t\r ":
                end += 1
        piece, self._at = self._text[self._at : end], end
        return piece

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise self._error("a single quote is not closed", hint="write \\' for a quote that is only a character")
        piece = self._text[self._at : end + 1] if self._raw_quotes else self._text[self._at + 1 : end]
        self._at = end + 1
        return piece

    def _double_quoted(self) -> str:
        text, escape = self._text, self._escape
        plain = _plain(escape, '"', False, False)
        result = ['"'] if self._raw_quotes else []
        self._at += 1
        while self._at < len(text):
            if (run := plain.match(text, self._at)) is not None:
                self._at = run.end()
                result.append(run[0])
            elif (char := text[self._at]) == '"':
                self._at += 1
                if self._raw_quotes:
                    result.append('"')
                return "".join(result)
            elif char == "$":
                result.append(self._dollar())
            else:
                following = text[self._at + 1 : self._at + 2]
                protects = following != "" and following in ('"', "$", escape)
                if self._raw_escapes or not protects:
                    result.append(escape)
                result.append(following if protects else "")
                self._at += 2 if protects else 1
        raise self._error("a double quote is not closed", hint='write \\" for a quote that is only a character')

    def _dollar(self) -> str:
        self._at += 1
        if self._text.startswith("{", self._at):
            self._at += 1
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._error(f"variables are nested more than {_DEEPEST} deep", hint="use an ARG for a part of it")
            value = self._braces()
            self._depth -= 1
            return value
        name = self._name()
        if not name:
            return "$"
        value, found = self._look_up(name)
        return "$" + name if self._keep_unset and not found else value

    def _braces(self) -> str:
        """What follows `${`."""
        text = self._text
        if self._at >= len(text):
            raise self._error("missing '}'", hint=_FORMS)
        if text[self._at] in "{}:":
            raise self._error("bad substitution", hint=_FORMS)
        name = self._name()
        operator = text[self._at : self._at + 1]
        self._at += 1
        if operator == "}":
            value, found = self._look_up(name)
            return f"${{{name}}}" if self._keep_unset and not found else value
        if not operator:
            raise self._error("missing '}'", hint=_FORMS)
        if operator == "/":
            return self._replace(name)
        if operator == ":":
            operator += text[self._at : self._at + 1]
            self._at += 1
        if operator in (":-", ":+", ":?", "-", "+", "?"):
            return self._choose(name, operator, self.until("}", False, None))
        if operator in ("#", "%"):
            return self._trim(name, operator, self.until("}", True, None))
        raise self._error(f"unsupported modifier '{operator}'", hint=_FORMS)

    def _choose(self, name: str, operator: str, word: str) -> str:
        value, found = self._look_up(name)
        if self._keep_unset and not found:
            return f"${{{name}{operator}{word}}}"
        there = found and not (operator[0] == ":" and value == "")
        kind = operator[-1]
        if kind == "-":
            return value if there else word
        if kind == "+":
            return word if there else ""
        if not there:
            reason = word or f"is not allowed to be {'empty' if found else 'unset'}"
            raise InvalidError(f"{name}: {reason}", hint=f"give it a value, for instance with --build-arg {name}=...")
        return value

    def _trim(self, name: str, operator: str, pattern: str) -> str:
        value, found = self._look_up(name)
        if self._keep_unset and not found:
            return f"${{{name}{operator}{pattern}}}"
        longest = pattern.startswith(operator)
        compiled = shell_patterns.parse(pattern[1:] if longest else pattern, self._escape)
        trim = shell_patterns.trim_start if operator == "#" else shell_patterns.trim_end
        return trim(compiled, value, longest=longest)

    def _replace(self, name: str) -> str:
        every = self._text.startswith("/", self._at)
        self._at += every
        pattern = self.until("/", True, None)
        replacement = self.until("}", True, None)
        value, found = self._look_up(name)
        if self._keep_unset and not found:
            return f"${{{name}{'//' if every else '/'}{pattern}/{replacement}}}"
        return shell_patterns.replace(shell_patterns.parse(pattern, self._escape), value, replacement, every=every)

    def _name(self) -> str:
        """A variable's name, a positional parameter's number or a special parameter; "" when there is none here."""
        text, start = self._text, self._at
        if start >= len(text):
            return ""
        end = start
        if text[start].isdecimal():
            while end < len(text) and text[end].isdecimal():
                end += 1
        elif text[start] in _SPECIAL_PARAMETERS:
            end += 1
        else:
            while end < len(text) and (text[end] == "_" or text[end].isalpha() or text[end].isdecimal()):
                end += 1
        self._at = end
        return text[start:end]

    def _look_up(self, name: str) -> tuple[str, bool]:
        value = self._variables.get(name)
        if value is None:
            self.unmatched[name] = None
            return "", False
        self.matched[name] = None
        return value, True

    def _error(self, message: str, *, hint: str) -> InvalidError:
        text = self._text if len(self._text) <= 80 else self._text[:77] + "..."
        return InvalidError(f"{message} in {text!r}", hint=hint)
