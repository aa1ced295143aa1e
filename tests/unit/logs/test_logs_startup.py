"""What the programs load before they do anything: they start first, and stay."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "asyncio",
    "click",
    "dataclasses",
    "inspect",
    "json",
    "logging",
    "msgspec",
    "re",
    "subprocess",
    "typing",
    "yaml",
)


@pytest.mark.parametrize(("module", "bound"), [("boatyard.logs.memlogd.main", 60)])
def test_few_modules_are_loaded_and_none_of_the_heavy_ones(module: str, bound: int) -> None:
    program = f"import sys; before = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    loaded = set(result.stdout.split())
    assert len(loaded) <= bound
    assert loaded.isdisjoint(HEAVY)
    ours = {name for name in loaded if name.startswith("boatyard.")}
    assert all(name.startswith("boatyard.logs") or name == "boatyard.errors" for name in ours)
