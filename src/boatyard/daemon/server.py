"""The daemon from its configuration to its end, on the event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from boatyard.api.engine import router as engine
from boatyard.api.engine import services as engine_services
from boatyard.api.faces import Faces
from boatyard.api.native import router as native
from boatyard.api.native.offers import Offers
from boatyard.api.native.services import Services
from boatyard.api.stream import Running
from boatyard.client.places import CARD_NAME, Card, beside
from boatyard.daemon import sockets
from boatyard.daemon.activity import Activity, Counted
from boatyard.daemon.config import Config
from boatyard.daemon.control import Control
from boatyard.daemon.grpc import GrpcFace
from boatyard.daemon.listening import TlsConfig
from boatyard.daemon.sessionbuilds import SessionBuilds
from boatyard.daemon.sockets import Bound
from boatyard.daemon.wiring import Yard, load_the_rest, open_yard
from boatyard.wire.listener import Server
from boatyard.wire.seqpacket import PacketListener

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds for what runs to be cancelled and answered, when the daemon stops."""
_LAST_CALL = 0.2
_NO_HURRY = 86400.0
_THREADS = 32
_SETTLED = 1.0
"""Seconds without work after which there is time for what isn't needed yet."""


async def serve(
    config: Config,
    card: Card,
    streams: Sequence[Bound],
    packets: Sequence[Bound],
    environ: Mapping[str, str],
    on_ready: Callable[[], None],
    *,
    asked: Callable[[], bool] = lambda: False,
    beside: Callable[[], Coroutine[None, None, None]] | None = None,
) -> None:
    """Serve until a signal, a client or idleness ends it. The sockets, which are bound, are closed at the end. `asked`
    tells whether a signal came before this; `beside` is done until then."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    _handle_signals(loop, stopping)
    if asked():
        stopping.set()
    # Blocking work waits more than it computes; threads are made when needed and kept.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="blocking"))
    # What only cycles hold (a failed step's traceback, and the client's directory in it) goes when nobody waits for us.
    activity = Activity(when_quiet=gc.collect)
    offers, running = Offers(), Running()
    async with AsyncExitStack() as stack:
        if beside is not None:
            stack.callback(asyncio.create_task(beside()).cancel)
        stack.callback(_close_all, [*streams, *packets])
        tls = _tls(config.tls) if any(stream.tcp for stream in streams) else None
        yard = await stack.enter_async_context(open_yard(config, activity))

        def vanish() -> None:
            """From here on, clients find no daemon and may start another, which waits for the lock."""
            for bound in (*streams, *packets):
                bound.unlink()

        addresses = [stream.address for stream in streams]
        control = Control(config, card, activity, yard, addresses, vanish, stopping)
        grpc = GrpcFace(yard, activity)
        faces = Faces(
            native.application(_services(control, yard), offers, running),
            engine.application(_engine_services(control, yard, grpc), running),
        )
        server = Server(Counted(faces, activity), http2=grpc.connection)
        stack.callback(offers.close)
        for packet in packets:
            stack.callback(PacketListener(packet.socket, offers).close)
        for stream in streams:
            await server.listen(stream.socket, tls=tls if stream.tcp else None)
            if stream.path:
                stack.enter_context(_card(stream.path, card))
        if config.debug_address:
            await _serve_debugging(config, card, activity, yard, stack)
        # What is alive now lives as long as the daemon: the collector needn't look at it again.
        gc.freeze()
        gc.enable()
        on_ready()
        sockets.notify(environ, "READY=1")
        log.info("boatd %s serves %s, root %s", card.version, ", ".join(addresses), config.root)
        stack.push_async_callback(_ended, asyncio.create_task(_settle_in(activity)))
        reason = await _until_stop(stopping, activity, float(config.idle_timeout))
        log.info("stopping: %s", reason)
        sockets.notify(environ, "STOPPING=1")
        vanish()
        if not stopping.is_set():
            # Who connected in this very moment is still served, however long that takes.
            await asyncio.sleep(_LAST_CALL)
            await asyncio.gather(server.stop(_NO_HURRY), grpc.stop(_NO_HURRY))
        else:
            running.cancel_all()
            grpc.cancel_builds()
            await asyncio.gather(server.stop(GRACE), grpc.stop(GRACE))
    log.info("stopped")


def _services(control: Control, yard: Yard) -> Services:
    return Services(
        system=control,
        builds=yard.builds,
        platforms=yard.emulators,
        places=yard.sessions.places,
        images=yard.images,
        disk=yard.disk,
        runs=yard.runs,
    )


def _engine_services(control: Control, yard: Yard, grpc: GrpcFace) -> engine_services.Services:
    return engine_services.Services(
        system=control,
        images=yard.images,
        builds=yard.builds,
        disk=yard.disk,
        events=yard.events,
        scratch=yard.scratch,
        driver=yard.driver,
        grpc=grpc.connection,
        sessions=yard.sessions.registry,
        session_builds=SessionBuilds(yard.sessions.places),
    )


def _tls(config: TlsConfig) -> ssl.SSLContext | None:
    if not config.cert:
        log.warning("TCP clients are served without TLS: whoever reaches this daemon can become root here")
        return None
    from boatyard.wire import tls

    if not config.ca:
        log.warning("TCP clients need no certificate: whoever reaches this daemon can become root here")
    return tls.server_context(config.cert, config.key, config.ca)


def _handle_signals(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # The terminal it was started from may go; there is no configuration to read again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def _serve_debugging(config: Config, card: Card, activity: Activity, yard: Yard, stack: AsyncExitStack) -> None:
    from boatyard.daemon.debugging import Debugging, open_socket

    def facts() -> dict[str, object]:
        return {
            "version": card.version,
            "root": card.root,
            "uptime": time.time() - card.started,
            "requests": activity.running,
            "builds": list(yard.running()),
        }

    bound = open_socket(config.debug_address)
    stack.callback(bound.close)
    server = Server(Debugging(facts))
    await server.listen(bound.socket)
    stack.push_async_callback(server.stop, 0.0)
    log.info("debugging at %s", config.debug_address)


async def _settle_in(activity: Activity) -> None:
    """Do what was put off for the sake of a quick start, as soon as there is nothing else to do."""
    await activity.until_idle(_SETTLED)
    await asyncio.to_thread(load_the_rest)
    gc.collect()
    gc.freeze()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _until_stop(stopping: asyncio.Event, activity: Activity, idle_timeout: float) -> str:
    asked = asyncio.ensure_future(stopping.wait())
    idle = asyncio.ensure_future(activity.until_idle(idle_timeout) if idle_timeout else asyncio.Event().wait())
    try:
        await asyncio.wait((asked, idle), return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        idle.cancel()
    return "asked to" if stopping.is_set() else f"idle for {idle_timeout:g} seconds"


def _close_all(bound: Sequence[Bound]) -> None:
    for one in bound:
        one.close()


@contextmanager
def _card(socket: str, card: Card) -> Iterator[None]:
    """The visiting card beside a socket, while it is served."""
    path = beside(socket, CARD_NAME)
    draft = f"{path}.{os.getpid()}"
    with open(draft, "wb") as file:
        file.write(msgspec.json.encode(card) + b"\n")
    os.replace(draft, path)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
