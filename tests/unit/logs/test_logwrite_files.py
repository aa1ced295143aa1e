"""One source's file and a directory of them: where lines go on, what is cut off, rotated, and left alone."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import ConflictError
from boatyard.logs.events import Gap, Known, Lines, Lost
from boatyard.logs.logwrite.directory import Directory
from boatyard.logs.logwrite.filename import stem
from boatyard.logs.logwrite.logfile import LogFile
from boatyard.logs.logwrite.policy import Policy
from boatyard.logs.logwrite.position import Positions

SECOND = 1_000_000_000
NOW = 1_800_000_000
STAMP = "2027-01-15T08:00:00Z"


def lines(first: int, last: int, *, source: bytes = b"web", at: int = NOW) -> Lines:
    data = b"".join(b"line %d\n" % number for number in range(first, last + 1))
    return Lines(source, at * SECOND, first, last - first + 1, data)


class Files:
    """A log directory; `again()` is a logwrite that was killed and started anew."""

    def __init__(self, path: Path, policy: Policy | None = None) -> None:
        self.path = path
        self.policy = policy or Policy()
        self.complaints: list[str] = []
        self.waits: list[Callable[[], None]] = []
        self.now = float(NOW)
        self.again()

    def again(self) -> tuple[str | None, dict[str, dict[bytes, int]], list[bytes]]:
        self.directory = Directory(self.path, self.policy, self.complaints.append, self._wait, lambda: self.now)
        recovered = self.directory.recover()
        self.directory.greet("one")
        return recovered

    def _wait(self, seconds: float) -> bool:
        if not self.waits:
            return False
        self.waits.pop(0)()
        return True

    def number(self, source: bytes = b"web") -> int:
        """What a new logwrite would know."""
        _, numbers, _ = self.again()
        return numbers["one"][source]

    def text(self, name: str = "web.log") -> str:
        return (self.path / name).read_text()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir() if not path.name.startswith("."))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "log")


def test_a_line_is_written_as_linuxkit_does_it(files: Files) -> None:
    files.directory.write(Lines(b"web", NOW * SECOND + 999_999_999, 1, 2, b"hello\n\xff; x\n"))
    assert (files.path / "web.log").read_bytes() == f"{STAMP} web hello\n{STAMP} web ".encode() + b"\xff; x\n"


def test_rotation_is_that_of_linuxkit(tmp_path: Path) -> None:
    """As recorded with -max-log-size 1000 -max-log-files 3: four files, each one line larger than the bound."""
    files = Files(tmp_path, Policy(max_size=1000, max_files=3))
    for number in range(1, 500):
        files.directory.write(lines(number, number, source=b"gen.out"))
    one_by_one = {name: files.text(name) for name in files.names()}
    assert list(one_by_one) == ["gen.out.log", "gen.out.log.0", "gen.out.log.1", "gen.out.log.2"]
    assert all(1000 < len(text) <= 1000 + 50 for name, text in one_by_one.items() if name != "gen.out.log")

    at_once = Files(tmp_path / "at-once", Policy(max_size=1000, max_files=3))
    at_once.directory.write(lines(1, 499, source=b"gen.out"))
    assert {name: at_once.text(name) for name in at_once.names()} == one_by_one


def test_no_line_is_lost_or_doubled_over_rotations(tmp_path: Path) -> None:
    files = Files(tmp_path, Policy(max_size=300, max_files=1000))
    for first in range(1, 400, 7):
        files.directory.write(lines(first, first + 6))
    rotated = sorted((name for name in files.names() if name != "web.log"), key=lambda name: -int(name.split(".")[2]))
    text = "".join(files.text(name) for name in [*rotated, "web.log"])
    assert [int(line.split()[-1]) for line in text.splitlines()] == list(range(1, 400))


@pytest.mark.parametrize("keep", [0, 1])
def test_fewer_files_may_be_kept(tmp_path: Path, keep: int) -> None:
    files = Files(tmp_path, Policy(max_size=100, max_files=keep))
    files.directory.write(lines(1, 100))
    assert files.names() == ["web.log", "web.log.0"][: keep + 1]


def test_rotated_files_are_compressed(tmp_path: Path) -> None:
    files = Files(tmp_path, Policy(max_size=300, max_files=3, compress=True))
    files.directory.write(lines(1, 50))
    assert files.names() == ["web.log", "web.log.0.gz", "web.log.1.gz", "web.log.2.gz"]
    texts = [gzip.decompress((files.path / f"web.log.{number}.gz").read_bytes()).decode() for number in (2, 1, 0)]
    numbers = [int(line.split()[-1]) for line in ("".join(texts) + files.text()).splitlines()]
    assert numbers == list(range(numbers[0], 51))
    assert files.number() == 50


def test_a_file_that_is_old_enough_is_rotated(tmp_path: Path) -> None:
    files = Files(tmp_path, Policy(max_age=3600))
    files.directory.write(lines(1, 1))
    files.now += 3601
    files.directory.tick()
    assert files.text("web.log.0").endswith("line 1\n") and files.text() == ""
    files.now += 3601
    files.directory.tick()
    assert files.names() == ["web.log", "web.log.0"], "an empty one isn't"


def test_a_new_logwrite_knows_the_last_line(files: Files) -> None:
    files.directory.write(lines(1, 10))
    files.directory.write(lines(11, 13))
    assert files.again() == ("one", {"one": {b"web": 13}}, [b"web"])
    files.directory.write(lines(5, 20))
    assert [int(line.split()[-1]) for line in files.text().splitlines()] == list(range(1, 21))


@pytest.mark.parametrize("torn", [b"2027-01-15T08:00:00Z web li", b"20", b"2027-01-15T08:00:00Z web line 11"])
def test_half_a_line_that_a_killed_logwrite_left_is_cut_off(files: Files, torn: bytes) -> None:
    files.directory.write(lines(1, 10))
    with open(files.path / "web.log", "ab") as file:
        file.write(torn)
    assert files.number() == 10
    files.directory.write(lines(11, 11))
    assert files.text().endswith(f"{STAMP} web line 10\n{STAMP} web line 11\n")


def test_a_logwrite_that_was_killed_between_rotating_and_going_on_goes_on(files: Files) -> None:
    files.directory.write(lines(1, 10))
    os.rename(files.path / "web.log", files.path / "web.log.0")
    assert files.number() == 10
    (files.path / "web.log").touch()
    assert files.number() == 10
    files.directory.write(lines(8, 12))
    assert files.text() == f"{STAMP} web line 11\n{STAMP} web line 12\n"
    assert files.number() == 12


def test_lines_of_somebody_else_are_not_counted_and_stay(files: Files) -> None:
    files.path.mkdir(exist_ok=True)
    (files.path / "web.log").write_text("something older\nwithout an end")
    files.directory.write(lines(1, 2))
    with open(files.path / "web.log", "a") as file:
        file.write(f"a person's note\n{STAMP} other line\n")
    files.directory.write(lines(3, 3))
    assert files.number() == 3
    assert files.text().splitlines() == [
        "something older",
        "without an end",
        f"{STAMP} web line 1",
        f"{STAMP} web line 2",
        "a person's note",
        f"{STAMP} other line",
        f"{STAMP} web line 3",
    ]


def test_a_gap_is_told_and_counted(files: Files) -> None:
    files.directory.write(lines(1, 2))
    files.directory.tell_gap(Gap(b"web", 3, 7, "this reader was too slow"))
    files.directory.write(lines(10, 11))
    assert files.text().splitlines()[2:] == [
        f"{STAMP} logwrite 7 lines of web are missing here, numbers 3 to 9: this reader was too slow",
        f"{STAMP} web line 10",
        f"{STAMP} web line 11",
    ]
    assert files.number() == 11
    files.directory.tell_gap(Gap(b"web", 12, 1, "x"))
    assert files.number() == 12


def test_a_lost_memlogd_is_told_and_the_next_one_counts_anew(files: Files) -> None:
    files.directory.write(lines(1, 5))
    files.directory.tell_lost(Lost(b"web", 5))
    files.directory.greet("two")
    files.directory.write(lines(1, 2))
    assert files.text().splitlines()[5:] == [
        f"{STAMP} logwrite memlogd was started anew: lines of web after number 5 that it had not handed on are lost",
        f"{STAMP} web line 1",
        f"{STAMP} web line 2",
    ]
    recovered = Directory(files.path, Policy(), files.complaints.append, lambda _: False).recover()
    assert recovered == ("two", {"two": {b"web": 2}}, [b"web"])


def test_a_source_that_ended_is_not_going_on(files: Files) -> None:
    files.directory.settle(Known(b"web", 0, 0, True))
    files.directory.settle(Known(b"silent", 0, 0, True))
    files.directory.write(lines(1, 5))
    assert files.again()[2] == [b"silent", b"web"] or files.again()[2] == [b"web", b"silent"]
    files.directory.settle(Known(b"web", 0, 5, False))
    assert files.again() == ("one", {"one": {b"web": 5, b"silent": 0}}, [b"silent"])
    files.directory.write(lines(6, 6))
    assert set(files.again()[2]) == {b"web", b"silent"}
    assert files.number() == 6


@pytest.mark.parametrize("how", ["removed", "moved", "directory"])
def test_a_file_that_is_gone_is_made_anew(files: Files, how: str, tmp_path: Path) -> None:
    files.directory.write(lines(1, 2))
    if how == "removed":
        (files.path / "web.log").unlink()
    elif how == "moved":
        (files.path / "web.log").rename(files.path / "web.log.saved")
    else:
        files.path.rename(tmp_path / "elsewhere")
    files.directory.write(lines(3, 4))
    assert files.text() == f"{STAMP} web line 3\n{STAMP} web line 4\n"
    assert files.number() == 4


def test_only_one_logwrite_writes_to_a_directory(files: Files) -> None:
    other = Directory(files.path, Policy(), files.complaints.append, lambda _: False)
    with files.directory.held(), pytest.raises(ConflictError, match="another logwrite"), other.held():
        pass
    with other.held():
        pass


def test_what_takes_too_much_together_goes_from_the_oldest_on(tmp_path: Path) -> None:
    files = Files(tmp_path, Policy(max_size=10_000, max_files=100, max_total=100_000))
    (tmp_path / "syslog.log.1").write_bytes(b"x" * 500_000)
    for first in range(1, 10_000, 500):
        for name in (b"a", b"b"):
            files.directory.write(lines(first, first + 499, source=name))
    files.directory._measured = 0
    files.directory.tick()
    rotated = list(tmp_path.glob("[ab].log.*"))
    assert 0 < sum(path.stat().st_blocks * 512 for path in rotated) <= 100_000
    assert {"a.log", "b.log", "a.log.0", "b.log.0", "syslog.log.1"} <= set(files.names())
    assert not any(int(path.suffix[1:]) > 10 for path in rotated)


class Disk:
    """Stands for `os.write`: takes `room` bytes more, then says that the disk is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr("boatyard.logs.logwrite.logfile.os.write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_a_full_disk_is_waited_for_and_no_line_is_torn_or_doubled(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, 150)
    seen: list[str] = []

    def more() -> None:
        seen.append(files.text())
        disk.room = 100

    files.waits = [more] * 20
    files.directory.write(lines(1, 10))
    monkeypatch.undo()
    assert [int(line.split()[-1]) for line in files.text().splitlines()] == list(range(1, 11))
    assert all(text.endswith("\n") for text in seen)
    assert len(files.complaints) == 2 and "No space left" in files.complaints[0] and "again" in files.complaints[1]


def test_the_oldest_files_make_room_for_the_newest_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path, Policy(max_size=300, max_files=5))
    files.directory.write(lines(1, 60))
    before = files.names()
    disk = Disk(monkeypatch, 0)
    removed: list[Path] = []
    unlink = Path.unlink

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if ".log." in path.name:
            removed.append(path)
            disk.room = 100

    monkeypatch.setattr(Path, "unlink", unlinked)
    files.directory.write(lines(61, 62))
    assert [path.name for path in removed] == [before[-1]], "the oldest, and no more than was needed"
    assert files.text().endswith("line 62\n") and not files.complaints


def test_a_file_that_can_not_be_written_holds_up_no_other(files: Files) -> None:
    files.path.mkdir(exist_ok=True)
    (files.path / "web.log").mkdir()
    files.directory.write(lines(1, 3))
    files.directory.write(lines(1, 1, source=b"db"))
    assert files.text("db.log").endswith("line 1\n")
    assert len(files.complaints) == 1 and "web.log" in files.complaints[0]
    (files.path / "web.log").rmdir()
    files.directory.write(lines(4, 4))
    assert "3 lines of web are missing here, numbers 1 to 3: they could not be written" in files.text()


def test_a_symbolic_link_is_not_followed(files: Files, tmp_path: Path) -> None:
    files.path.mkdir(exist_ok=True)
    (tmp_path / "victim").write_text("precious\n")
    (files.path / "web.log").symlink_to(tmp_path / "victim")
    files.directory.write(lines(1, 1))
    assert (tmp_path / "victim").read_text() == "precious\n" and files.complaints


def test_lines_without_numbers_go_on_by_their_second(files: Files) -> None:
    """Of LinuxKit's memlogd, whose dump a new logwrite reads again."""

    def plain(text: str, at: int) -> Lines:
        return Lines(b"web", at * SECOND, 0, 1, text.encode() + b"\n")

    dump = [plain("a", NOW), plain("b", NOW + 1), plain("c", NOW + 2), plain("d", NOW + 2), plain("e", NOW + 2)]
    files.directory.greet("")
    for each in dump[:4]:
        files.directory.write(each)
    files.again()
    files.directory.greet("")
    for each in [*dump, plain("f", NOW), plain("g", NOW + 3)]:
        files.directory.write(each)
    assert [line.split()[-1] for line in files.text().splitlines()] == ["a", "b", "c", "d", "e", "f", "g"]


@given(st.binary(max_size=512))
def test_a_name_stays_in_the_directory_and_fits_a_file_system(name: bytes) -> None:
    made = stem(name)
    assert made and "/" not in made and "\0" not in made and not made.startswith(".")
    assert len(f".{made}.log.10.gz.draft".encode()) <= 255


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_different_names_are_different_files(one: bytes, other: bytes) -> None:
    assert (stem(one) == stem(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        (b"onboot.001-dhcpcd.out", "onboot.001-dhcpcd.out"),
        (b"../../etc/x", "%2E.%2F..%2Fetc%2Fx"),
        (b"", "%"),
        (b"a\nb", "a%0Ab"),
        ("ü".encode(), "%C3%BC"),
        (b"100%", "100%25"),
    ],
)
def test_usual_names_are_kept(name: bytes, made: str) -> None:
    assert stem(name) == made


def test_a_damaged_position_is_as_good_as_none(files: Files) -> None:
    files.directory.write(lines(1, 2))
    (files.path / ".logwrite" / "web.position").write_bytes(b"rubbish")
    assert files.again() == ("one", {}, [])
    files.directory.write(lines(3, 3))
    assert files.number() == 3


def test_many_sources_need_few_open_files(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for number in range(600):
        files.directory.write(lines(1, 1, source=b"s%d" % number))
    assert len(files.directory._open) == 256
    for number in range(600):
        files.directory.write(lines(2, 2, source=b"s%d" % number))
    assert all(len(files.text(f"s{number}.log").splitlines()) == 2 for number in range(600))


def test_a_file_alone_recovers_without_a_directory(tmp_path: Path) -> None:
    positions = Positions(tmp_path, sync=True)
    file = LogFile(tmp_path, b"web", Policy(sync=0), positions, print)
    file.write(lines(1, 3), "one")
    file.sync()
    file.close()
    again = LogFile(tmp_path, b"web", Policy(), positions, print, positions.read("web"))
    again.recover()
    assert again.number == 3
