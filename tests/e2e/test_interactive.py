"""What a person at a terminal sees and types: the live display, containers and shells on a pseudo-terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.terminal import Terminal
from e2e.yard import Yard, write

pytestmark = pytest.mark.runtime

Open = Callable[..., Terminal]

SLOW = """FROM busybox AS one
ARG SALT
RUN echo $SALT; for i in 1 2 3 4 5 6 7 8 9; do echo "one says $i, in a line much longer than narrow terminals are"; sleep 0.1; done
FROM busybox AS two
ARG SALT
RUN echo $SALT; printf '\\033[2J\\033]0;title\\007two\\n'; sleep 0.8
FROM busybox
COPY --from=one /bin/busybox /one
COPY --from=two /bin/busybox /two
"""  # noqa: E501


@pytest.fixture
def terminal(yard: Yard) -> Open:
    def open(*arguments: str | Path, **options: object) -> Terminal:
        return Terminal(yard.command(*arguments), yard.variables(), **options)  # type: ignore[arg-type]

    return open


@pytest.fixture
def salt() -> str:
    return f"SALT={os.urandom(4).hex()}"


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 12), (20, 6)])
def test_the_display_fits_the_terminal(terminal: Open, tmp_path: Path, salt: str, columns: int, rows: int) -> None:
    context = write(tmp_path, Dockerfile=SLOW)
    live: list[list[str]] = []
    with terminal("build", "--build-arg", salt, context, columns=columns, rows=rows, drawn=True) as seen:
        screen = seen.screen
        assert screen is not None
        # Two stages at once, each with its last lines.
        seen.until(lambda: screen.cursor_hidden and any("one says" in line for line in screen.visible), what="live")
        live.append(screen.visible)
        assert seen.ends() == 0
    assert len(live[0]) <= rows
    assert screen.longest < columns
    assert not screen.cursor_hidden
    assert "Built in" in screen.lines[-1]
    assert not any("one says" in line for line in screen.lines), "the live part was left behind"


def test_the_display_survives_a_narrower_window(terminal: Open, tmp_path: Path, salt: str) -> None:
    context = write(tmp_path, Dockerfile=SLOW)
    with terminal("build", "--build-arg", salt, context, drawn=True) as seen:
        screen = seen.screen
        assert screen is not None
        seen.until(lambda: any("one says 3" in line for line in screen.visible), what="live")
        seen.resize(40, 24)
        assert seen.ends() == 0
    assert sum("[two 2/2]" in line for line in screen.lines) == 1
    assert not any("one says" in line for line in screen.lines)


def test_ctrl_c_ends_a_build_and_gives_the_terminal_back(terminal: Open, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox\nRUN echo begun; sleep 600\n")
    with terminal("build", context, drawn=True) as seen:
        screen = seen.screen
        assert screen is not None
        seen.until(lambda: any("begun" in line for line in screen.visible), what="begun")
        before = seen.modes
        seen.type("\x03")
        assert seen.ends(timeout=10) == 130
        assert seen.modes_now == before
    assert not screen.cursor_hidden
    assert any("CANCELLED" in line for line in screen.lines)


def test_a_container_gets_a_terminal_of_the_same_size(terminal: Open) -> None:
    with terminal("run", "--rm", "-it", "busybox", "sh", columns=73, rows=21) as seen:
        seen.shows("# ")
        seen.type("stty size; tty; echo $TERM\n")
        seen.shows("21 73")
        seen.shows("/dev/pts/")
        seen.resize(50, 10)
        seen.until(lambda: _asked(seen, "stty size", "10 50"), what="10 50")
        seen.type("exit 5\n")
        assert seen.ends() == 5
        assert seen.modes_now == seen.modes


def _asked(seen: Terminal, question: str, answer: str) -> bool:
    """The new size arrives with a signal, which takes its time: asked again until it has come."""
    seen.type(f"{question}; echo answered\n")
    before = len(seen.output)
    seen.until(lambda: "\nanswered" in seen.output[before:], what="answered")
    return answer in seen.output[before:]


def test_keys_are_signals_inside_the_container(terminal: Open) -> None:
    with terminal("run", "--rm", "-it", "busybox", "sh") as seen:
        seen.shows("# ")
        seen.type("sh -c 'echo $0 runs; sleep 600' first\n")
        seen.shows("\nfirst runs")
        seen.type("\x03")
        seen.shows("# ", after="\nfirst runs")
        seen.type("echo interrupted $?; sh -c 'echo $0 runs; sleep 600' second\n")
        seen.shows("\ninterrupted 130")
        seen.shows("\nsecond runs")
        seen.type("\x1a")
        seen.shows("Stopped")
        seen.shows("# ", after="Stopped")
        seen.type("exit 0\nexit 0\n")  # the first one is refused: there is a stopped job
        assert seen.ends() == 0


def test_the_end_of_input_ends_a_shell(terminal: Open) -> None:
    with terminal("run", "--rm", "-it", "busybox", "sh") as seen:
        seen.shows("# ")
        seen.type("\x04")
        assert seen.ends() == 0


def test_a_terminal_is_asked_for_where_there_is_none(yard: Yard, tmp_path: Path) -> None:
    assert "terminal" in yard.fails("run", "--rm", "-it", "busybox", "sh")
    assert "terminal" in yard.fails("build", "--on-error=shell", write(tmp_path, Dockerfile="FROM busybox\n"))


FAILING = """FROM busybox
ENV COLOUR=green
WORKDIR /work
RUN echo sailor:x:1234:1234::/:/bin/sh >> /etc/passwd
USER sailor
RUN --mount=type=secret,id=token,uid=1234 --mount=type=cache,id=sailors,target=/cache,uid=1234 \\
    echo half > /tmp/half; echo kept > /cache/file; exit 3
"""


def test_a_shell_opens_in_the_exact_state_of_the_failed_step(yard: Yard, terminal: Open, tmp_path: Path) -> None:
    secret = "sesame-" + os.urandom(8).hex()
    (tmp_path / "token").write_text(secret)
    context = write(tmp_path / "context", Dockerfile=FAILING)
    with terminal("build", "--on-error=shell", "--secret", f"id=token,src={tmp_path}/token", context) as seen:
        seen.shows("$ ")
        seen.type("id -un; pwd; echo $COLOUR; cat /tmp/half /cache/file; cat /run/secrets/token; echo; echo $TERM\n")
        output = seen.shows("\nxterm")
        for expected in ("sailor", "/work", "green", "half", "kept", secret):
            assert f"\n{expected}\r\n" in output, expected
        found = _holding(secret, yard)
        assert found == [], "the secret is on a disk while the shell is open"
        seen.type("exit 0\n")
        assert seen.ends() == 1, "the step has failed, whatever the shell says"
        assert "exit code: 3" in seen.output
        assert seen.modes_now == seen.modes
    assert _holding(secret, yard) == []
    assert secret not in yard.run("builder", "logs").stdout
    assert secret not in yard.run("builder", "history", "latest", "--format", "json").stdout


def _holding(text: str, yard: Yard) -> list[Path]:
    """Files of a daemon's that have `text` in them: data, history, logs, what is below its run directory."""
    return [
        path
        for path in yard.root.rglob("*")
        if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes()
    ]


def test_a_failed_step_without_a_shell_says_so(terminal: Open, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile='FROM scratch\nCOPY file /file\nRUN ["/file"]\n', file="no program")
    with terminal("build", "--on-error=shell", context) as seen:
        assert seen.ends() == 1
    assert "/file" in seen.output
    assert "Traceback" not in seen.output


def test_a_past_step_is_looked_at_in_a_shell(yard: Yard, terminal: Open, tmp_path: Path, salt: str) -> None:
    context = write(tmp_path, Dockerfile=FAILING.replace("half", salt))
    yard.run("build", context, check=False)
    with terminal("builder", "debug") as seen:
        seen.shows("$ ")
        seen.type("id -un; pwd; echo $COLOUR; ls -A /tmp /cache; echo done\n")
        output = seen.shows("\ndone")
        for expected in ("sailor", "/work", "green", "/cache:"):
            assert f"\n{expected}\r\n" in output, expected
        assert "missing in this shell" in output, "the secret was the client's"
        seen.type("exit 6\n")
        assert seen.ends() == 6


def test_any_step_of_a_past_build_is_found_as_its_log_numbers_it(yard: Yard, tmp_path: Path, salt: str) -> None:
    context = write(
        tmp_path,
        Dockerfile=f"FROM busybox\nRUN echo {salt} > /first\nCOPY Dockerfile /second\n"
        "COPY --link Dockerfile /third\nRUN rm /first\n",
    )
    log = yard.run("build", "--progress=plain", context).stderr
    listed = {
        row.split(None, 3)[-1]: row.split(None, 1)[0]
        for row in yard.run("builder", "history", "latest").stdout.splitlines()
        if row[:1].isdigit()
    }
    assert listed
    for number, name in re.findall(r"^#(\d+) (\[.*)(?<! done)$", log, re.MULTILINE):
        assert listed[name] == number

    def files(step: str, *flags: str) -> set[str]:
        names = {"first", "second", "third"}
        number = next(number for name, number in listed.items() if step in name)
        return names & set(yard.run("builder", "debug", *flags, "latest", number, "ls", "/").stdout.split())

    assert files("RUN echo") == set()
    assert files("RUN echo", "--after") == {"first"}
    assert files("COPY Dockerfile /second") == {"first"}
    assert files("COPY Dockerfile /second", "--after") == {"first", "second"}
    assert files("/third") == {"first", "second"}
    assert files("/third", "--after") == {"first", "second", "third"}
    assert files("RUN rm") == {"first", "second", "third"}
    assert files("RUN rm", "--after") == {"second", "third"}


def test_a_step_whose_records_were_pruned_can_be_looked_at(own_yard: Yard, tmp_path: Path) -> None:
    own_yard.run("bootstrap", "busybox")
    context = write(tmp_path, Dockerfile="FROM busybox\nRUN echo once > /once\nRUN cat /once; exit 1\n")
    own_yard.run("build", context, check=False)
    own_yard.run("builder", "prune", "--all", "--force")
    assert own_yard.run("builder", "debug", "latest", "", "cat", "/once").stdout == "once\n"


def test_steps_that_cannot_be_looked_at_say_why(yard: Yard, tmp_path: Path) -> None:
    yard.run("build", write(tmp_path, Dockerfile="FROM busybox\nRUN true\n"))
    assert "no step of this build failed" in yard.fails("builder", "debug", "latest")
    assert "no files to look at" in yard.fails("builder", "debug", "latest", "1", "ls")
    assert "has no step '77'" in yard.fails("builder", "debug", "latest", "77", "ls")
    assert "no build 'nosuch'" in yard.fails("builder", "debug", "nosuch", "1", "ls")


def test_a_question_is_no_build_of_the_past(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox\nRUN true\n")
    yard.run("build", context)
    before = yard.run("builder", "history", "-q", "--no-trunc").stdout
    yard.run("build", "--check", context)
    assert yard.run("builder", "history", "-q", "--no-trunc").stdout == before
