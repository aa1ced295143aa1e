"""`kmsg`: LinuxKit's has no flags, and prints to standard error; ours can be a source of memlogd's as well."""

from __future__ import annotations

import os
import signal
import sys
import time

from boatyard.errors import BoatyardError, InvalidError, UnavailableError
from boatyard.logs import moment
from boatyard.logs.flags import Flag, parse_or_exit
from boatyard.logs.handover import open_source
from boatyard.logs.kmsg.device import PATH, Overwritten, boot_time, open_device, records
from boatyard.logs.kmsg.record import LEVELS, Record

FLAGS = (
    Flag("socket", "", "memlogd's log socket: be a source there, with facility and level, and print nothing"),
    Flag("n", "kmsg", "with -socket: the source's name"),
    Flag("level", "debug", f"nothing less urgent than this: {', '.join(LEVELS)}"),
    Flag("once", False, "end when all that is there was read"),
    Flag("device", PATH, "where the records come from"),
)
_PAUSE = 0.2


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    values, rest = parse_or_exit("kmsg", FLAGS, sys.argv[1:])
    try:
        if rest:
            raise InvalidError(f"kmsg takes no arguments, but there is {rest[0]!r}")
        if values["level"] not in LEVELS:
            raise InvalidError(f"-level is {values['level']!r}", hint=f"there are {', '.join(LEVELS)}")
        wanted = LEVELS[: LEVELS.index(str(values["level"])) + 1]
        device, follow = str(values["device"]), not values["once"]
        if values["socket"]:
            _be_source(str(values["socket"]), str(values["n"]), device, wanted, follow=follow)
        else:
            _print(device, wanted, follow=follow)
    except BoatyardError as error:
        sys.stderr.write(f"kmsg: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        raise SystemExit(2 if isinstance(error, InvalidError) else 1) from error


def _print(device: str, wanted: tuple[str, ...], *, follow: bool) -> None:
    """As LinuxKit's does: number, time, and the message with its properties as they are."""
    started = boot_time()
    for record in records(open_device(device), follow=follow):
        if isinstance(record, Overwritten):
            _write(2, b"(%d) - %b\n" % (record.last, _lost(record)))
        elif record.level in wanted:
            when = moment.nano(started + record.moment * 1000)
            _write(2, b"(%d) - %b: %b" % (record.sequence, when.encode(), record.text))


def _be_source(path: str, name: str, device: str, wanted: tuple[str, ...], *, follow: bool) -> None:
    """Until the device ends. When memlogd does, the next one gets what it had not taken."""
    after = -1
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    target = open_source(path, name)
    while True:
        source = open_device(device)
        try:
            for record in records(source, follow=follow, after=after):
                if isinstance(record, Overwritten):
                    _write(target, _lost(record) + b"\n")
                elif record.level in wanted:
                    _write(target, decoded(record))
                after = record.last if isinstance(record, Overwritten) else record.sequence
            return
        except BrokenPipeError:
            os.close(target)
            target = _open_again(path, name)
        finally:
            os.close(source)


def decoded(record: Record) -> bytes:
    """`kern.info [   12.345678] message`, on one line."""
    seconds, micro = divmod(record.moment, 1_000_000)
    head = f"{record.facility}.{record.level} [{seconds:5d}.{micro:06d}] "
    return head.encode() + record.message + b"\n"


def _lost(overwritten: Overwritten) -> bytes:
    count = overwritten.last - overwritten.first + 1
    return b"%d %b overwritten by the kernel before they were read, numbers %d to %d" % (
        count,
        b"record was" if count == 1 else b"records were",
        overwritten.first,
        overwritten.last,
    )


def _open_again(path: str, name: str) -> int:
    while True:
        try:
            return open_source(path, name)
        except UnavailableError:
            time.sleep(_PAUSE)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
