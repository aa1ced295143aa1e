"""memlogd, logwrite and logread as a user starts them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from boatyard.logs.handover import hand_over, open_source
from fixtures.log_programs import BIN, Numbered, Programs, account, until


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    programs = Programs(tmp_path_factory.mktemp("logs"))
    yield programs
    programs.close()


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def write(programs: Programs, name: str, text: str) -> None:
    descriptor = open_source(programs.log_socket, name)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def logread(programs: Programs, *flags: str) -> str:
    result = run(BIN / "logread", "-socket", programs.query_socket, *flags)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_lines_go_to_standard_output_too_as_text(programs: Programs) -> None:
    programs.start("memlogd")
    write(programs, "a;b", "one\ntwo\n")
    until(lambda: "two" in programs.said("memlogd"))
    assert [line.split("Z;", 1)[1] for line in programs.said("memlogd").splitlines()] == [
        "memlogd;memlogd started",
        "a\\;b;one",
        "a\\;b;two",
    ]


def test_a_reader_of_standard_output_that_stops_holds_up_nobody(programs: Programs) -> None:
    memlogd = subprocess.Popen(
        [BIN / "memlogd", "-socket-log", programs.log_socket, "-socket-query", programs.query_socket],
        stdout=subprocess.PIPE,
    )
    programs.running["memlogd"] = memlogd
    until(programs.answers)
    for number in range(20):
        write(programs, "s", f"{number:0100}\n" * 500)
    until(lambda: b'"msg":"%0100d"' % 19 in programs.dump())


def test_daemonize_returns_when_both_sockets_accept(programs: Programs) -> None:
    flags = ["-socket-log", programs.log_socket, "-socket-query", programs.query_socket, "-max-lines", "3"]
    result = run(BIN / "memlogd", *flags, "-daemonize")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    pid = 0
    try:
        write(programs, "s", "1\n2\n3\n4\n")
        until(lambda: b'"msg":"4"' in programs.dump())
        assert len(programs.dump().splitlines()) == 3
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(programs.query_socket)
            pid = int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
        # The listener's credentials are those of who called listen: the parent, which has gone.
        pid = next(
            int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit() and _is_memlogd(each, flags)
        )
        assert os.readlink(f"/proc/{pid}/fd/1") == os.devnull
        assert os.getsid(pid) == pid
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)
            until(lambda: not Path(programs.log_socket).exists() and not Path(programs.query_socket).exists())


def _is_memlogd(process: Path, flags: list[str]) -> bool:
    try:
        return all(flag.encode() in (process / "cmdline").read_bytes().split(b"\0") for flag in flags)
    except OSError:
        return False


def test_daemonize_says_what_goes_wrong(programs: Programs) -> None:
    result = run(BIN / "memlogd", "-socket-log", "/nowhere/l", "-socket-query", "/nowhere/q", "-daemonize")
    assert result.returncode == 1 and "can't make the socket /nowhere/l" in result.stderr


def test_sockets_may_be_handed_over_open(programs: Programs) -> None:
    """As LinuxKit's startmemlogd does it: bound, the second one listening, as descriptors 3 and 4."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, socket.socket(socket.AF_UNIX) as query:
        log.bind(programs.log_socket)
        query.bind(programs.query_socket)
        query.listen()
        os.set_inheritable(log.fileno(), True)
        os.set_inheritable(query.fileno(), True)
        programs.running["memlogd"] = subprocess.Popen(
            [BIN / "memlogd", "-fd-log", str(log.fileno()), "-fd-query", str(query.fileno()), "-quiet"],
            pass_fds=(log.fileno(), query.fileno()),
        )
    write(programs, "s", "line\n")
    until(lambda: b'"msg":"line"' in programs.dump())
    assert programs.stop("memlogd") == 0
    assert Path(programs.query_socket).exists(), "it was not memlogd that made it"


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("-max-line", "3"), 2, "flag provided but not defined: -max-line"),
        (("-max-lines", "many"), 2, 'invalid value "many" for flag -max-lines: parse error'),
        (("-max-lines",), 2, "flag needs an argument: -max-lines"),
        (("-max-lines", "0"), 1, "-max-lines is 0"),
        (("-max-bytes", "100"), 1, "one line of -max-line-len 1024 doesn't fit"),
        (("-fd-log", "99"), 1, "descriptor 99 is no socket"),
        (("-fd-log", "0"), 1, "descriptor 0 is no "),
        (("argument",), 2, "memlogd takes no arguments"),
    ],
)
def test_wrong_flags_are_refused_with_a_word(flags: tuple[str, ...], code: int, words: str) -> None:
    result = run(BIN / "memlogd", *flags, stdin=subprocess.DEVNULL)
    assert result.returncode == code and words in result.stderr
    assert "Traceback" not in result.stderr


def test_help_lists_linuxkits_flags() -> None:
    result = run(BIN / "memlogd", "-h")
    assert result.returncode == 0
    for flag in ("socket-log", "socket-query", "fd-log", "fd-query", "max-lines", "max-line-len", "daemonize"):
        assert f"  -{flag}" in result.stderr


def test_a_path_of_another_memlogd_or_of_something_else_is_left_alone(programs: Programs) -> None:
    programs.start("memlogd")
    paths = ["-socket-log", programs.log_socket, "-socket-query", programs.query_socket]
    result = run(BIN / "memlogd", *paths)
    assert result.returncode == 1 and "is another memlogd's" in result.stderr
    file = programs.directory / "file"
    file.write_text("precious")
    result = run(BIN / "memlogd", "-socket-log", file, "-socket-query", programs.directory / "q2")
    assert result.returncode == 1 and "no socket" in result.stderr and file.read_text() == "precious"
    assert programs.answers()


def test_what_a_killed_memlogd_left_is_replaced(programs: Programs) -> None:
    programs.start("memlogd")
    programs.kill("memlogd")
    assert stat.S_ISSOCK(os.stat(programs.query_socket).st_mode)
    programs.start("memlogd")
    assert programs.stop("memlogd") == 0
    assert not Path(programs.query_socket).exists() and not Path(programs.log_socket).exists()


def test_logread_prints_what_the_original_prints(programs: Programs) -> None:
    programs.start("memlogd")
    write(programs, "a;b", "one;two\n")
    until(lambda: b"one;two" in programs.dump())
    assert re.sub(r"(?m)^[^;]*Z;", "T;", logread(programs)) == "T;memlogd;memlogd started\nT;a\\;b;one;two\n"


def test_logread_chooses(programs: Programs) -> None:
    programs.start("memlogd")
    for name in ("web1", "web2", "db"):
        write(programs, name, "".join(f"{name} line {number}\n" for number in range(5)))
    until(lambda: programs.dump().count(b"line 4") == 3)
    assert logread(programs, "-message", "-source", "web*", "-grep", "line [34]").splitlines() == [
        "web1 line 3",
        "web1 line 4",
        "web2 line 3",
        "web2 line 4",
    ]
    assert (
        logread(programs, "-message", "-without", "web*", "-without", "memlogd", "-n", "2") == "db line 3\ndb line 4\n"
    )
    assert logread(programs, "-since", "1h", "-n", "1", "-message") == "db line 4\n"
    assert logread(programs, "-until", "1h") == ""
    lines = [json.loads(line) for line in logread(programs, "-json", "-source", "db").splitlines()]
    assert lines[0] == {"time": lines[0]["time"], "source": "db", "msg": "db line 0"}
    assert "\x1b[" in logread(programs, "-color", "always") and "\x1b[" not in logread(programs)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-grep", "("), "is no regular expression"),
        (("-since", "soon"), "-since"),
        (("-color", "red"), "-color"),
        (("x",), "no arguments"),
    ],
)
def test_logread_refuses_what_makes_no_sense(programs: Programs, flags: tuple[str, ...], words: str) -> None:
    programs.start("memlogd")
    result = run(BIN / "logread", "-socket", programs.query_socket, *flags)
    assert result.returncode == 2 and words in result.stderr and "Traceback" not in result.stderr


def test_logread_says_when_nobody_answers(programs: Programs) -> None:
    result = run(BIN / "logread", "-socket", programs.query_socket)
    assert result.returncode == 1 and "memlogd can't be reached" in result.stderr


def test_logread_waits_for_memlogd_to_come_back_and_does_not_spin(programs: Programs) -> None:
    programs.start("memlogd")
    reading = programs.start("logread", "-F")
    write(programs, "s", "before\n")
    until(lambda: "before" in programs.said("logread"))
    programs.kill("memlogd")
    before = _cpu(reading.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        reading.wait(1.0)
    assert _cpu(reading.pid) - before < 0.2
    programs.start("memlogd")
    write(programs, "s", "after\n")
    until(lambda: "after" in programs.said("logread"))
    assert programs.said("logread").count(";before") == 1


def test_logwrite_waits_for_memlogd_and_does_not_spin(programs: Programs) -> None:
    """LinuxKit's writes 721,505 lines of "EOF" in a second then."""
    writing = programs.start("logwrite")
    until(lambda: "waiting for memlogd" in programs.said("logwrite"))
    programs.start("memlogd")
    write(programs, "s", "one\n")
    until((programs.files / "s.log").exists)
    programs.kill("memlogd")
    before = _cpu(writing.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        writing.wait(1.0)
    assert _cpu(writing.pid) - before < 0.2
    assert len(programs.said("logwrite").splitlines()) <= 4
    programs.start("memlogd")
    write(programs, "s", "two\n")
    until(lambda: programs.lines("s")[-1].endswith(" s two"))
    assert programs.stop("logwrite") == 0


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_logwrite_is_not_written_about(programs: Programs) -> None:
    programs.start("memlogd")
    programs.start("logwrite")
    write(programs, "logwrite", "about myself\n")
    write(programs, "logwrite.out", "about myself\n")
    write(programs, "s", "line\n")
    until((programs.files / "s.log").exists)
    assert not list(programs.files.glob("logwrite*"))


def test_a_second_logwrite_for_the_same_directory_is_refused(programs: Programs) -> None:
    programs.start("memlogd")
    programs.start("logwrite")
    until((programs.files / "memlogd.log").exists)
    result = run(BIN / "logwrite", "-socket", programs.query_socket, "-log-dir", programs.files)
    assert result.returncode == 1 and "another logwrite writes in" in result.stderr


def test_a_command_is_a_source_and_its_code_is_ours(programs: Programs) -> None:
    programs.start("memlogd")
    script = "echo out; echo err >&2; exit 3"
    result = run(BIN / "logwrite", "-socket", programs.log_socket, "-n", "job", "sh", "-c", script)
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
    until(lambda: programs.dump().count(b'"source":"job') == 2)
    lines = {line["source"]: line["msg"] for line in map(json.loads, programs.dump().splitlines())}
    assert lines["job.out"] == "out" and lines["job"] == "err"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-command"], 127, "can't be started"),
        (["/etc/passwd"], 126, "can't be started"),
        (["sh", "-c", "kill -9 $$"], 137, ""),
    ],
)
def test_a_command_that_fails_fails_as_in_a_shell(
    programs: Programs, command: list[str], code: int, words: str
) -> None:
    programs.start("memlogd")
    result = run(BIN / "logwrite", "-socket", programs.log_socket, *command)
    assert result.returncode == code and words in result.stderr and "Traceback" not in result.stderr


def test_a_command_goes_on_when_memlogd_dies(programs: Programs) -> None:
    programs.start("memlogd")
    process = subprocess.Popen(
        [BIN / "logwrite", "-socket", programs.log_socket, "-n", "job", "sh", "-c", "echo one; read x; echo two"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    assert process.stdout.readline() == "one\n"
    programs.kill("memlogd")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.read() == "two\n" and process.wait(60) == 0
    process.stdin.close()
    process.stdout.close()


def test_a_command_without_memlogd_is_not_started(programs: Programs) -> None:
    result = run(BIN / "logwrite", "-socket", programs.log_socket, "touch", programs.directory / "made")
    assert result.returncode == 1 and "memlogd can't be reached" in result.stderr
    assert not (programs.directory / "made").exists()


def test_a_rotated_file_appears_as_with_linuxkit(programs: Programs) -> None:
    """Its own test: a source that writes again and again, and files of 1024 bytes."""
    programs.logwrite_flags = ["-max-log-size", "1024"]
    programs.start("memlogd")
    programs.start("logwrite")
    write(programs, "fill-the-logs.out", "hello\n" * 100)
    until((programs.files / "fill-the-logs.out.log.0").exists)
    assert (programs.files / "fill-the-logs.out.log.0").read_text().splitlines()[0].endswith(" fill-the-logs.out hello")


def test_no_name_leads_out_of_the_directory(programs: Programs) -> None:
    programs.start("memlogd")
    programs.start("logwrite")
    for name in ("../../etc/x", "/etc/y", "..", ".", "a/b"):
        write(programs, name, "line\n")
    write(programs, "last", "line\n")
    until((programs.files / "last.log").exists)
    assert sorted(path.name for path in programs.files.glob("[!.]*")) == [
        "%2E.%2F..%2Fetc%2Fx.log",
        "%2E..log",
        "%2E.log",
        "%2Fetc%2Fy.log",
        "a%2Fb.log",
        "last.log",
        "memlogd.log",
    ]


def test_a_source_at_full_speed_while_readers_come_and_go(programs: Programs) -> None:
    """Its last line gets through, and memory stays bounded."""
    memlogd = programs.start("memlogd", "-quiet", "-backlog", "2000000")
    spam = open_source(programs.log_socket, "spam")
    block = b"x" * 99 + b"\n"
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(programs.query_socket)
        stuck.sendall(b"\2")
        for _ in range(60):
            os.write(spam, block * 6000)
            with socket.socket(socket.AF_UNIX) as reader:
                reader.connect(programs.query_socket)
                reader.sendall(b"\2")
                os.write(spam, block * 600)
                assert reader.recv(100)
    os.write(spam, b"the last line\n")
    os.close(spam)
    until(lambda: b"the last line" in programs.dump())
    status = Path(f"/proc/{memlogd.pid}/status").read_text()
    assert int(re.search(r"VmHWM:\s+(\d+)", status)[1]) < 60_000  # type: ignore[index]


def test_hundreds_of_idle_sources_take_little_memory(programs: Programs) -> None:
    memlogd = programs.start("memlogd", "-quiet")
    pipes = [os.pipe() for _ in range(400)]
    for number, (readable, _) in enumerate(pipes):
        hand_over(programs.log_socket, f"idle{number}", readable)
        os.close(readable)
    write(programs, "last", "line\n")
    until(lambda: b'"source":"last"' in programs.dump())
    status = Path(f"/proc/{memlogd.pid}/status").read_text()
    assert int(re.search(r"VmHWM:\s+(\d+)", status)[1]) < 60_000  # type: ignore[index]
    for _, writable in pipes:
        os.close(writable)


needs_kmsg = pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK | os.W_OK), reason="needs /dev/kmsg, and root")


def kernel_says(words: str) -> None:
    """Again and again until it is there: the kernel takes ten lines in five seconds from all who write to it."""
    until(lambda: _say(words) or words in run(BIN / "kmsg", "-once").stderr)


def _say(words: str) -> None:
    with open("/dev/kmsg", "w") as device:
        device.write(f"<12>{words}\n")


@needs_kmsg
def test_kmsg_prints_as_linuxkits_does() -> None:
    words = f"boatyard kmsg {os.getpid()}"
    kernel_says(words)
    result = run(BIN / "kmsg", "-once")
    assert result.returncode == 0 and result.stdout == ""
    assert re.search(rf"(?m)^\(\d+\) - \d{{4}}-\d\d-\d\dT[\d:.]+Z: {words}$", result.stderr)
    assert words not in run(BIN / "kmsg", "-once", "-level", "crit").stderr


@needs_kmsg
def test_kmsg_is_a_source_that_survives_memlogd(programs: Programs) -> None:
    programs.start("memlogd", "-max-lines", "100000")
    kmsg = subprocess.Popen([BIN / "kmsg", "-socket", programs.log_socket])
    programs.running["kmsg"] = kmsg
    first, second = f"boatyard first {os.getpid()}", f"boatyard second {os.getpid()}"
    kernel_says(first)
    until(lambda: "user.warning [" in logread(programs, "-source", "kmsg", "-grep", first))
    programs.kill("memlogd")
    programs.start("memlogd", "-max-lines", "100000")
    kernel_says(second)
    until(lambda: second in logread(programs, "-source", "kmsg"))
    assert first not in logread(programs)


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def number_of(line: str) -> int:
    return int(line.split(" ")[2])


@pytest.mark.root
def test_a_full_disk_keeps_the_newest_and_everything_is_accounted_for(programs: Programs) -> None:
    """Rotated files make room; then memlogd keeps what it can, and says what it couldn't; then there is room again."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    programs.logwrite_flags = ["-max-log-size", "100000", "-max-log-files", "50"]
    with small_disk(programs.files, "1m"):
        programs.start("memlogd", "-quiet", "-backlog", "300000")
        programs.start("logwrite")
        source = Numbered(programs.log_socket, "s", 40_000, pad=20)
        source.start()
        until(lambda: source.written >= 40_000)
        # The newest lines are in files, whatever room there is: the oldest files went.
        until(lambda: programs.files_end("s", source.written - 2000))
        ballast = os.open(programs.files / "ballast", os.O_WRONLY | os.O_CREAT)

        def full() -> bool:
            """Take what room there is, until logwrite has none."""
            with suppress(OSError):
                while os.write(ballast, bytes(4096)):
                    pass
            return "nothing is written until there is room" in programs.said("logwrite")

        until(full)
        stuck = source.written
        until(lambda: source.written > stuck + 200)
        os.ftruncate(ballast, 0)
        until(lambda: "there is room again" in programs.said("logwrite"))
        source.finish()
        until(lambda: programs.files_end("s", source.written - 1))
        assert programs.stop("logwrite") == 0
        lines = programs.lines("s")
        first = number_of(next(line for line in lines if " s " in line))
        shifted = [line if " logwrite " in line else _renumbered(line, first) for line in lines]
        account(shifted, "s", source.written - first)
        os.close(ballast)


def _renumbered(line: str, first: int) -> str:
    when, name, number, rest = line.split(" ", 3)
    return f"{when} {name} {int(number) - first} {rest}"


def test_a_log_directory_that_is_removed_is_made_anew(programs: Programs) -> None:
    programs.start("memlogd")
    programs.start("logwrite")
    descriptor = open_source(programs.log_socket, "s")
    os.write(descriptor, b"one\n")
    until((programs.files / "s.log").exists)
    shutil.rmtree(programs.files)
    os.write(descriptor, b"two\n")
    os.close(descriptor)
    until(lambda: programs.lines("s") and programs.lines("s")[-1].endswith(" s two"))
    assert programs.stop("logwrite") == 0
    programs.start("logwrite")
    write(programs, "s", "three\n")
    until(lambda: programs.lines("s")[-1].endswith(" s three"))
    assert [line.split(" ")[2] for line in programs.lines("s")] == ["two", "three"]


def test_everything_is_collected_into_one_archive(programs: Programs, tmp_path: Path) -> None:
    programs.start("memlogd")
    write(programs, "web", "a line\npassword=hunter2\n")
    until(lambda: b"hunter2" in programs.dump())
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/old.log").write_text("x" * 99 + "\n")
    (tmp_path / "boatd.toml").write_text('[proxy]\nhttp = "http://me:geheim@proxy:3128"\n')
    environment = {
        **os.environ,
        "BOATD_CONFIG": str(tmp_path / "boatd.toml"),
        "BOAT_HOST": f"unix://{tmp_path}/none.sock",
        "BOAT_API_TOKEN": "geheim",
    }
    command = [BIN / "boat", "diagnose", "-o", tmp_path / "out.tar.gz", "--socket", programs.query_socket]
    result = run(*command, "--log-dir", tmp_path / "logs", env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{tmp_path}/out.tar.gz\n"
    assert "[1/8] versions ... boat" in result.stderr and "memlogd ... 2 sources, 3 lines" in result.stderr
    assert stat.S_IMODE((tmp_path / "out.tar.gz").stat().st_mode) == 0o600
    with tarfile.open(tmp_path / "out.tar.gz") as tar:
        files = {
            member.name.partition("/")[2]: file.read()
            for member in tar
            if (file := tar.extractfile(member)) is not None
        }
    assert b"a line\n" in files["memlogd/web.log"] and files["logs/logs/old.log"] == b"x" * 99 + b"\n"
    assert {"doctor.json", "versions.json", "configuration/environment.json", "host/etc-os-release"} <= set(files)
    everything = b"".join(files.values())
    assert b"hunter2" not in everything and b"geheim" not in everything
    manifest = json.loads(files.pop("manifest.json"))
    assert {each["name"]: each["sha256"] for each in manifest["contents"]} == {
        name: sha256(data).hexdigest() for name, data in files.items()
    }
    assert "the daemon's version and status" in [each["about"] for each in manifest["missing"]]
    refused = run(*command, "--without", "everything")
    assert refused.returncode == 2 and "there is no part 'everything'" in refused.stderr
