"""A cursor over tokens, for the parsers. Inside brackets line ends mean nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from boatyard.bake.hcl.tokens import EOF, IDENT, NEWLINE, Token
from boatyard.bake.hcl.tree import Expression
from boatyard.bake.source import Span
from boatyard.errors import DefinitionError

DEEPEST = 60
"""So deep may expressions and blocks be nested: deeper ones are mistakes, and would exhaust the stack."""


class Cursor:
    """One per parse. `template` parses what comes behind a token that opens a string or a heredoc, up to a token of the
    kind that ends it: templates are made of expressions, and expressions of templates."""

    def __init__(self, tokens: Sequence[Token], template: Callable[[Cursor, Token, str], Expression]) -> None:
        self.template = template
        self._tokens = tokens
        self._at = 0
        self._newlines = [True]
        self._depth = 0

    def peek(self) -> Token:
        if not self._newlines[-1]:
            while self._tokens[self._at].kind == NEWLINE:
                self._at += 1
        return self._tokens[self._at]

    def read(self) -> Token:
        token = self.peek()
        if token.kind != EOF:
            self._at += 1
        return token

    def accept(self, kind: str) -> Token | None:
        return self.read() if self.peek().kind == kind else None

    def at(self, *kinds: str) -> bool:
        return self.peek().kind in kinds

    def at_word(self, word: str) -> bool:
        token = self.peek()
        return token.kind == IDENT and token.text == word

    @property
    def previous(self) -> Span:
        """The place of the token before."""
        return self._tokens[max(self._at - 1, 0)].span

    @contextmanager
    def newlines(self, matter: bool) -> Iterator[None]:
        self._newlines.append(matter)
        try:
            yield
        finally:
            self._newlines.pop()

    @contextmanager
    def nested(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self.peek().span.error("this is nested too deeply")
        try:
            yield
        finally:
            self._depth -= 1


def described(token: Token) -> str:
    """A token in a message."""
    return repr(token.text) if len(token.text) <= 30 else repr(token.text[:27] + "...")


def unexpected(token: Token, wanted: str, *, hint: str | None = None) -> DefinitionError:
    ends = {EOF: "the file ends", NEWLINE: "the line ends"}
    return token.span.error(f"expected {wanted}, but {ends.get(token.kind) or f'found {described(token)}'}", hint=hint)
