"""The receiving side, fed by hand: senders that mean harm, and transfers that end early."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import BoatyardError, DeniedError, InvalidError, StorageError, UnavailableError
from boatyard.session.fsutil import packet, receiver
from boatyard.session.fsutil.entry import Entry
from boatyard.session.fsutil.known import known_files
from boatyard.session.fsutil.order import MOST_XATTR_BYTES
from boatyard.session.fsutil.receiver import Receiver

NOW = 1_700_000_000_123_456_789
UID, GID = os.getuid(), os.getgid()


def file(path: str, size: int = 3, mtime_ns: int = NOW, link: str = "", mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, UID, GID, size, mtime_ns, link)


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode, UID, GID, 0, NOW)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, UID, GID, len(target), NOW, target)


@contextmanager
def receiving(target: Path, *, trusted: bool = True, seeds: tuple[Path, ...] = ()) -> Iterator[Receiver]:
    target.mkdir(exist_ok=True)
    opened = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (target, *seeds)]
    machine = Receiver(opened[0], known_files(opened[0]), trusted=trusted, seeds=opened[1:])
    try:
        yield machine
    finally:
        machine.close()
        for descriptor in opened:
            os.close(descriptor)


def transfer(target: Path, contents: dict[str, bytes], entries: list[Entry], **options: bool) -> int:
    """A sender that does everything right. How many files were asked for."""
    paths = [entry.path for entry in entries]
    with receiving(target, **options) as machine:
        answers = machine.feed([packet.stat(entry) for entry in entries] + [packet.END_OF_LIST])
        asked = [packet.decode(answer).id for answer in answers if packet.decode(answer).type == packet.REQ]
        for id in asked:
            data = contents[paths[id]]
            for start in range(0, len(data), 1000):
                answers = machine.feed([packet.data(id, data[start : start + 1000])])
            answers = machine.feed([packet.data(id, b"")])
        assert answers[-1] == packet.FINISHED
        machine.feed([packet.FINISHED])
        assert machine.finished
    return len(asked)


# -- what arrives ----------------------------------------------------------------------------------------------------


def test_every_kind_of_file_arrives(tmp_path: Path) -> None:
    entries = [
        directory("d", 0o711),
        file("d/f", 5),
        file("d/same", 5, link="d/f"),
        symlink("d/to", "../elsewhere"),
        directory("empty"),
        Entry("pipe", stat.S_IFIFO | 0o600, UID, GID, 0, NOW),
        file("program", 3, mode=0o4755),
        file("zero", 0),
    ]
    transfer(tmp_path / "t", {"d/f": b"bytes", "program": b"#!/", "zero": b""}, entries)
    found = known_files(os.open(tmp_path / "t", os.O_RDONLY))
    assert list(found.values()) == entries
    assert (tmp_path / "t" / "d" / "same").read_bytes() == b"bytes"
    assert (tmp_path / "t" / "d").stat().st_mtime_ns == NOW


def test_what_is_not_in_the_list_goes(tmp_path: Path) -> None:
    transfer(tmp_path, {"a/b/c": b"123"}, [directory("a"), directory("a/b"), file("a/b/c"), directory("x")])
    assert transfer(tmp_path, {}, [directory("x")]) == 0
    assert os.listdir(tmp_path) == ["x"]


def test_kinds_may_change_places(tmp_path: Path) -> None:
    first = [directory("a"), file("a/inside"), file("b"), symlink("c", "b"), symlink("d", "/etc")]
    second = [file("a"), directory("b"), file("b/inside"), file("c"), directory("d"), file("d/hostname")]
    contents = {"a": b"new", "b": b"old", "c": b"new", "a/inside": b"old", "b/inside": b"new", "d/hostname": b"new"}
    transfer(tmp_path, contents, first)
    transfer(tmp_path, contents, second)
    assert {path: entry.is_directory for path, entry in known_files(os.open(tmp_path, os.O_RDONLY)).items()} == {
        entry.path: entry.is_directory for entry in second
    }
    assert (tmp_path / "d" / "hostname").read_bytes() == b"new"
    transfer(tmp_path, contents, first)
    assert os.readlink(tmp_path / "d") == "/etc"


def test_only_files_with_another_status_are_asked_for(tmp_path: Path) -> None:
    entries = [file("a"), file("b"), file("c"), directory("d")]
    contents = {"a": b"aaa", "b": b"bbb", "c": b"ccc"}
    assert transfer(tmp_path, contents, entries) == 3
    assert transfer(tmp_path, contents, entries) == 0
    changed = [file("a", mtime_ns=NOW + 1), file("b", size=4), file("c", mode=0o600), directory("d", 0o700)]
    assert transfer(tmp_path, {**contents, "b": b"bbbb"}, changed) == 3
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
    assert transfer(tmp_path, contents, changed, trusted=False) == 3


def test_a_large_file_with_holes_keeps_them(tmp_path: Path) -> None:
    size = 3 << 20
    with receiving(tmp_path) as machine:
        machine.feed([packet.stat(file("sparse", size)), packet.END_OF_LIST])
        machine.feed([packet.data(0, b"start" + bytes(65531))])
        for _ in range(46):
            machine.feed([packet.data(0, bytes(65536))])
        machine.feed([packet.data(0, bytes(65536)), packet.data(0, b"")])
    found = (tmp_path / "sparse").stat()
    assert found.st_size == size
    assert found.st_blocks * 512 < size // 4
    assert (tmp_path / "sparse").read_bytes() == b"start" + bytes(size - 5)


def test_the_same_file_of_another_directory_is_linked(tmp_path: Path) -> None:
    contents = {"a/one": b"one", "a/two": b"two"}
    entries = [directory("a"), file("a/one"), file("a/two")]
    transfer(tmp_path / "seed", contents, entries)
    with receiving(tmp_path / "new", seeds=(tmp_path / "seed",)) as machine:
        answers = machine.feed(
            [packet.stat(each) for each in (directory("a"), file("a/one"), file("a/two", mtime_ns=NOW + 1))]
        )
        assert [packet.decode(answer).id for answer in answers] == [2]
    assert (tmp_path / "new" / "a" / "one").samefile(tmp_path / "seed" / "a" / "one")


def test_a_link_in_another_directory_does_not_lead_a_sender_to_our_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("ours")
    status = secret.stat()
    transfer(tmp_path / "seed", {}, [symlink("a", str(tmp_path))])
    guessed = Entry("a/secret", status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)
    with receiving(tmp_path / "new", seeds=(tmp_path / "seed",)) as machine:
        assert machine.feed([packet.stat(directory("a")), packet.stat(guessed)]) == [packet.request(1)]
    assert not (tmp_path / "new" / "a" / "secret").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make devices")
def test_devices_arrive(tmp_path: Path) -> None:
    null = Entry("null", stat.S_IFCHR | 0o666, UID, GID, 0, NOW, rdev=os.makedev(1, 3))
    transfer(tmp_path, {}, [null])
    assert transfer(tmp_path, {}, [null]) == 0
    status = (tmp_path / "null").stat()
    assert (status.st_mode, status.st_rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else for a while")
def test_who_is_not_root_keeps_what_it_got_and_makes_no_devices() -> None:
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "target")
        target.mkdir()
        for path in (directory, target):
            os.chown(path, 65534, 65534)
        child = os.fork()
        if not child:
            code = 1
            try:
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                entries = [
                    Entry("closed", stat.S_IFDIR | 0o555, 0, 0, 0, NOW),
                    Entry("closed/file", stat.S_IFREG | 0o4711, 0, 0, 4, NOW),
                ]
                first = transfer(target, {"closed/file": b"text"}, entries)
                again = transfer(target, {}, entries)
                changed = [entries[0], Entry("closed/file", stat.S_IFREG | 0o4711, 0, 0, 4, NOW + 1)]
                third = transfer(target, {"closed/file": b"more"}, changed)
                kept = (target / "closed").stat().st_mode & 0o777
                with pytest.raises(DeniedError, match="only root may"):
                    transfer(target, {}, [Entry("null", stat.S_IFCHR | 0o666, 0, 0, 0, NOW, rdev=os.makedev(1, 3))])
                code = 0 if (first, again, third, kept) == (1, 0, 1, 0o555) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# -- senders that mean harm ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([file("../escaped")], "no path inside"),
        ([file("..")], "no path inside"),
        ([file("/etc/escaped")], "no path inside"),
        ([file("")], "no path inside"),
        ([file("a//b")], "no path inside"),
        ([file("./a")], "no path inside"),
        ([directory("a"), file("a/")], "no path inside"),
        ([directory("a"), file("a/../../escaped")], "no path inside"),
        ([file("a\0b")], "no path inside"),
        ([file("missing/escaped")], "without its directory"),
        ([symlink("a", "/tmp"), file("a/escaped")], "without its directory"),
        ([file("a"), file("a/escaped")], "without its directory"),
        ([file("b"), file("a")], "out of order"),
        ([file("a"), file("a")], "out of order"),
        ([directory("a"), symlink("a", "/tmp"), file("a/escaped")], "out of order"),
        ([directory("a"), file("b"), file("a/late")], "without its directory"),
        ([file("a", link="/etc/passwd")], "did not come before"),
        ([file("a", link="../escaped")], "did not come before"),
        ([file("a", link="b"), file("b")], "did not come before"),
        ([symlink("a", "/etc/passwd"), file("b", link="a")], "did not come before"),
        ([directory("a"), file("b", link="a")], "did not come before"),
        ([file("x" * 256)], "too long"),
        ([Entry("a", stat.S_IFREG, 0, 0, 0, 0, xattrs={"user.x": bytes(MOST_XATTR_BYTES)})], "too many extended"),
    ],
)
def test_a_list_that_leads_elsewhere_is_refused(tmp_path: Path, entries: list[Entry], reason: str) -> None:
    with receiving(tmp_path / "t") as machine, pytest.raises(InvalidError, match=reason):
        machine.feed([packet.stat(entry) for entry in entries])
    assert os.listdir(tmp_path) == ["t"]


def test_a_list_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boatyard.session.fsutil.order.Order.__init__.__defaults__", (100,))
    with receiving(tmp_path) as machine, pytest.raises(InvalidError, match="more than 100 names"):
        for number in range(200):
            machine.feed([packet.stat(symlink(f"{number:04}", "x"))])


def test_names_and_attributes_may_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boatyard.session.fsutil.order.MOST_BYTES", 1 << 20)
    large = {"user.x": bytes(MOST_XATTR_BYTES - 10)}
    with receiving(tmp_path) as machine, pytest.raises(InvalidError, match="of the list have more than 1 MB"):
        for number in range(100):
            machine.feed([packet.stat(Entry(f"{number:04}", stat.S_IFREG | 0o644, 0, 0, 1, NOW, xattrs=large))])


def test_links_that_stand_in_the_target_lead_nowhere(tmp_path: Path) -> None:
    """As in a directory of the user's that an output goes to."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    target = tmp_path / "target"
    target.mkdir()
    (target / "d").symlink_to(outside)
    (target / "f").symlink_to(outside / "file")
    descriptor = os.open(target, os.O_RDONLY)
    machine = Receiver(descriptor, {}, owner=(UID, GID))
    machine.feed([packet.stat(each) for each in (directory("d"), file("d/file"), file("f"))])
    machine.feed([packet.END_OF_LIST, packet.data(1, b"new"), packet.data(1, b""), packet.data(2, b"new")])
    assert machine.feed([packet.data(2, b"")]) == [packet.FINISHED]
    machine.close()
    os.close(descriptor)
    assert (outside / "file").read_text() == "untouched"
    assert (target / "d" / "file").read_text() == (target / "f").read_text() == "new"
    assert not (target / "d").is_symlink()


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([packet.data(0, b"x")], "not asked for"),
        ([packet.stat(directory("d")), packet.data(0, b"x")], "not asked for"),
        ([packet.stat(file("f")), packet.data(0, b"abc"), packet.data(0, b""), packet.data(0, b"x")], "not asked for"),
        ([packet.request(0)], "asks for files"),
        ([packet.FINISHED], "before everything was there"),
        ([packet.stat(file("f")), packet.END_OF_LIST, packet.FINISHED], "before everything was there"),
        ([packet.END_OF_LIST, packet.stat(file("f"))], "goes on with a list"),
        ([b"\xff\xff\xff"], "no packet"),
    ],
)
def test_what_is_not_in_turn_is_refused(tmp_path: Path, messages: list[bytes], reason: str) -> None:
    with receiving(tmp_path) as machine, pytest.raises(InvalidError, match=reason):
        machine.feed(messages)


def test_a_file_may_grow_while_it_is_sent_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "MOST_GROWTH", 1000)
    with receiving(tmp_path) as machine:
        machine.feed([packet.stat(file("log", 10)), packet.stat(file("other", 10)), packet.END_OF_LIST])
        machine.feed([packet.data(0, bytes(1000)), packet.data(0, b"")])
        with pytest.raises(InvalidError, match="sends more of 'other' than the 10 bytes"):
            machine.feed([packet.data(1, bytes(1011))])
    assert (tmp_path / "log").stat().st_size == 1000


def test_many_files_at_once_are_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "MOST_BUFFERED", 100_000)
    with receiving(tmp_path) as machine:
        machine.feed([packet.stat(file(f"{number:03}", 50_000)) for number in range(60)] + [packet.END_OF_LIST])
        for part in range(5):
            machine.feed([packet.data(number, bytes((part + 1,)) * 10_000) for number in range(60)])
            assert machine.buffered <= 100_000
        machine.feed([packet.data(number, b"") for number in range(60)])
    for number in range(60):
        assert (tmp_path / f"{number:03}").read_bytes() == b"".join(bytes((part + 1,)) * 10_000 for part in range(5))


def test_what_the_sender_says_of_its_failure_is_told(tmp_path: Path) -> None:
    with receiving(tmp_path) as machine, pytest.raises(UnavailableError, match="open /x: permission denied"):
        machine.feed([packet.error("open /x: permission denied")])


# -- transfers that end early ----------------------------------------------------------------------------------------


def test_a_file_that_did_not_come_whole_is_asked_for_again(tmp_path: Path) -> None:
    large = 1 << 20
    entries = [file("large", large), file("small", 10)]
    with receiving(tmp_path) as machine:
        machine.feed([packet.stat(entry) for entry in entries] + [packet.END_OF_LIST])
        machine.feed([packet.data(0, b"x" * 65536) for _ in range(15)])
        machine.feed([packet.data(1, b"small-done"), packet.data(1, b"")])
    assert os.listdir(tmp_path) == ["small"]
    assert transfer(tmp_path, {"large": b"y" * large}, entries) == 1
    assert (tmp_path / "large").read_bytes() == b"y" * large


def test_a_replaced_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    transfer(tmp_path, {"f": b"old"}, [file("f")])
    with receiving(tmp_path) as machine:
        machine.feed([packet.stat(file("f", 1 << 20)), packet.END_OF_LIST, packet.data(0, b"x" * 500_000)])
        assert (tmp_path / "f").read_bytes() == b"old"
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    target = tmp_path / "t"
    target.mkdir()
    descriptor = os.open(target, os.O_RDONLY)
    machine = Receiver(descriptor, {})
    target.rmdir()
    with pytest.raises(StorageError, match="can't write 'a'"):
        machine.feed([packet.stat(directory("a"))])
    machine.close()
    os.close(descriptor)


# -- anything --------------------------------------------------------------------------------------------------------

some_paths = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c"]), min_size=1, max_size=3).map("/".join)
some_entries = st.builds(
    Entry,
    path=some_paths,
    mode=st.sampled_from([stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600]),
    uid=st.just(UID),
    gid=st.just(GID),
    size=st.integers(0, 10),
    mtime_ns=st.just(NOW),
    link=st.sampled_from(["", "a", "b", "../outside", "/", "a/b"]),
)
some_messages = st.lists(
    st.one_of(
        some_entries.map(packet.stat),
        st.builds(packet.data, st.integers(0, 5), st.binary(max_size=5)),
        st.sampled_from([packet.END_OF_LIST, packet.FINISHED, packet.error("x"), packet.request(1)]),
        st.binary(max_size=10),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(some_messages)
def test_whatever_comes_nothing_is_written_outside(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes]
) -> None:
    top = tmp_path_factory.mktemp("any")
    (top / "outside").write_text("untouched")
    with receiving(top / "target") as machine:
        try:
            for message in messages:
                machine.feed([message])
        except BoatyardError:
            pass
    assert sorted(os.listdir(top)) == ["outside", "target"]
    assert (top / "outside").read_text() == "untouched"
    assert (top / "outside").stat().st_nlink == 1
