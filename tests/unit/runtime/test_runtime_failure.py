"""Why a container was not started, in the words of each runtime."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import BoatyardError, DeniedError, ExecutableError, InvalidError, StorageError
from boatyard.runtime.failure import explain, last_error


@pytest.mark.parametrize(
    ("message", "program", "text", "code"),
    [
        (
            "executable file `nosuch` not found in $PATH: No such file or directory",
            "nosuch",
            'exec: "nosuch": executable file not found in $PATH',
            127,
        ),
        (
            'runc run failed: unable to start container process: exec: "nosuch": executable file not found in $PATH',
            "nosuch",
            'exec: "nosuch": executable file not found in $PATH',
            127,
        ),
        (
            'runc run failed: unable to start container process: exec: "/x": stat /x: no such file or directory',
            "/x",
            'exec: "/x": no such file or directory',
            127,
        ),
        ("open executable: Permission denied", "/x", 'exec: "/x": permission denied', 126),
        (
            "open executable: Too many levels of symbolic links",
            "/x",
            'exec: "/x": too many levels of symbolic links',
            126,
        ),
        ('exec: "/x": is a directory', "/x", 'exec: "/x": permission denied', 126),
        ("exec container process `/x`: Exec format error", "/x", 'exec: "/x": exec format error', 126),
        ("exec /x: no such file or directory", "/x", 'exec: "/x": no such file or directory', 127),
    ],
)
def test_a_program_that_cant_be_started(message: str, program: str, text: str, code: int) -> None:
    error = explain(message, program)
    assert isinstance(error, ExecutableError)
    assert (error.message, error.exit_code) == (text, code)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("mkdir `/x`: No space left on device", StorageError),
        ("write: Input/output error", StorageError),
        ("unable to apply caps: operation not permitted", DeniedError),
        ("mount `x`: Permission denied", DeniedError),
        ("chdir to `/x`: Not a directory", InvalidError),
        ("", InvalidError),
    ],
)
def test_other_reasons_have_their_classes(message: str, kind: type[BoatyardError]) -> None:
    error = explain(message, "true")
    assert isinstance(error, kind)
    assert not isinstance(error, ExecutableError)


def test_the_last_error_of_runcs_log_counts() -> None:
    log = (
        b'{"level":"error","msg":"first","time":"x"}\n'
        b'{"level":"error","msg":"second","time":"x"}\n'
        b'{"level":"warning","msg":"third","time":"x"}\n'
    )
    assert last_error(log) == "second"


def test_crun_logs_text_with_the_time_before_it() -> None:
    assert last_error(b"2026-11-23T21:47:12.091969Z: open executable: Permission denied\n") == (
        "open executable: Permission denied"
    )


def test_an_empty_log_tells_nothing() -> None:
    assert last_error(b"") == last_error(b"\n\n") == last_error(b'{"level":"info","msg":"x"}\n') == ""


@given(st.binary(max_size=300))
def test_any_log_can_be_read(log: bytes) -> None:
    assert explain(last_error(log), "true").message
