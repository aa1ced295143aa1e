"""Records of /dev/kmsg: their form, and those that were overwritten."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.logs.kmsg.device import Overwritten, open_device, records
from boatyard.logs.kmsg.main import decoded
from boatyard.logs.kmsg.record import Record, parse
from fixtures.log_programs import until


def test_a_record_is_taken_apart() -> None:
    record = parse(
        b"6,339,5140900,-,caller=T1;NET: Registered protocol family 10; x\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:01.0\n"
    )
    assert record is not None
    assert (record.sequence, record.facility, record.level, record.moment) == (339, "kern", "info", 5140900)
    assert record.message == b"NET: Registered protocol family 10; x"
    assert record.properties == {"SUBSYSTEM": "pci", "DEVICE": "+pci:0000:00:01.0"}
    assert decoded(record) == b"kern.info [    5.140900] NET: Registered protocol family 10; x\n"


@pytest.mark.parametrize(
    ("priority", "facility", "level"),
    [
        (0, "kern", "emerg"),
        (7, "kern", "debug"),
        (30, "daemon", "info"),
        (191, "local7", "debug"),
        (1000, "125", "emerg"),
    ],
)
def test_facility_and_level_are_decoded(priority: int, facility: str, level: str) -> None:
    record = parse(b"%d,1,1,-;x\n" % priority)
    assert record is not None and (record.facility, record.level) == (facility, level)


def test_letters_come_back_and_controls_stay_harmless() -> None:
    record = parse(rb"12,1,1,-;gr\xc3\xbc\xc3\x9fe \x5c \x1b[2J \x0a end" + b"\n")
    assert record is not None
    assert record.message.decode() == "grüße \\ \\x1b[2J \\x0a end"


@pytest.mark.parametrize(
    "data", [b"", b"x", b"6,1;no time", b"6,1,2,-no end", b"a,b,c,-;x", b"6,1,9999999999999999999999,-;x"]
)
def test_what_is_no_record_is_none(data: bytes) -> None:
    assert parse(data) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    record = parse(data)
    if record is not None:
        assert decoded(record).count(b"\n") == 1
        assert record.properties is not None


def read(packets: Sequence[bytes], after: int = -1) -> list[tuple[int, ...]]:
    """A socket of packets stands for the device: each read gives one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with ours, theirs:
        for packet in packets:
            ours.send(packet)
        return [
            (event.first, event.last) if isinstance(event, Overwritten) else (event.sequence,)
            for event in records(theirs.fileno(), follow=False, after=after)
        ]


def numbered(*numbers: int) -> list[bytes]:
    return [b"6,%d,%d,-;message\n" % (number, number) for number in numbers]


def test_numbers_that_are_missing_are_told() -> None:
    assert read(numbered(5, 6, 9, 10, 12)) == [(5,), (6,), (7, 8), (9,), (10,), (11, 11), (12,)]


def test_reading_goes_on_behind_a_record() -> None:
    assert read(numbered(5, 6, 7, 8), after=6) == [(7,), (8,)]
    assert read(numbered(9, 10), after=6) == [(7, 8), (9,), (10,)]


def test_what_is_no_record_is_passed_over() -> None:
    assert read([*numbered(1), b"rubbish", *numbered(2)]) == [(1,), (2,)]


@pytest.mark.root
def test_the_kernels_own_messages_are_read() -> None:
    if not os.access("/dev/kmsg", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/kmsg")
    words = b"boatyard test %d" % os.getpid()

    def said_and_read() -> list[Record]:
        """The kernel takes ten lines in five seconds from all who write there: what it drops is written again."""
        with open("/dev/kmsg", "wb", buffering=0) as device:
            device.write(b"<13>" + words)
        descriptor = open_device()
        try:
            return [
                event
                for event in records(descriptor, follow=False)
                if isinstance(event, Record) and words in event.message
            ]
        finally:
            os.close(descriptor)

    found: list[Record] = []
    until(lambda: found.extend(said_and_read()) or found)
    assert (found[0].facility, found[0].level) == ("user", "notice")
