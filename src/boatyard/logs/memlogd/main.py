"""`memlogd`: flags, the way to the background, signals.

LinuxKit's flags, and more. It starts before there is a disk or a network, so it wants neither, and imports little.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Callable
from types import FrameType

from boatyard.errors import BoatyardError, InvalidError
from boatyard.logs.flags import Flag, Value, parse_or_exit
from boatyard.logs.memlogd import bounds as defaults
from boatyard.logs.memlogd import sockets
from boatyard.logs.memlogd.bounds import Bounds
from boatyard.logs.memlogd.server import Server
from boatyard.logs.memlogd.sockets import Bound
from boatyard.logs.places import LOG_SOCKET, QUERY_SOCKET

FLAGS = (
    Flag("socket-log", LOG_SOCKET, "unix domain socket on which descriptors are handed over. Overridden by -fd-log"),
    Flag("socket-query", QUERY_SOCKET, "unix domain socket on which readers are answered. Overridden by -fd-query"),
    Flag("fd-log", -1, "an open SOCK_DGRAM socket, in place of -socket-log"),
    Flag("fd-query", -1, "an open SOCK_STREAM socket, in place of -socket-query"),
    Flag("max-lines", defaults.MAX_LINES, "lines kept in memory"),
    Flag("max-line-len", defaults.MAX_LINE_LENGTH, "bytes of a line that are kept; see -split"),
    Flag("daemonize", False, "go to the background as soon as both sockets accept"),
    Flag("max-bytes", 0, "bytes kept in memory; 0: as many as the lines have"),
    Flag("fair", False, "when memory is full, the source that holds the most loses its oldest lines"),
    Flag("split", False, "a line that is too long goes on as another line; without, the rest is dropped"),
    Flag("backlog", defaults.BACKLOG, "bytes kept for readers that are slower than the writers"),
    Flag("orphan", False, "tell readers that the memlogd before was killed"),
    Flag("quiet", False, "don't write the lines to standard output, too"),
)


def main() -> None:
    """The program. Returns after an orderly stop."""
    values, rest = parse_or_exit("memlogd", FLAGS, sys.argv[1:])
    if rest:
        sys.stderr.write(f"memlogd takes no arguments, but there is {rest[0]!r}\n")
        raise SystemExit(2)
    try:
        run(values)
    except BoatyardError as error:
        sys.stderr.write(f"memlogd: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        raise SystemExit(1) from error


def run(values: dict[str, Value]) -> None:
    """From the flags to the end, which a signal brings."""
    bounds = _bounds(values)
    log = _socket(values, "log", socket.SOCK_DGRAM)
    try:
        query = _socket(values, "query", socket.SOCK_STREAM)
    except BoatyardError:
        log.unlink()
        raise
    tell_parent = _go_to_background() if values["daemonize"] else None
    signals = _Signals()
    server = Server(
        log.socket,
        query.socket,
        bounds,
        identity=os.urandom(8).hex(),
        orphan=bool(values["orphan"]) or log.replaced or query.replaced,
        descriptors=_raise_descriptor_limit(),
    )
    server.loop.watch(signals.descriptor, signals)
    if not values["quiet"] and tell_parent is None:
        _mirror(server)
    server.start()
    # What is alive now lives as long as we do: the collector needn't look at it again.
    gc.collect()
    gc.freeze()
    if tell_parent is not None:
        tell_parent()
    while not signals.came:
        server.round()
    # Whoever starts another one now shall not find our sockets in the way.
    log.unlink()
    query.unlink()
    server.stop()


def _bounds(values: dict[str, Value]) -> Bounds:
    def number(name: str, least: int) -> int:
        value = values[name]
        assert isinstance(value, int)
        if value < least:
            raise InvalidError(f"-{name} is {value}", hint=f"the least is {least}")
        return value

    lines, length, size = number("max-lines", 1), number("max-line-len", 1), number("max-bytes", 0)
    if size and size <= length:
        raise InvalidError(f"-max-bytes is {size}: one line of -max-line-len {length} doesn't fit")
    return Bounds(
        lines,
        size,
        length,
        fair=bool(values["fair"]),
        split=bool(values["split"]),
        backlog=number("backlog", 0),
    )


def _socket(values: dict[str, Value], name: str, kind: socket.SocketKind) -> Bound:
    descriptor = values[f"fd-{name}"]
    assert isinstance(descriptor, int)
    return sockets.adopt(descriptor, kind) if descriptor >= 0 else sockets.bind(str(values[f"socket-{name}"]), kind)


def _go_to_background() -> Callable[[], None]:
    """The parent ends when the child calls what is returned, or with 1 when the child ends before."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writable)
        if os.read(readable, 1):
            os._exit(0)
        os.waitpid(pid, 0)
        os._exit(1)
    os.close(readable)
    os.setsid()
    os.chdir("/")

    def ready() -> None:
        # Standard error until now, for what may go wrong.
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.close(null)
        os.write(writable, b"1")
        os.close(writable)

    return ready


def _raise_descriptor_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class _Signals:
    """SIGTERM, SIGINT and SIGHUP, as something that the loop waits for."""

    def __init__(self) -> None:
        self.descriptor, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.came = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._caught)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)

    def ready(self, events: int) -> None:
        os.read(self.descriptor, 16)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self.came = True


def _mirror(server: Server) -> None:
    """Lines go to standard output, too, unless nobody can see them there. memlogd doesn't wait for whoever reads
    it."""
    try:
        status = os.fstat(1)
    except OSError:  # closed
        return
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev:
        return
    if stat.S_ISSOCK(status.st_mode):
        sock = socket.socket(fileno=os.dup(1))  # one to send by; the one that is watched is the server's
        server.mirror(os.dup(1), lambda data: sock.send(data, socket.MSG_DONTWAIT))
        return
    try:
        # Opened anew: that it doesn't block must not be seen by those who share standard output.
        descriptor = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        sys.stderr.write(f"memlogd: can't write lines to standard output, too: {error.strerror}\n")
        return
    server.mirror(descriptor, lambda data: os.write(descriptor, data))
