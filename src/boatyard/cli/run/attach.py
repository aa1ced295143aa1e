"""A process in a container joined to this command: its terminal or its three streams, its signals, its exit code."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from boatyard.cli.console import Console
from boatyard.cli.follow import SIGNAL_INTERVAL, joined
from boatyard.cli.render.lines import one_line
from boatyard.client.calls.call import StreamCall
from boatyard.client.calls.runs import signal_run
from boatyard.client.descriptors import DescriptorChannel
from boatyard.client.documents.envelope import StartedEvent, TerminalEvent
from boatyard.client.documents.runs import RunResult
from boatyard.client.sync import Client
from boatyard.errors import BoatyardError
from boatyard.progress import LogEvent, VertexEvent, WarningEvent

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def attached(console: Console, client: Client, channel: DescriptorChannel, call: StreamCall[RunResult]) -> int:
    """The process's exit code. Signals that reach this command go to the process; a third Ctrl-C leaves it to its fate
    (leaving the stream kills it)."""
    made: set[str] = set()
    with _Forwarder(client).installed() as forwarder, client.stream(call) as stream:
        while (events := stream.poll(SIGNAL_INTERVAL)) is not None:
            waiting = deque(events)
            while waiting:
                event = waiting.popleft()
                if isinstance(event, StartedEvent):
                    forwarder.started(event.id)
                elif isinstance(event, TerminalEvent):
                    waiting.extend(joined(event, stream, channel))
                elif isinstance(event, WarningEvent):
                    console.err(f"{console.err_style.caution('warning:')} {event.short}\n")
                elif isinstance(event, VertexEvent):
                    # A step that is made again because its result was removed: it takes time.
                    if event.started is not None and not event.cached and event.digest not in made:
                        made.add(event.digest)
                        console.err(f"making again: {one_line(event.name)}\n")
                elif isinstance(event, LogEvent):
                    (console.err if event.stream == 2 else console.out)(event.data)
        return stream.result.exit_code


class _Forwarder:
    """Signals of this process become signals of the container's, once there is one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._id = ""
        self._waiting: list[int] = []
        self._interrupts = 0

    @contextmanager
    def installed(self) -> Iterator[_Forwarder]:
        before = {number: signal.signal(number, self._forward) for number in FORWARDED}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def started(self, id: str) -> None:
        self._id = id
        waiting, self._waiting = self._waiting, []
        for number in waiting:
            self._send(number)

    def _forward(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 2 or not self._id:
                raise KeyboardInterrupt
        if self._id:
            self._send(number)
        else:
            self._waiting.append(number)

    def _send(self, number: int) -> None:
        try:
            self._client.call(signal_run(self._id, str(number)), timeout=2.0)
        except BoatyardError:
            # It has just ended, or the daemon has gone: the stream will say which.
            pass
