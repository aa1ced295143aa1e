"""The query socket: who connects, and what each client says it wants.

A client writes one byte, and perhaps more (`boatyard.logs.request`). Until then it waits, and holds up nobody. One
that asks for a mode there isn't stays connected and hears nothing, as LinuxKit does it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from boatyard.logs import request
from boatyard.logs.memlogd.loop import ERR, HUP, IN, Loop
from boatyard.logs.memlogd.notices import Notices
from boatyard.logs.request import Request

CONNECTIONS = 1024
_PAUSE = 0.5


class Caller:
    """A client that hasn't said (all of) what it wants. Owns the socket until then."""

    def __init__(self, loop: Loop, sock: socket.socket, desk: Desk) -> None:
        self._loop = loop
        self._socket = sock
        self._desk = desk
        self._heard = b""
        sock.setblocking(False)
        loop.watch(sock.fileno(), self)

    def ready(self, events: int) -> None:
        if events & IN:
            self._hear()
        elif events & (HUP | ERR):
            self.close()

    def close(self) -> None:
        self._loop.close(self._socket.fileno())
        self._socket.detach()
        self._desk.lost(self)

    def _hear(self) -> None:
        try:
            data = self._socket.recv(request.MAX_REQUEST)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._heard += data
        if not data or len(self._heard) > request.MAX_REQUEST:
            self.close()
            return
        mode, rest = self._heard[0], self._heard[1:]
        if mode not in (request.DUMP, request.FOLLOW, request.DUMP_AND_FOLLOW):
            self._loop.expect(self._socket.fileno(), 0)
        elif not rest.startswith(request.MAGIC[: max(1, len(rest))]):
            self._desk.understood(self, self._socket, Request(mode), False)
        elif len(rest) > len(request.MAGIC) and rest.endswith(b"\n\n"):
            try:
                asked = request.decode(mode, rest[len(request.MAGIC) :])
            except ValueError:
                self.close()
                return
            self._desk.understood(self, self._socket, asked, True)


class Desk:
    """Accepts clients. `serve(socket, request, frames)` owns the socket, which the loop watches already; `frames`:
    the client knows them."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        notices: Notices,
        serve: Callable[[socket.socket, Request, bool], None],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._notices = notices
        self._serve = serve
        self._callers: dict[Caller, None] = {}
        self.served = 0
        """Clients that are being served: `serve` counts them up, who ends them down."""
        self.paused = False
        listener.setblocking(False)
        listener.listen(512)
        loop.watch(listener.fileno(), self)

    def ready(self, events: int) -> None:
        """Accept all that wait."""
        while self._accept():
            pass

    def resume(self) -> None:
        """After a pause: descriptors may have become free."""
        self.paused = False
        self._loop.watch(self._listener.fileno(), self)

    def close(self) -> None:
        if not self.paused:
            self._loop.release(self._listener.fileno())
        self._listener.close()
        for caller in list(self._callers):
            caller.close()

    def understood(self, caller: Caller, sock: socket.socket, asked: Request, frames: bool) -> None:
        del self._callers[caller]
        self._serve(sock, asked, frames)

    def lost(self, caller: Caller) -> None:
        del self._callers[caller]

    def _accept(self) -> bool:
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            # Out of descriptors: it would be ready again at once, and the loop would spin.
            self._notices.say(f"can't accept readers: {error.strerror}")
            self._loop.release(self._listener.fileno())
            self.paused = True
            return False
        if len(self._callers) + self.served >= CONNECTIONS:
            if not self._callers:
                self._notices.say(f"a reader was turned away: {CONNECTIONS} are being served")
                accepted.close()
                return True
            next(iter(self._callers)).close()  # who has waited the longest without saying anything
        self._callers[Caller(self._loop, accepted, self)] = None
        return True
