"""Whatever a definition's text is, it is understood or refused with an error of ours, soon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boatyard.bake import overrides, places, printed, resolution
from boatyard.bake.compose import dotenv
from boatyard.bake.compose.interpolation import InterpolationError, interpolate
from boatyard.bake.definition import Definition
from boatyard.bake.entries import Agent, Attestation, Cache, EntryError, Output, Policy, Secret
from boatyard.bake.functions.patterns import compiled
from boatyard.bake.functions.signature import CallError
from boatyard.bake.functions.table import Surroundings, functions
from boatyard.bake.reading import Outside, read
from boatyard.bake.source import Source, decode
from boatyard.bake.values import value as values
from boatyard.errors import BoatyardError, DefinitionError

HERE = Path(__file__).parent
OUTSIDE = Outside("/nowhere", {"TAG": "x", "LIST": "a,b"}, builtin={"BAKE_CMD_CONTEXT": "cwd://"})
FILES = {
    suffix: [
        part.split(" --\n", 1)[1]
        for path in sorted((HERE / "corpus").glob("*.txt"))
        for part in path.read_text().split("\n-- ")
        if part.removeprefix("-- ").split(" --\n", 1)[0].endswith(suffix) and " --\n" in part
    ]
    for suffix in (".hcl", ".json", ".yaml")
}
EXPRESSIONS = [
    line
    for path in sorted((HERE / "tables").glob("*.txt"))
    for line in path.read_text().splitlines()[::2]
    if not line.startswith("bcrypt")
]

SNIPPETS = [
    'target "a" {', "}", "{", "[", "]", "(", ")", "\n", " ", "=", "=>", "...", ",", ":", "?", "!", "-", "*", "%", "&&",
    "||", "==", ".", "[*]", ".*", '"', "${", "%{", "~}", "<<EOT\n", "<<-A\n", "\nEOT\n", "#", "//", "/*", "*/", "\\",
    "for x in ", "if ", "%{ for ", "%{ endif }", "null", "true", "1e9", "0.5", "x", "target.a.args", "upper(", "args",
    "tags", "matrix", "name", "inherits", "contexts", "output", 'variable "V" {', "default", "type", "list(",
    "object({", 'function "f" {', "params", "variadic_params", "result", "validation {", "condition", "error_message",
    "group", "\t", "\r\n", "\x00", "é", "\U0001f600", "\ud7ff", "\ufeff", "'", "services:", "build:", "  ", "- ", "&a",
    "*a", "<<: *a", "!reset ", "!override ", "|\n", ">-\n", "${A:-", "${A:?", "$$", "$", "---\n", "x-bake:", "image: ",
]  # fmt: skip

TEXTS = st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=3)), max_size=24).map("".join)


@st.composite
def spoiled(draw: st.DrawFn, good: list[str]) -> str:
    """Something good with a piece of it gone, doubled or replaced."""
    text = draw(st.sampled_from(good))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 20)))
    return text[:start] + draw(st.one_of(TEXTS, st.just(text[start:end] * 2))) + text[end:]


def understood(name: str, text: str) -> None:
    """All that `boat bake --print` does."""
    definition = read([Source(name, text)], OUTSIDE).definition
    printed.targets(definition)
    printed.variables(definition.variables)
    for target in definition.targets:
        try:
            resolved = places.placed(resolution.resolve(definition, [target], {}))
        except BoatyardError:
            continue
        json.loads(printed.written(printed.resolved(resolved)))


@pytest.mark.parametrize("suffix", FILES)
def test_any_definition_is_understood_or_refused(suffix: str) -> None:
    @settings(max_examples=400, deadline=None)
    @given(st.one_of(TEXTS, spoiled(FILES[suffix])))
    def fuzz(text: str) -> None:
        try:
            understood(f"definition{suffix}", text)
        except BoatyardError as error:
            if isinstance(error, DefinitionError) and error.source is not None:
                lines = max(1, len(error.source.text.split("\n")))
                assert 1 <= error.source.start <= error.source.end <= lines

    fuzz()


@settings(max_examples=400, deadline=None)
@given(st.one_of(TEXTS, spoiled(EXPRESSIONS)))
def test_any_expression_is_understood_or_refused(expression: str) -> None:
    try:
        understood("definition.hcl", f'target "default" {{\n  args = {{ A = jsonencode({expression}) }}\n}}\n')
    except BoatyardError:
        pass


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "a = " + "(" * 5000 + "1" + ")" * 5000,
        "a = " + "-" * 5000 + "1",
        "a = " + '"${' * 3000,
        "a = " + "{a=" * 3000,
        "a = true" + " ? true : false" * 3000,
        "a = b" + ".c" * 5000,
        "a {" * 3000,
        "a = " + "%{ if true }" * 3000,
        'a = "' + "%{ if true }" * 3000 + '"',
    ],
    ids=lambda text: text[:12],
)
def test_what_is_nested_deeply_is_refused_not_crashed_on(text: str) -> None:
    with pytest.raises(DefinitionError):
        understood("definition.hcl", text + "\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.json", "[" * 100_000),
        ("deep.json", '{"a":' * 100_000),
        ("deep.yaml", "[" * 20_000),
        ("deep.yaml", "- " * 20_000),
        ("bomb.yaml", "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
         for a, b in zip("abcdefghi", "bcdefghij", strict=True)) + "services: *j\n"),
        ("self.yaml", "services: &a\n  x: *a\n"),
    ],
    ids=lambda text: text[:9],
)  # fmt: skip
def test_what_would_fill_the_memory_is_refused(name: str, text: str) -> None:
    with pytest.raises(DefinitionError):
        understood(name, text)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("${A:-${B:-${C}}}")
def test_any_text_is_interpolated_or_refused(text: str) -> None:
    try:
        interpolate(text, {"A": "1", "B": ""}, lambda name: None)
    except InterpolationError:
        pass


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXTS, st.text()))
def test_any_file_of_variables_is_understood_or_refused(text: str) -> None:
    try:
        dotenv.parse(Source(".env", text), {"A": "1"})
    except DefinitionError:
        pass


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        decode("docker-bake.hcl", data)
    except DefinitionError as error:
        assert "not UTF-8" in error.message


ENTRIES = st.lists(
    st.sampled_from(
        ["type", "=", ",", "local", "dest", "id", "src", "env", '"', " ", "image", "push", "true", "a", "/"]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(ENTRIES, st.sampled_from([Output, Cache, Secret, Agent, Attestation, Policy]))
def test_any_entry_is_understood_or_refused(text: str, kind: Any) -> None:
    try:
        for entry in kind.parse(text):
            entry.document()
            assert entry.text() is not None
    except EntryError:
        pass


@settings(deadline=None)
@given(st.one_of(TEXTS, ENTRIES))
def test_any_override_is_understood_or_refused(text: str) -> None:
    try:
        overrides.parse([text, f"*.{text}"], Definition(), lambda name: None)
    except BoatyardError:
        pass


PATTERNS = st.lists(
    st.sampled_from(
        ["a", ".", "*", "+", "?", "{2}", "{2,}", "{1001}", "(", ")", "(?:", "(?P<n>", "(?i)", "(?s-i:", "[", "]", "[^",
         "[:alpha:]", "\\d", "\\pL", "\\p{Greek}", "\\Q", "\\E", "\\x{41}", "\\b", "\\z", "|", "^", "$", "-", "\\", "é"]
    ),
    max_size=10,
).map("".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(PATTERNS, st.text("ab1é \n", max_size=8))
def test_any_pattern_is_understood_or_refused(pattern: str, text: str) -> None:
    try:
        compiled(pattern).search(text)
    except CallError:
        pass


FORMATS = st.lists(
    st.sampled_from(
        ["%", "d", "s", "v", "q", "x", "e", "g", "f", "t", "#", "0", "-", "+", " ", ".", "3", "[1]", "%%", "é"]
    ),
    max_size=8,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(FORMATS, st.one_of(st.text(max_size=3).map(values.string), st.integers(-9, 999).map(values.number)))
def test_any_format_is_understood_or_refused(format: str, argument: values.Value) -> None:
    try:
        functions(Surroundings())["format"].call([values.string(format), argument])
    except CallError:
        pass
