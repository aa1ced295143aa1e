"""Here-documents: how they are announced, where they end, and what becomes of their bodies."""

from __future__ import annotations

import pytest

from boatyard.build.frontend.dockerfile.ast import Heredoc
from boatyard.build.frontend.dockerfile.heredoc import find_heredocs, parse_heredoc
from boatyard.build.frontend.dockerfile.instructions import CommandLine, Copy, InlineFile, Instruction, Onbuild, Run
from boatyard.build.frontend.dockerfile.parser import parse
from boatyard.errors import DockerfileError, InvalidError


def instruction_of(text: str) -> Instruction:
    (stage,) = parse(b"FROM a\n" + text.encode(), "Dockerfile").stages
    (instruction,) = stage.instructions
    return instruction


@pytest.mark.parametrize(
    "word",
    ["<<EOF", "<<'EOF'", '<<"EOF"', "<<-EOF", "<<-'EOF'", '<<EO"F"', "<< EOF", "<<- EOF", "<<E\\OF", "5<<EOF"],
)
def test_words_that_announce_one(word: str) -> None:
    found = parse_heredoc(word)
    assert found is not None
    assert found.name == "EOF"


@pytest.mark.parametrize("word", ["", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "<<EOF sh", "a<<EOF", "<<''"])
def test_words_that_announce_none(word: str) -> None:
    assert parse_heredoc(word) is None


@pytest.mark.parametrize("word", ["<<'EOF", '<<"EOF', "<<EOF'", '<<EOF"'])
def test_quotes_in_the_name_have_to_be_closed(word: str) -> None:
    with pytest.raises(InvalidError, match="quote is not closed"):
        parse_heredoc(word)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("<<EOF", Heredoc("EOF")),
        ("<<-EOF", Heredoc("EOF", chomp=True)),
        ("12<<EOF", Heredoc("EOF", descriptor=12)),
        ("<<'EOF'", Heredoc("EOF", expand=False)),
        ("<<t'wo'", Heredoc("two", expand=False)),
        ("<<t\\'wo", Heredoc("t'wo")),
        ("<<'t'\\'wo", Heredoc("t'wo", expand=False)),
        ("<<'one two'", Heredoc("one two", expand=False)),
        ("<<$EOF", Heredoc("$EOF")),
        ("<<file.txt", Heredoc("file.txt")),
        ("<< -EOF", Heredoc("-EOF")),
    ],
)
def test_what_the_word_says(word: str, expected: Heredoc) -> None:
    assert parse_heredoc(word) == expected


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("RUN <<EOF", ["EOF"]),
        ("RUN <<EOF | sh > <<two", ["EOF", "two"]),
        ("RUN cat <<a <<-b 3<<'c'", ["a", "b", "c"]),
        ("RUN <<  EOF  > foo", ["EOF"]),
        ('RUN echo "<<EOF"', []),
        ("RUN echo '<<EOF'", []),
        ("RUN echo $((1<<4))", []),
        ("RUN cat<<EOF", []),
        ("RUN it's <<EOF", []),
        ("RUN cat <<<word", []),
        ("RUN echo $X ${Y:-z} <<EOF", ["EOF"]),
        ("RUN cmd \\<<EOF", []),
    ],
)
def test_lines_announce_them_as_words(line: str, names: list[str]) -> None:
    assert [found.name for found in find_heredocs(line)] == names


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("RUN <<EOF\nls\nEOF", CommandLine(("<<EOF",), True, (Heredoc("EOF", "ls\n"),))),
        ("RUN <<EMPTY\nEMPTY", CommandLine(("<<EMPTY",), True, (Heredoc("EMPTY"),))),
        (
            "RUN --network=none <<'EOF' | python\nprint()\nEOF\n",
            CommandLine(("<<'EOF' | python",), True, (Heredoc("EOF", "print()\n", expand=False),)),
        ),
        (
            "RUN <<-E\n\tx\n\t\ty\n\tE",
            CommandLine(("<<-E",), True, (Heredoc("E", "\tx\n\t\ty\n", chomp=True),)),
        ),
        (
            "RUN <<X <<Y cat\nY\nX\nX\nY",
            CommandLine(("<<X <<Y cat",), True, (Heredoc("X", "Y\n"), Heredoc("Y", "X\n"))),
        ),
        (
            "RUN <<E \\\n && next\n# text, no comment\n  E\nE",
            CommandLine(("<<E  && next",), True, (Heredoc("E", "# text, no comment\n  E\n"),)),
        ),
        ('RUN ["<<EOF"]', CommandLine(("<<EOF",), False)),
        ('RUN "<<EOF"', CommandLine(('"<<EOF"',), True)),
    ],
)
def test_run_keeps_the_line_and_the_bodies(text: str, command: CommandLine) -> None:
    instruction = instruction_of(text)
    assert isinstance(instruction, Run)
    assert instruction.command == command


@pytest.mark.parametrize(
    ("text", "sources", "inline"),
    [
        ("COPY <<EOF /x\nEOF", (), (InlineFile("EOF", ""),)),
        ("COPY <<-EOF /x\n\tT\n\t\tU V\n\tEOF", (), (InlineFile("EOF", "T\nU V\n"),)),
        ("COPY <<'EOF' /x\n$A\nEOF", (), (InlineFile("EOF", "$A\n", expand=False),)),
        ("COPY <<a foo <<b /x\n1\na\n2\nb", ("foo",), (InlineFile("a", "1\n"), InlineFile("b", "2\n"))),
        ("COPY <<a <<a /x\n1\na\n2\na", (), (InlineFile("a", "1\n"), InlineFile("a", "2\n"))),
        ("COPY --chown=1:2 <<a.txt /x\n\n\na.txt", (), (InlineFile("a.txt", "\n\n"),)),
    ],
)
def test_copy_takes_them_as_files(text: str, sources: tuple[str, ...], inline: tuple[InlineFile, ...]) -> None:
    instruction = instruction_of(text)
    assert isinstance(instruction, Copy)
    assert (instruction.sources, instruction.inline, instruction.destination) == (sources, inline, "/x")


def test_tabs_are_taken_off_every_line_but_only_at_its_start() -> None:
    assert Heredoc("E", "\t\ta\tb\n\n\tc\x0b\td\n", chomp=True).chomped() == "a\tb\n\nc\x0b\td\n"
    assert Heredoc("E", "\ta\n").chomped() == "\ta\n"


def test_onbuild_keeps_bodies_in_its_expression() -> None:
    instruction = instruction_of("ONBUILD RUN <<A cat <<'B'\n1\nA\n2\nB")
    assert isinstance(instruction, Onbuild)
    assert instruction.expression == "RUN <<A cat <<'B'\n1\nA\n2\nB"


def test_other_instructions_have_none() -> None:
    with pytest.raises(DockerfileError, match="unknown instruction: EOF"):
        instruction_of("USER <<EOF\nEOF")


def test_one_that_does_not_end_is_refused_at_its_line() -> None:
    with pytest.raises(DockerfileError, match="'EOF' is not ended") as caught:
        instruction_of("RUN a\nRUN <<EOF\nls\nEOF2\n EOF\n")
    assert caught.value.source is not None
    assert caught.value.source.start == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY /foo <<EOF\nEOF", "destination of COPY can't be a heredoc"),
        ("COPY << EOF /x\nEOF", "heredoc EOF is no source of its own"),
        ('ADD ["<<EOF", "/x"]', "<<EOF has no body"),
        ("COPY <<'EOF /x\nEOF", "quote is not closed"),
    ],
)
def test_misplaced_ones_are_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        instruction_of(text)
