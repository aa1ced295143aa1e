"""The server's sockets and processes, and their life.

Each process listens at a socket of its own at the same address (SO_REUSEPORT): the kernel spreads connections over
them. The first process serves nobody. It keeps all the sockets, so that no connection is lost when a worker dies, and
makes new workers.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import random
import resource
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from boatyard.errors import BoatyardError, ConflictError, InvalidError, StorageError
from boatyard.registry.server.application import Application
from boatyard.registry.server.collection import collect
from boatyard.registry.server.metrics import Metrics
from boatyard.registry.server.registry import Registry, open_registry
from boatyard.registry.server.settings import Settings
from boatyard.wire.limits import Limits
from boatyard.wire.listener import Server

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds for what runs to be answered, when the server stops."""
_THREADS = 32
_LIMITS = Limits(connections=20_000, body_timeout=60.0)
_RESPAWN_PAUSE = 0.5


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """So many sockets at one address. Port 0 chooses one. ConflictError, InvalidError."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise InvalidError(f"can't listen at {host}: {error.strerror}") from error
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.socket(family, kind | socket.SOCK_CLOEXEC)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if count > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
            address = sock.getsockname()
    except OSError as error:
        for sock in sockets:
            sock.close()
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(f"somebody else listens at {where}", hint="stop it, or choose another port") from error
        raise StorageError(f"can't listen at {where}: {error.strerror}") from error
    return sockets


async def serve(
    settings: Settings,
    sock: socket.socket,
    stopping: asyncio.Event,
    *,
    tls: ssl.SSLContext | None = None,
    grace: float = GRACE,
    clock: Callable[[], float] = time.time,
    on_ready: Callable[[Registry], None] = lambda registry: None,
    metrics: Metrics | None = None,
    processes: int = 1,
) -> None:
    """Serve in this process, at a bound socket, until told to stop; then what runs has `grace` seconds."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="blocking"))
    registry = open_registry(settings, clock=clock, metrics=metrics, processes=processes)
    try:
        server = Server(Application(registry), limits=_LIMITS)
        await server.listen(sock, tls=tls)
        on_ready(registry)
        collecting = asyncio.create_task(_keep_collecting(registry))
        await stopping.wait()
        collecting.cancel()
        await server.stop(grace)
    finally:
        registry.close()


async def _keep_collecting(registry: Registry) -> None:
    """Which of the processes is first, the others find less to do."""
    settings = registry.settings
    while settings.collect_every:
        await asyncio.sleep(settings.collect_every * random.uniform(0.9, 1.1))
        try:
            done = await asyncio.to_thread(
                collect,
                registry.records,
                registry.blobs,
                now=registry.clock(),
                grace=settings.grace,
                untagged=settings.collect_untagged,
            )
            log.info("collected: %s", done)
        except BoatyardError as error:
            log.error("can't collect garbage: %s", error.message)


def run(
    settings: Settings, sockets: list[socket.socket], *, tls: ssl.SSLContext | None, on_ready: Callable[[], None]
) -> None:
    """Until SIGTERM or SIGINT. In the main thread of a process without others."""
    _raise_descriptor_limit()
    open_registry(settings).close()  # makes what isn't there, once
    if len(sockets) == 1:
        on_ready()
        asyncio.run(_until_signal(settings, sockets[0], tls, Metrics(Metrics.make(1), 0), 1))
        return
    for sock in sockets:
        sock.listen(512)
    Supervisor(settings, sockets, tls).run(on_ready)


def _raise_descriptor_limit() -> None:
    """Each connection is one; the soft limit of 1024 is for programs that select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _until_signal(
    settings: Settings, sock: socket.socket, tls: ssl.SSLContext | None, metrics: Metrics, processes: int
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # What is alive now lives as long as the server. The command that this is had turned the collector off.
    gc.freeze()
    gc.enable()
    await serve(settings, sock, stopping, tls=tls, metrics=metrics, processes=processes)


class Supervisor:
    """Keeps one worker a socket."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._sockets = sockets
        self._tls = tls
        self._workers: dict[int, tuple[socket.socket, float]] = {}
        self._stopping = False
        self._shared = Metrics.make(len(sockets))

    def run(self, on_ready: Callable[[], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for sock in self._sockets:
            self._start(sock)
        on_ready()
        while self._workers:
            pid, status = os.wait()
            known = self._workers.pop(pid, None)
            if known is None or self._stopping:
                continue
            sock, started = known
            log.error("worker %d ended by itself (status %d); starting another", pid, status)
            time.sleep(max(0.0, _RESPAWN_PAUSE - (time.monotonic() - started)))
            if not self._stopping:
                self._start(sock)

    def _start(self, sock: socket.socket) -> None:
        pid = os.fork()
        if pid:
            self._workers[pid] = (sock, time.monotonic())
            return
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            for other in self._sockets:
                if other is not sock:
                    other.close()
            metrics = Metrics(self._shared, self._sockets.index(sock))
            asyncio.run(_until_signal(self._settings, sock, self._tls, metrics, len(self._sockets)))
            status = 0
        except BaseException:
            # The boundary of the process: nothing of the supervisor's may run in it.
            log.exception("worker %d failed", os.getpid())
        finally:
            logging.shutdown()
            os._exit(status)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True
        for pid in self._workers:
            os.kill(pid, signal.SIGTERM)
