"""Which parts of an instruction variables are expanded in."""

from __future__ import annotations

import pytest

from boatyard.build.frontend.dockerfile import shell
from boatyard.build.frontend.dockerfile.expansion import expand_instruction
from boatyard.build.frontend.dockerfile.instructions import Instruction
from boatyard.build.frontend.dockerfile.parser import parse
from boatyard.errors import InvalidError

VALUES = {"A": "one", "B": "two three", "P": "80 443"}


def expanded(text: str) -> Instruction:
    (stage,) = parse(b"FROM a\n" + text.encode(), "Dockerfile").stages
    return expand_instruction(
        stage.instructions[0],
        lambda word: shell.expand_word(word, VALUES),
        body=lambda body: shell.expand(body, VALUES, ignore_quotes=True).text,
        split=lambda word: shell.expand(word, VALUES).words,
    )


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("COPY $A '$A' \"$B\"/x /$A", "sources", ("one", "$A", "two three/x")),
        ("COPY a /$A", "destination", "/one"),
        ("COPY --chown=$A --chmod=$NONE a b", "chown", "one"),
        ("COPY --chown=$A --chmod=$NONE a b", "chmod", ""),
        ("COPY --from=$A a b", "from_", "$A"),
        ("COPY --exclude=$A a b", "exclude", ("$A",)),
        ("ADD --checksum=$A a b", "checksum", "one"),
        ("ADD --chown=$A --chmod=$A a b", "chmod", "one"),
        ("WORKDIR /$A\\ $B", "path", "/one two three"),
        ("VOLUME $A /$A", "paths", ("one", "/one")),
        ("USER ${A%e}", "user", "on"),
        ("STOPSIGNAL $A", "signal", "one"),
        ("EXPOSE $P 22", "ports", ("80", "443", "22")),
    ],
)
def test_words_are_expanded(text: str, field: str, expected: object) -> None:
    assert getattr(expanded(text), field) == expected


@pytest.mark.parametrize("keyword", ["ENV", "LABEL"])
def test_keys_and_values_are_expanded(keyword: str) -> None:
    pairs = expanded(f'{keyword} "$A"=$B x=\'$A\' y="a \\"b\\""').pairs  # type: ignore[attr-defined]
    assert [(pair.key, pair.value) for pair in pairs] == [("one", "two three"), ("x", "$A"), ("y", 'a "b"')]


def test_heredocs_are_expanded_unless_their_name_is_quoted() -> None:
    inline = expanded("COPY <<a <<'b' <<-c /x\n\"$A\" \\$A\na\n$A\nb\n\t$B\n\tc").inline  # type: ignore[attr-defined]
    assert [file.data for file in inline] == ['"one" $A\n', "$A\n", "two three\n"]


@pytest.mark.parametrize(
    "text",
    [
        "RUN echo $A",
        'RUN ["$A"]',
        "RUN --mount=target=$A x",
        "CMD $A",
        'ENTRYPOINT ["$A"]',
        'SHELL ["$A"]',
        "HEALTHCHECK CMD $A",
        "MAINTAINER $A",
        "ONBUILD ENV X=$A",
        "ARG X=$A",
    ],
)
def test_the_rest_is_left_to_others(text: str) -> None:
    (stage,) = parse(b"FROM a\n" + text.encode(), "Dockerfile").stages
    assert expanded(text) == stage.instructions[0]


def test_what_is_malformed_is_refused() -> None:
    with pytest.raises(InvalidError, match="quote is not closed"):
        expanded("WORKDIR it's")
