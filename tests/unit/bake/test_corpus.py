"""Definitions, and what `boat bake` says of them (corpus/README)."""

from __future__ import annotations

import io
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from boatyard.cli.console import Console
from boatyard.cli.program import run

CORPUS = Path(__file__).parent / "corpus"
_HEADING = re.compile(r"^-- (.+) --\n", re.MULTILINE)


@dataclass(frozen=True)
class Call:
    """One command of a case: its words, whether it is to succeed, and what it is to say."""

    line: str
    good: bool
    said: str

    @property
    def environment(self) -> dict[str, str]:
        words = shlex.split(self.line)
        return dict(word.split("=", 1) for word in words[: words.index("bake")])

    @property
    def words(self) -> list[str]:
        words = shlex.split(self.line)
        return words[words.index("bake") :]


@dataclass(frozen=True)
class Case:
    files: dict[str, str]
    calls: list[Call]


def case(text: str) -> Case:
    parts = _HEADING.split(text)[1:]
    files, calls = {}, []
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        if heading.startswith(("$ ", "! ")):
            calls.append(Call(heading[2:], heading.startswith("$"), body))
        else:
            files[heading] = body
    return Case(files, calls)


def cases() -> list[tuple[str, Case]]:
    return [(path.stem, case(path.read_text())) for path in sorted(CORPUS.glob("*.txt"))]


@pytest.mark.parametrize(
    ("files", "call"),
    [pytest.param(each.files, call, id=f"{name}: {call.line}") for name, each in cases() for call in each.calls],
)
def test_a_definition_is_understood(
    files: dict[str, str],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(files.get("stdin", "").encode())))
    environment = {"HOME": "/home/baker", "NO_COLOR": "1", **call.environment}
    code = run(Console(environment, host="unix:///nowhere"), call.words)
    out, err = capfd.readouterr()
    assert code == 0 if call.good else code != 0, err
    assert (out if call.good else err) == call.said
