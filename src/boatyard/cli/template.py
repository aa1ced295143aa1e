"""The templates of `--format`: the part of Go's text/template that Docker's users write.

    {{.Name}}  {{.Config.Env}}  {{.}}           a field, a field's field, the value itself
    {{json .}}  {{upper .ID}}  {{.ID | lower}}  functions and pipelines: json upper lower title len join split index
                                                println print truncate pad eq ne not and or
    {{if .A}}..{{else if .B}}..{{else}}..{{end}}
    {{range .Layers}}..{{else}}..{{end}}        and {{with .Config}}..{{end}}
    {{- .Name -}}                               without the blanks before and after; {{/* a comment */}}
    "text"  `text`  12                          strings and numbers

A field that doesn't exist is an error that names the fields there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from boatyard.cli import suggest
from boatyard.errors import InvalidError

Node = Callable[[Any], str]
Value = Callable[[Any], Any]

_ACTION = re.compile(r"\{\{(?:-(?=\s))?(.*?)(?:(?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(r"""\s*("(?:\\.|[^"\\])*"|`[^`]*`|-?\d+(?:\.\d+)?|\.[\w.]*|\||\(|\)|\w+)""")


class Template:
    """Parsed once, rendered for each row. Raises InvalidError for what is not in the subset."""

    def __init__(self, text: str) -> None:
        self._pieces = _split(text.replace("\\t", "\t").replace("\\n", "\n"))
        self._at = 0
        self._root, ended = self._block()
        if ended:
            raise _malformed(f"{{{{{ended}}}}} without a beginning")

    def render(self, value: Any) -> str:
        return "".join(node(value) for node in self._root)

    def _block(self) -> tuple[list[Node], str]:
        """Nodes up to the end, or to an action that ends a block: which one is told."""
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            is_action, text = self._pieces[self._at]
            self._at += 1
            if not is_action:
                nodes.append(lambda _, text=text: text)  # type: ignore[misc]
                continue
            word, _, rest = text.partition(" ")
            if word in ("end", "else"):
                return nodes, text
            if word in ("if", "with", "range"):
                nodes.append(self._branch(word, rest))
            elif not text.startswith("/*"):
                pipeline = _pipeline(text)
                nodes.append(lambda value, pipeline=pipeline: display(pipeline(value)))  # type: ignore[misc]
        return nodes, ""

    def _branch(self, word: str, condition_text: str) -> Node:
        condition = _pipeline(condition_text)
        body, ended = self._block()
        otherwise: list[Node] = []
        if ended.startswith("else if "):
            otherwise = [self._branch("if", ended[len("else if ") :])]
            ended = "end"
        elif ended == "else":
            otherwise, ended = self._block()
        if ended != "end":
            raise _malformed(f"{{{{{word}}}}} without {{{{end}}}}")

        def render(value: Any) -> str:
            chosen = condition(value)
            if not _true(chosen):
                return "".join(node(value) for node in otherwise)
            if word == "range":
                items = list(chosen.values()) if isinstance(chosen, Mapping) else chosen
                return "".join(node(item) for item in items for node in body)
            return "".join(node(chosen if word == "with" else value) for node in body)

        return render


def display(value: Any) -> str:
    """As Go prints it, near enough: true/false, [a b], map[k:v]."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{display(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + " ".join(map(display, value)) + "]"
    return str(value)


def fields_of(text: str) -> list[str]:
    """The fields a template names at its top level, in order: what a table made of it is headed by."""
    actions = (piece for is_action, piece in _split(text) if is_action)
    return [match[1] for action in actions if (match := re.search(r"\.(\w+)", action))]


def _split(text: str) -> list[tuple[bool, str]]:
    pieces: list[tuple[bool, str]] = []
    end = 0
    trim = False
    for match in _ACTION.finditer(text):
        before = text[end : match.start()]
        before = before.lstrip() if trim else before
        before = before.rstrip() if match[0].startswith("{{- ") else before
        pieces.extend([(False, before)] if before else [])
        pieces.append((True, match[1].strip()))
        trim, end = match[0].endswith(" -}}"), match.end()
    rest = text[end:].lstrip() if trim else text[end:]
    if "{{" in rest:
        raise _malformed("an opening {{ has no closing }}")
    return [*pieces, (False, rest)] if rest else pieces


def _pipeline(text: str) -> Value:
    tokens: list[str] = []
    at = 0
    stripped = text.strip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            raise _malformed(f"{stripped[at:]!r} is not understood")
        tokens.append(match[1])
        at = match.end()
    value, rest = _parse_pipeline(tokens)
    if rest:
        raise _malformed(f"{rest[0]!r} is unexpected")
    return value


def _parse_pipeline(tokens: list[str]) -> tuple[Value, list[str]]:
    piped: Value | None = None
    while True:
        words: list[Value | str] = []
        while tokens and tokens[0] not in ("|", ")"):
            token, *tokens = tokens
            if token == "(":
                inner, tokens = _parse_pipeline(tokens)
                if not tokens:
                    raise _malformed("a parenthesis is not closed")
                tokens = tokens[1:]
                words.append(inner)
            else:
                words.append(_operand(token))
        piped = _call(words, piped)
        if not tokens or tokens[0] == ")":
            return piped, tokens
        tokens = tokens[1:]


def _operand(token: str) -> Value | str:
    """A value, or the name of a function."""
    if token.startswith("."):
        names = [name for name in token.split(".") if name]
        return lambda value: _field(value, names)
    if token[0] in '"`':
        text = token[1:-1] if token[0] == "`" else str(json.loads(token))
        return lambda _: text
    if token[0].isdigit() or token[0] == "-":
        number = float(token) if "." in token else int(token)
        return lambda _: number
    if token in ("true", "false", "nil"):
        constant = {"true": True, "false": False, "nil": None}[token]
        return lambda _: constant
    return token


def _call(words: list[Value | str], piped: Value | None) -> Value:
    if not words:
        raise _malformed("an action is empty")
    head, *rest = words
    arguments: list[Value] = [*(word for word in rest if not isinstance(word, str)), *([piped] if piped else [])]
    unknown = next((word for word in rest if isinstance(word, str)), None)
    if unknown is not None:
        raise _malformed(f"{unknown!r} is not understood")
    if not isinstance(head, str):
        if arguments:
            raise _malformed("a value is not a function")
        return head
    function = _FUNCTIONS.get(head)
    if function is None:
        raise InvalidError(
            f"templates have no function {head!r}",
            hint=suggest.hint(head, _FUNCTIONS, otherwise=f"there are: {', '.join(_FUNCTIONS)}"),
        )

    def call(value: Any) -> Any:
        try:
            return function(*(argument(value) for argument in arguments))
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise InvalidError(f"the template's {head!r} can't be applied: {error}") from error

    return call


def _field(value: Any, names: list[str]) -> Any:
    for name in names:
        if not isinstance(value, Mapping):
            raise InvalidError(f"the template asks for .{name} of {display(value)!r}, which has no fields")
        if name not in value:
            listed = f"there are: {', '.join('.' + known for known in value)}"
            raise InvalidError(f"there is no field .{name}", hint=suggest.hint(name, value, otherwise=listed))
        value = value[name]
    return value


def _true(value: Any) -> bool:
    return bool(value)


def _truncate(*arguments: Any) -> str:
    first, second = arguments
    text, count = (first, second) if isinstance(first, str) else (second, first)
    return str(text)[: int(count)]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "upper": lambda value: display(value).upper(),
    "lower": lambda value: display(value).lower(),
    "title": lambda value: display(value).title(),
    "len": len,
    "join": lambda first, second: second.join(map(display, first)),
    "split": lambda text, separator: text.split(separator),
    "index": lambda value, *keys: _index(value, keys),
    "println": lambda *values: " ".join(map(display, values)) + "\n",
    "print": lambda *values: "".join(map(display, values)),
    "truncate": _truncate,
    "pad": lambda value, before, after: " " * before + display(value) + " " * after,
    "eq": lambda value, *others: value in others,
    "ne": lambda value, other: value != other,
    "not": lambda value: not value,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
}


def _index(value: Any, keys: tuple[Any, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else value[key]
    return value


def _malformed(reason: str) -> InvalidError:
    return InvalidError(
        f"the template is malformed: {reason}", hint="`{{.Name}}` shows a field, `{{json .}}` all of them"
    )
