"""What `boat` loads before it does anything: start-up is most of what a cached build lasts."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "rich",
    "grpclib",
    "google",
    "cryptography",
    "starlette",
    "httpcore",
    "asyncio",
    "h11",
    "yaml",
    "pyroute2",
    "ssl",
)
OTHERS = ("boatyard.daemon", "boatyard.api", "boatyard.build", "boatyard.engine")


def _loaded_by(statement: str) -> set[str]:
    program = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    return set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )


@pytest.mark.parametrize(
    ("statement", "bound"),
    [
        ("import boatyard.cli.main", 60),
        ("import boatyard.cli.program", 120),
        ("import boatyard.cli.build.command, boatyard.cli.build.session, boatyard.cli.render.tty", 160),
    ],
)
def test_few_modules_are_loaded_and_none_of_the_heavy_ones(statement: str, bound: int) -> None:
    loaded = _loaded_by(statement)
    assert len(loaded) <= bound
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(HEAVY)


def test_no_command_but_the_one_that_is_run_is_loaded() -> None:
    loaded = _loaded_by("import boatyard.cli.main; boatyard.cli.main.main(['completion', '--help'])")
    assert "boatyard.cli.completion.command" in loaded
    assert not {
        name for name in loaded if name.startswith(("boatyard.cli.image", "boatyard.cli.build", "boatyard.client"))
    }


def test_help_imports_no_command() -> None:
    loaded = _loaded_by("import boatyard.cli.main; boatyard.cli.main.main(['--help'])")
    assert not {name for name in loaded if name.startswith(("boatyard.client", "boatyard.cli.image", "msgspec"))}


def test_no_command_needs_the_daemons_code() -> None:
    loaded = _loaded_by("from boatyard.cli.tree import walk; list(walk())")
    assert not {name for name in loaded if name.startswith(OTHERS)}
