"""Follow a request's stream to its result, showing what comes: for everything that takes longer than an answer."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Protocol, TypeVar

from boatyard.cli.console import Console
from boatyard.cli.render.renderer import Renderer
from boatyard.client.descriptors import DescriptorChannel
from boatyard.client.documents.envelope import StartedEvent, StreamEvent, TerminalEvent
from boatyard.client.offering import Offering
from boatyard.errors import CancelledBuildError

A_co = TypeVar("A_co", covariant=True)

SIGNAL_INTERVAL = 0.25
"""Nothing waits longer than this many seconds at a time: a signal that comes just before a system call starts to wait
does not interrupt it, and Python's handler runs only when it returns.
"""


class Followed(Protocol[A_co]):
    """A request's stream, or several as one."""

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def poll(self, timeout: float | None) -> Sequence[StreamEvent] | None: ...
    @property
    def result(self) -> A_co: ...
    def fileno(self) -> int: ...


def follow(
    console: Console,
    stream: Followed[A_co],
    renderer: Renderer,
    *,
    cancel: Callable[[], object] | None = None,
    channel: Offering | None = None,
) -> A_co:
    """Ctrl-C once asks for the end (`cancel`) and goes on showing until that has come; twice leaves at once. Raises
    what the request raises; the renderer is closed then."""
    gc.enable()  # off while programs are loaded; a build may last
    try:
        with stream, _suspendable(renderer):
            try:
                result = _shown(console, stream, renderer, channel)
            except KeyboardInterrupt:
                if cancel is None:
                    raise
                result = _cancelled(console, stream, renderer, cancel)
    except BaseException:
        renderer.close(failed=True)
        raise
    renderer.close()
    return result


def _cancelled(console: Console, stream: Followed[A_co], renderer: Renderer, cancel: Callable[[], object]) -> A_co:
    """What the request came to, if it was quicker than its cancelling."""
    try:
        cancel()
        return _shown(console, stream, renderer, None)
    except CancelledBuildError:
        raise CancelledBuildError("ended by Ctrl-C") from None


def _shown(console: Console, stream: Followed[A_co], renderer: Renderer, channel: Offering | None) -> A_co:
    while (events := stream.poll(renderer.interval or SIGNAL_INTERVAL)) is not None:
        for event in events:
            if isinstance(event, TerminalEvent):
                _attach(console, event, stream, renderer, channel)
            elif not isinstance(event, StartedEvent):
                renderer.event(event)
        renderer.tick()
    return stream.result


def _attach(
    console: Console,
    event: TerminalEvent,
    stream: Followed[A_co],
    renderer: Renderer,
    channel: Offering | None,
) -> None:
    if not isinstance(channel, DescriptorChannel):
        raise CancelledBuildError("a terminal came that nobody waits for")
    pause(renderer)
    for line in renderer.last_failure():
        console.err(line + "\n")
    console.err("This shell is in the state of the failed step; the build ends with it.\n")
    for later in joined(event, stream, channel):
        if not isinstance(later, TerminalEvent | StartedEvent):
            renderer.event(later)


def joined(event: TerminalEvent, stream: Followed[A_co], channel: DescriptorChannel) -> Sequence[StreamEvent]:
    """Join this terminal to the one that comes, until that ends. What the stream told meanwhile is returned."""
    from boatyard.cli import terminal

    (master,) = channel.receive(event.token)
    told: list[StreamEvent] = []

    def ended() -> bool:
        while (events := stream.poll(0)) is not None:
            if not events:
                return False
            told.extend(events)
        return True

    terminal.relay(master, watch=stream.fileno(), ended=ended)
    return told


def pause(renderer: Renderer) -> None:
    """Leave the terminal to somebody else for a while."""
    give_back = getattr(renderer, "pause", None)
    if give_back is not None:
        give_back()


@contextmanager
def _suspendable(renderer: Renderer) -> Iterator[None]:
    """Ctrl-Z stops this process with the terminal in order; `fg` goes on drawing."""
    if getattr(renderer, "pause", None) is None:
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        pause(renderer)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop)

    before = signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
