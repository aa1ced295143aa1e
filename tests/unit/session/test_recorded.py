"""Transfers as they were recorded: a buildctl of BuildKit v0.32 that sent and received a small directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boatyard.session.fsutil.known import known_files
from boatyard.session.fsutil.receiver import Receiver
from boatyard.session.fsutil.sender import Sender
from boatyard.session.fsutil.walk import everything, walk

LIST = [
    "12120a016110a40328043080cadd9fe59fe7cb17",
    "12130a016410ed83808008308094938ee79fe7cb17",
    "121f0a06642f6c696e6b10ff8380402804308080a8b1e39fe7cb173a042e2e2f61",
    "121a0a06642f73616d6510a40328043080cadd9fe59fe7cb173a0161",
    "12170a04642fc3bc10ed83800428023080cadd9fe59fe7cb17",
    "12270a05656d70747910a4033080cadd9fe59fe7cb1752110a09757365722e6e6f746512046b657074",
    "12150a047069706510a48380103080a8feeaea9fe7cb17",
    "",
]
REQUESTS = ["08011800", "08011804", "08011805"]
CONTENTS = ["08021805", "0802220474657874", "0802", "080218042202c3bc", "08021804"]
FINISHED = "0803"


def hexes(messages: list[bytes]) -> list[str]:
    return [message.hex() for message in messages]


def raw(messages: list[str]) -> list[bytes]:
    return [bytes.fromhex(message) for message in messages]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    for name, text in (("a", "text"), ("empty", ""), ("d/ü", "ü")):
        (root / name).write_text(text)
        (root / name).chmod(0o644)
    os.link(root / "a", root / "d/same")
    (root / "d/link").symlink_to("../a")
    (root / "d/ü").chmod(0o4755)
    os.mkfifo(root / "pipe")
    (root / "pipe").chmod(0o644)
    os.setxattr(root / "empty", "user.note", b"kept")
    (root / "d").chmod(0o755)
    for name, seconds in (("a", 0.5), ("d/ü", 0.5), ("empty", 0.5), ("d/link", 0), ("d", 1), ("pipe", 2)):
        time = 1_700_000_000_000_000_000 + int(seconds * 10**9)
        os.utime(root / name, ns=(time, time), follow_symlinks=False)
    return root


@pytest.mark.skipif(os.geteuid() != 0, reason="the files are root's")
def test_what_buildctl_sent_is_received(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "mirror").mkdir()
    root = os.open(tmp_path / "mirror", os.O_RDONLY)
    receiver = Receiver(root, {})
    assert hexes(receiver.feed(raw(LIST))) == REQUESTS
    assert hexes(receiver.feed(raw(CONTENTS))) == [FINISHED]
    receiver.feed(raw([FINISHED]))
    assert receiver.finished
    receiver.close()
    source = os.open(tree, os.O_RDONLY)
    assert known_files(root) == known_files(source)
    again = Receiver(root, known_files(root))
    assert hexes(again.feed(raw(LIST))) == [FINISHED]
    assert (tmp_path / "mirror" / "d" / "same").samefile(tmp_path / "mirror" / "a")
    again.close()
    os.close(root)
    os.close(source)


def test_our_list_is_the_one_that_buildctl_sent_and_its_requests_are_answered(tree: Path) -> None:
    root = os.open(tree, os.O_RDONLY)
    sender = Sender(root, walk(root, everything(), owners=False))
    assert hexes(sender.produce(1 << 20)) == LIST
    sender.feed(raw(["0801", "08011804", "08011805"]))
    assert hexes(sender.produce(1 << 20)) == [
        "08021800220474657874",
        "08021800",
        "080218042202c3bc",
        "08021804",
        "08021805",
    ]
    sender.feed(raw([FINISHED]))
    assert hexes(sender.produce(1 << 20)) == [FINISHED]
    assert sender.finished
    sender.close()
    os.close(root)
