"""The rules of the house that a machine can see (docs/style.md)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for path in (ROOT / "src").rglob("*.py") if "_pb" not in path.parts)
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base_utils"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_stays_below_800_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 800


def test_nine_modules_in_ten_stay_below_400_lines() -> None:
    long = [relative(path) for path in SOURCES if len(path.read_text().splitlines()) > 400]
    assert len(long) <= len(SOURCES) / 10, long


def test_modules_are_named_for_nouns() -> None:
    assert not [relative(path) for path in SOURCES if path.stem in FORBIDDEN_NAMES]


def test_every_module_says_what_it_holds() -> None:
    silent = [
        path
        for path in SOURCES
        if path.name != "__init__.py" and not path.read_text().lstrip().startswith(('"""', 'r"""'))
    ]
    assert not silent


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    found = subprocess.run(
        ["git", "grep", "-lF", f"{ROOT}/", "--", ":!*.lock"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout == ""
