"""The event loop: descriptors, and who is called when one is ready."""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Handler(Protocol):
        def ready(self, events: int) -> None:
            """`events`: IN, OUT, ERR, HUP. Must not block, and must not raise."""


IN, OUT, ERR, HUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR, select.EPOLLHUP


class Loop:
    """Descriptors are closed after the round in which they are given up: until then another one can't get the number,
    and be taken for it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._regular: set[int] = set()
        """Files, which epoll doesn't take: they are always ready."""
        self._eager: dict[int, Handler] = {}
        """Those of them that somebody waits for."""
        self._closing: list[int] = []

    def watch(self, descriptor: int, handler: Handler, events: int = IN) -> None:
        """ERR and HUP are always told. OSError when it can't be watched."""
        try:
            self._epoll.register(descriptor, events)
        except PermissionError:
            self._regular.add(descriptor)
            if events:
                self._eager[descriptor] = handler
        self._handlers[descriptor] = handler

    def hand_on(self, descriptor: int, handler: Handler, events: int) -> None:
        """From now on, somebody else waits for it."""
        self._handlers[descriptor] = handler
        self.expect(descriptor, events)

    def expect(self, descriptor: int, events: int) -> None:
        """Wait for other events from now on."""
        if descriptor not in self._regular:
            self._epoll.modify(descriptor, events)
        elif events:
            self._eager[descriptor] = self._handlers[descriptor]
        else:
            self._eager.pop(descriptor, None)

    def release(self, descriptor: int) -> None:
        """Watch it no more."""
        if self._handlers.pop(descriptor, None) is None:
            return
        if descriptor in self._regular:
            self._regular.discard(descriptor)
            self._eager.pop(descriptor, None)
        else:
            self._epoll.unregister(descriptor)

    def close(self, descriptor: int) -> None:
        """Watch it no more, and close it at the end of this round."""
        self.release(descriptor)
        self._closing.append(descriptor)

    def round(self, timeout: float | None) -> None:
        """Wait until something is ready (or for `timeout` seconds), and call who waits for it."""
        for descriptor, events in self._epoll.poll(0 if self._eager else timeout):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler.ready(events)
        for handler in list(self._eager.values()):
            handler.ready(IN | OUT)
        self._close_given_up()

    def end(self) -> None:
        self._close_given_up()
        self._epoll.close()

    def _close_given_up(self) -> None:
        for descriptor in self._closing:
            os.close(descriptor)
        self._closing.clear()
