"""A page of the documentation as a script: the commands of its `console` blocks and the text of its `python` blocks."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

_BLOCK = re.compile(r"^```(?P<kind>console|python)(?: (?P<needs>\w+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def script_of(page: Path, python: str, *, has: Collection[str] = ()) -> str:
    """For a shell that stops at the first failure. What a command prints may stand under it, and isn't compared. A
    block that needs something (the word behind its kind) is left out where that isn't had."""
    lines = ["set -euo pipefail"]
    for block in _BLOCK.finditer(page.read_text()):
        if block["needs"] and block["needs"] not in has:
            continue
        if block["kind"] == "python":
            lines += [f"{python} - <<'PYTHON'", block["text"].rstrip("\n"), "PYTHON"]
        else:
            commands = [line[2:] for line in block["text"].splitlines() if line.startswith("$ ")]
            lines += [text for command in commands for text in (f"echo {_quoted(f'+ {command}')}", command)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
