"""The page on frontends: its files are written, its commands are run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from e2e.yard import BIN, Yard

pytestmark = pytest.mark.runtime

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-frontend.md"
_BLOCK = re.compile(r"(?:^`(?P<name>[\w.]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def script(page: str) -> str:
    """Files where they are named, and the commands of `console` blocks, in order. What stands under a command is what
    it prints last."""
    lines = ["set -uo pipefail", 'fail() { echo "$1" >&2; exit 1; }']
    for number, block in enumerate(_BLOCK.finditer(page)):
        if block["name"]:
            lines += [f"cat > '{block['name']}' <<'END-{number}'", block["text"].rstrip("\n"), f"END-{number}"]
        elif block["kind"] == "console":
            lines += list(commands(block["text"]))
    return "\n".join(lines) + "\n"


def commands(text: str) -> list[str]:
    found = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, said = part.partition("\n")
        wanted = " ".join(said.split()).replace("'", "'\\''")
        found += [
            f"echo '+ {command.replace(chr(39), '')}' >&2",
            f"{{ {command}; }} > said 2>&1 || {{ cat said >&2; fail 'it ended badly'; }}",
            "said=$(tr -s '[:space:]' ' ' < said)",
            f"case \"$said\" in *'{wanted}'*) ;; *) cat said >&2; fail 'it said something else' ;; esac",
        ]
    return found


def test_the_page_works(yard: Yard, tmp_path: Path) -> None:
    text = script(PAGE.read_text())
    assert text.count("boat build") >= 6
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=tmp_path,
        env=yard.variables({"PATH": f"{BIN}:{os.environ['PATH']}"}),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
