from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boatyard.build.ops.file.mode import parse_mode
from boatyard.errors import InvalidError

FILE, DIRECTORY = stat.S_IFREG, stat.S_IFDIR


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("0644", FILE | 0o777, 0o644),
        ("4755", FILE, 0o4755),
        ("0", FILE | 0o777, 0),
        ("u+x", FILE | 0o644, 0o744),
        ("+x", FILE | 0o644, 0o755),
        ("a-w", FILE | 0o666, 0o444),
        ("go-rwx", FILE | 0o755, 0o700),
        ("u=rwx,go=rx", FILE | 0o600, 0o755),
        ("u=rwX,go=rX", FILE | 0o600, 0o644),
        ("u=rwX,go=rX", FILE | 0o700, 0o755),
        ("u=rwX,go=rX", DIRECTORY | 0o600, 0o755),
        ("a+X", DIRECTORY, 0o111),
        ("a+X", FILE, 0),
        ("g=u", FILE | 0o640, 0o660),
        ("o=g-w", FILE | 0o660, 0o664),
        ("go=", FILE | 0o777, 0o700),
        ("u+s,g+s", FILE | 0o755, 0o6755),
        ("u=rx", FILE | 0o4755, 0o555),
        ("+t", DIRECTORY | 0o777, 0o1777),
        ("u+rw-x", FILE | 0o100, 0o600),
        ("=", FILE | 0o777, 0),
    ],
)
def test_symbolic_and_octal_modes_apply(text: str, before: int, after: int) -> None:
    assert oct(parse_mode(text)(before)) == oct(after)


@pytest.mark.parametrize(
    "text", ["", "8", "0999", "77777", "u", "u+q", "x+r", "u+x,", ",u+x", "u~x", "u+ug", "-1", "0x1"]
)
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="invalid mode"):
        parse_mode(text)


WHO = st.text("ugoa", max_size=2)
WHAT = st.one_of(st.text("rwxs", max_size=4), st.sampled_from("ugo"))
"""Not X: GNU's looks at the mode as changed so far, POSIX's at the file's."""
CLAUSES = st.lists(st.builds("{}{}{}".format, WHO, st.sampled_from("+-="), WHAT), min_size=1, max_size=3).map(",".join)


@pytest.mark.skipif(shutil.which("chmod") is None or os.geteuid() != 0, reason="needs chmod(1) and root")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=CLAUSES, before=st.integers(0, 0o777))
def test_the_result_is_that_of_chmod(tmp_path: Path, text: str, before: int) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(before)
    subprocess.run(["sh", "-c", f"umask 0; chmod -- {text} file"], cwd=tmp_path, check=True)
    assert oct(parse_mode(text)(FILE | before)) == oct(stat.S_IMODE(file.stat().st_mode))
