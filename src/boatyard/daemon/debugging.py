"""The daemon's insides over HTTP, for who keeps it running: an address of its own, served only when one is configured.

    /debug/vars        figures, as JSON
    /debug/tasks       what every task and thread is waiting for
    /debug/profile     where the event loop's thread spends its time: ?seconds=5
    /debug/memory      where memory was allocated while it was watched: ?seconds=5&top=30
    /debug/objects     what kinds of objects there are: ?top=30
    /debug/gc          collect garbage now

Go's names for these (/debug/pprof/goroutine, heap and profile) lead there, too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any
from urllib.parse import parse_qs

import msgspec

from boatyard.daemon import sockets
from boatyard.daemon.sockets import Bound
from boatyard.errors import BoatyardError, ConflictError, InvalidError, NotFoundError, StorageError
from boatyard.wire.asgi import Receive, Scope, Send

MAX_SECONDS = 60.0
SAMPLE_INTERVAL = 0.005

Facts = Callable[[], Mapping[str, Any]]


def open_socket(address: str) -> Bound:
    """A listening socket. `HOST:PORT` may do without `tcp://`. InvalidError, StorageError."""
    scheme, separator, place = address.partition("://")
    if not separator:
        scheme, place = "tcp", address
    if scheme == "unix":
        return sockets.bind(place, socket.SOCK_STREAM, "")
    host, colon, port = place.rpartition(":")
    if scheme != "tcp" or not colon or not port.isdecimal() or int(port) > 65535:
        raise InvalidError(
            f"{address!r} is no address to debug at", hint="write HOST:PORT, tcp://HOST:PORT or unix://PATH"
        )
    try:
        return Bound(socket.create_server((host.strip("[]") or "0.0.0.0", int(port))), "", owned=False)
    except OSError as error:
        raise StorageError(
            f"can't listen at {address}: {error.strerror}", hint="choose another debug address"
        ) from error


class Debugging:
    """An ASGI application. One per daemon. `facts` are figures that others know."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._watching = False
        self._thread = threading.get_ident()
        pages: dict[str, Callable[[Mapping[str, str]], Awaitable[str]]] = {
            "/debug/vars": self._vars,
            "/debug/tasks": self._tasks,
            "/debug/profile": self._profile,
            "/debug/memory": self._memory,
            "/debug/objects": self._objects,
            "/debug/gc": self._collect,
        }
        self._pages = {
            **pages,
            "/debug/pprof/goroutine": self._tasks,
            "/debug/pprof/heap": self._memory,
            "/debug/pprof/profile": self._profile,
        }
        self._index = "\n".join(pages) + "\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        status, form = 200, "text/plain; charset=utf-8"
        page = self._pages.get(scope["path"].rstrip("/"))
        try:
            if page is None and scope["path"].rstrip("/") not in ("", "/debug", "/debug/pprof"):
                raise NotFoundError(f"there is no page {scope['path']}")
            text = self._index if page is None else await page(query)
            if page == self._vars:
                form = "application/json"
        except BoatyardError as error:
            status = 404 if isinstance(error, NotFoundError) else 409 if isinstance(error, ConflictError) else 400
            text = f"{error.message}\n{error.hint or ''}\n"
        body = text.encode("utf-8", "replace")
        headers = [(b"content-type", form.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _vars(self, query: Mapping[str, str]) -> str:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        known = {
            "cmdline": sys.argv,
            "pid": os.getpid(),
            "memory": {"resident": _resident(), "peak": usage.ru_maxrss * 1024},
            "cpu": {"user": usage.ru_utime, "system": usage.ru_stime},
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
            "measuring": self._watching,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "gc": {"counts": gc.get_count(), "frozen": gc.get_freeze_count(), "generations": gc.get_stats()},
            **self._facts(),
        }
        return msgspec.json.encode(known).decode() + "\n"

    async def _tasks(self, query: Mapping[str, str]) -> str:
        lines = []
        for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
            lines += [f"task {task.get_name()}", *_waiting(task.get_coro()), ""]
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            lines += [f"thread {names.get(ident, ident)}", *_stack(frame), ""]
        return "\n".join(lines)

    async def _profile(self, query: Mapping[str, str]) -> str:
        """Stacks with how often they were met, outermost first: the form that flame graphs are made from."""
        seconds = _seconds(query)
        stacks: Counter[str] = Counter()

        def sample() -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                frame = sys._current_frames().get(self._thread)
                stacks[";".join(_functions(frame))] += 1
                time.sleep(SAMPLE_INTERVAL)

        with self._alone():
            await asyncio.to_thread(sample)
        return "".join(f"{stack} {count}\n" for stack, count in stacks.most_common())

    async def _memory(self, query: Mapping[str, str]) -> str:
        import tracemalloc

        seconds, top = _seconds(query), _top(query)
        with self._alone():
            tracemalloc.start()
            try:
                await asyncio.sleep(seconds)
                snapshot = tracemalloc.take_snapshot()
            finally:
                tracemalloc.stop()
        found = snapshot.filter_traces([tracemalloc.Filter(False, tracemalloc.__file__)]).statistics("lineno")
        total = sum(each.size for each in found)
        head = f"allocated in {seconds:g} seconds and still there: {total} bytes; the process holds {_resident()}\n"
        return head + "".join(f"{each}\n" for each in found[:top])

    async def _objects(self, query: Mapping[str, str]) -> str:
        gc.collect()
        gc.unfreeze()  # what was there at the start counts, too
        kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
        gc.freeze()
        return "".join(f"{count:>10} {kind}\n" for kind, count in kinds.most_common(_top(query)))

    async def _collect(self, query: Mapping[str, str]) -> str:
        return f"collected {gc.collect()} objects\n"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One measurement at a time: two would measure each other."""
        if self._watching:
            raise ConflictError("a measurement is running already", hint="wait for it to end")
        self._watching = True
        try:
            yield
        finally:
            self._watching = False


def _seconds(query: Mapping[str, str]) -> float:
    try:
        seconds = float(query.get("seconds", "5"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_SECONDS:
        raise InvalidError(f"seconds={query['seconds']!r} is out of range", hint=f"0 to {MAX_SECONDS:g}")
    return seconds


def _top(query: Mapping[str, str]) -> int:
    text = query.get("top", "30")
    return int(text) if text.isdecimal() and len(text) < 6 else 30


def _waiting(coroutine: Any) -> Iterator[str]:
    """Where a task stands, outermost first, down to what it waits for."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            yield f"  waits for {coroutine!r}"
            return
        yield f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)


def _stack(frame: FrameType) -> Iterator[str]:
    for summary in traceback.extract_stack(frame):
        yield f"  {summary.filename}:{summary.lineno} {summary.name}"


def _functions(frame: FrameType | None) -> list[str]:
    found = []
    while frame is not None:
        found.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return found[::-1]


def _resident() -> int:
    """Bytes in memory."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
