"""The daemon from its configuration to its end, on the event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, suppress

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
from boatyard.daemon.sockets import Bound
from boatyard.daemon.wiring import Yard, open_yard
from boatyard.wire.listener import Server
from boatyard.wire.seqpacket import PacketListener

log = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds for what runs to be cancelled and answered, when the daemon stops."""
_LAST_CALL = 0.2
_NO_HURRY = 86400.0
_THREADS = 32


async def serve(
    config: Config,
    card: Card,
    streams: Sequence[Bound],
    packets: Sequence[Bound],
    environ: Mapping[str, str],
    on_ready: Callable[[], None],
) -> None:
    """Serve until a signal, a client or idleness ends it. The sockets, which are bound, are closed at the end."""
    loop = asyncio.get_running_loop()
    # Blocking work waits more than it computes; threads are made when needed and kept.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="blocking"))
    # What only cycles hold (a failed step's traceback, and the client's directory in it) goes when nobody waits for us.
    activity = Activity(when_quiet=gc.collect)
    offers, running = Offers(), Running()
    async with AsyncExitStack() as stack:
        stack.callback(_close_all, [*streams, *packets])
        yard = await stack.enter_async_context(open_yard(config, activity))

        def vanish() -> None:
            """From here on, clients find no daemon and may start another, which waits for the lock."""
            for bound in (*streams, *packets):
                bound.unlink()

        addresses = [f"unix://{stream.path}" for stream in streams]
        control = Control(config, card, activity, yard, addresses, vanish)
        grpc = GrpcFace(yard, activity)
        faces = Faces(
            native.application(_services(control, yard), offers, running),
            engine.application(_engine_services(control, yard), running),
        )
        server = Server(Counted(faces, activity), http2=grpc.connection)
        stack.callback(offers.close)
        for packet in packets:
            stack.callback(PacketListener(packet.socket, offers).close)
        for stream in streams:
            await server.listen(stream.socket)
            stack.enter_context(_card(stream.path, card))
        _handle_signals(loop, control.stopping)
        # What is alive now lives as long as the daemon: the collector needn't look at it again.
        gc.collect()
        gc.freeze()
        on_ready()
        sockets.notify(environ, "READY=1")
        log.info("boatd %s serves %s, root %s", card.version, ", ".join(stream.path for stream in streams), config.root)
        reason = await _until_stop(control.stopping, activity, float(config.idle_timeout))
        log.info("stopping: %s", reason)
        sockets.notify(environ, "STOPPING=1")
        vanish()
        if not control.stopping.is_set():
            # Who connected in this very moment is still served, however long that takes.
            await asyncio.sleep(_LAST_CALL)
            await asyncio.gather(server.stop(_NO_HURRY), grpc.stop(_NO_HURRY))
        else:
            running.cancel_all()
            await asyncio.gather(server.stop(GRACE), grpc.stop(GRACE))
    log.info("stopped")


def _services(control: Control, yard: Yard) -> Services:
    return Services(system=control, builds=yard.builds, images=yard.images, disk=yard.disk, runs=yard.runs)


def _engine_services(control: Control, yard: Yard) -> engine_services.Services:
    return engine_services.Services(
        system=control,
        images=yard.images,
        builds=yard.builds,
        disk=yard.disk,
        events=yard.events,
        scratch=yard.scratch,
    )


def _handle_signals(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # The terminal it was started from may go; there is no configuration to read again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


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
