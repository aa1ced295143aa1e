"""What mmdebstrap's last lines mean to whoever asked for a base image."""

from __future__ import annotations

import pytest

from boatyard.errors import BoatyardError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from boatyard.image.bootstrap.debian import failure

ENDING = """E: setup failed: E: apt-get -o Dir::Bin::dpkg=env --yes install nosuch failed
I: removing tempdir /tmp/mmdebstrap.x...
E: mmdebstrap failed to run
"""


@pytest.mark.parametrize(
    ("line", "kind", "fix"),
    [
        ("E: Unable to locate package nosuch", NotFoundError, "--include"),
        ("E: The repository 'http://there nosuch Release' does not have a Release file.", NotFoundError, "--suite"),
        ("W: apt-get indextargets output is empty", NotFoundError, "--arch"),
        ("E: invalid variant. Choose from extract, custom", InvalidError, "--variant"),
        ("E: unable to pick chroot mode automatically (use --mode)", UnsupportedError, "as root"),
        ("E: env: failed to run dpkg: Exec format error", UnsupportedError, "boat platform install"),
        ("E: Failed to fetch http://there/dists  Connection failed", UnavailableError, "apt-get update"),
    ],
)
def test_the_line_with_the_reason_is_told_with_what_to_do(line: str, kind: type[BoatyardError], fix: str) -> None:
    error = failure(f"I: running apt-get update...\n{line}\n{ENDING}")
    assert type(error) is kind
    assert line.removeprefix("E: ") in error.message
    assert fix in (error.hint or "")
    assert "mmdebstrap.x" not in error.message
    assert "setup failed" not in error.message


def test_output_without_a_reason_is_told_as_it_ends() -> None:
    assert "the last words" in failure("I: something\nthe last words\n").message
