"""`./dev check`: format, lint, types, layers, generated code, documentation. Everything runs, then it fails if anything
did."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PYTHON = (sys.executable, "-m")

CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("format", (*PYTHON, "ruff", "format", "--check", "--quiet", ".")),
    ("lint", (*PYTHON, "ruff", "check", "--quiet", ".")),
    ("types", (*PYTHON, "mypy")),
    ("layers", (str(Path(sys.executable).with_name("lint-imports")), "--no-cache")),
    ("protobuf", (*PYTHON, "dev_tasks", "protos", "--check")),
    ("docs", (*PYTHON, "dev_tasks", "docs")),
)


def main(arguments: Sequence[str]) -> int:
    """With names (`format lint types layers protobuf docs`), only those checks."""
    unknown = set(arguments) - {name for name, _ in CHECKS}
    if unknown:
        print(
            f"no check {', '.join(sorted(unknown))}; there are: {', '.join(name for name, _ in CHECKS)}",
            file=sys.stderr,
        )
        return 2
    failed = []
    for name, command in CHECKS:
        if arguments and name not in arguments:
            continue
        started = time.monotonic()
        result = subprocess.run(command)
        print(f"{'ok  ' if result.returncode == 0 else 'FAIL'} {name} ({time.monotonic() - started:.1f} s)", flush=True)
        if result.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
