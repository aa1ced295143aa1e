"""The boot, from its plan to its end.

1. `onboot`, one after the other, each to its end. What fails is told, and the next one runs, as LinuxKit has it.
2. `services`, all at once; those whose restart policy says so are started again.
3. When a signal comes (TERM, INT, PWR), or when no service is left: services are asked to end, then made to.
4. `onshutdown`, one after the other.

Everything that runs is a source of memlogd's, which starts before, and ends when all has been read.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from boatyard.errors import BoatyardError
from boatyard.logs.boot import volumes
from boatyard.logs.boot.bundle import Bundle, Plan
from boatyard.logs.boot.children import Children
from boatyard.logs.boot.images import Images
from boatyard.logs.boot.job import GRACE, ContainerJob, Job, Outputs, PlainJob
from boatyard.logs.handover import open_source
from boatyard.logs.keeper import Keeper
from boatyard.runtime import bundle as bundles
from boatyard.runtime.bundle import BundleRuntime
from boatyard.runtime.spawn import spawn_with

FIRST_PAUSE, LAST_PAUSE = 0.1, 60.0
"""Seconds before a service is started again: doubled each time, and forgotten after one that ran for a while."""
LONG_ENOUGH = 10.0
_DRAIN = 5.0
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGPWR, signal.SIGUSR1, signal.SIGUSR2)
OWN_NAME = "init"


class Supervisor:
    """One per process. `directory` is for what exists while it runs; `outputs`: where what is
    written goes; `keeper`: looks after a memlogd of ours, which may be the same.
    `companions`: programs that have to do with logs, which run beside everything, from first to last."""

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        children: Children,
        *,
        keeper: Keeper | None,
        outputs: Outputs,
        images: Images | None,
        companions: Sequence[Sequence[str]] = (),
        runtime: str = "auto",
        grace: float = GRACE,
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._children = children
        self._keeper = keeper
        self._outputs = outputs
        self._images = images
        self._companions = {name: tuple(command) for name, *command in companions}
        self._running: dict[str, int] = {}
        self._written: list[int] = []
        """Pipes by which a logwrite says that it has written all there was; closed when it dies."""
        self._choice = runtime
        self._grace = grace
        self._runtime: BundleRuntime | None = None
        self._say_to = say
        self._own = -1
        self._serial = 0
        self._ending = self._hasty = False
        """A signal said so; a second one, that it may be unkind."""
        self.failed = False
        """Something of `onboot` or `onshutdown` didn't end well."""

    def run(self) -> int:
        """Everything. 1 when something failed, else 0."""
        with ExitStack() as stack:
            stack.callback(self._stop_logs)
            self._start_logs()
            for warning in self._plan.warnings:
                self.say(warning)
            stack.enter_context(volumes.mounted(self._plan.volumes, self._images))
            self._one_after_the_other("onboot", self._plan.onboot)
            self._services()
            self._ending = self._hasty = False
            self._one_after_the_other("onshutdown", self._plan.onshutdown)
        return int(self.failed)

    def say(self, text: str) -> None:
        """To whoever watches, and as a source of our own."""
        self._say_to(text)
        if self._own >= 0:
            try:
                os.write(self._own, text.encode("utf-8", "surrogateescape") + b"\n")
            except OSError:
                pass  # memlogd is being started anew and its pipe is full: it was said to whoever watches

    def _one_after_the_other(self, section: str, items: Sequence[Bundle]) -> None:
        for item in items:
            if self._told_to_end():
                return
            self.say(f"{section} {item.label}")
            job = self._job(item)
            job.begin()
            while not job.done:
                self._round()
                if self._told_to_end():
                    job.stop(self.how_to_end)
            self._tell(section, item, job)
            self.failed = self.failed or bool(job.code or job.error)

    def _services(self) -> None:
        running = [_Service(item, self) for item in self._plan.services]
        for service in running:
            if not self._told_to_end():
                service.start()
        while not self._told_to_end() and _alive(running):
            self._round()
        asked = 0.0
        while _alive(running):
            if time.monotonic() - asked > 1.0:
                asked = time.monotonic()
                for service in running:
                    service.end()
            self._round(0.5)

    def _round(self, longest: float = 1.0) -> None:
        self._children.round(longest)
        if self._keeper is not None:
            self._keeper.tidy()
        while self._children.signals:
            number = self._children.signals.pop(0)
            if number in _ENDING:
                self.say(f"{signal.Signals(number).name} came: {'ending at once' if self._ending else 'ending'}")
                self._ending, self._hasty = True, self._ending

    def make_job(self, item: Bundle) -> Job:
        return self._job(item)

    def _job(self, item: Bundle) -> Job:
        if item.plain:
            return PlainJob(item, self._children, self._outputs, self._grace)
        if self._runtime is None:
            try:
                self._runtime = bundles.choose(self._directory / "state", self._choice)
            except BoatyardError as error:
                return _Failed(error.message)
            self.say(f"containers are run with {self._runtime.program.path}")
        self._serial += 1
        id = f"boot-{os.getpid()}-{self._serial}"
        return ContainerJob(
            item,
            id,
            self._directory / "run" / id,
            self._children,
            self._outputs,
            self._runtime,
            self._images,
            self._grace,
        )

    def _tell(self, section: str, item: Bundle, job: Job) -> None:
        if job.error:
            self.say(f"{section} {item.label}: {job.error}")
        elif job.code:
            self.say(f"{section} {item.label} ended with {job.code}")

    def tell_service(self, item: Bundle, job: Job, again: float | None) -> None:
        what = job.error or f"ended with {job.code}"
        self.say(f"service {item.label}: {what}" + (f"; again in {again:g} s" if again is not None else ""))

    @property
    def ending(self) -> bool:
        return self._ending

    @property
    def how_to_end(self) -> int:
        return signal.SIGKILL if self._hasty else signal.SIGTERM

    def _told_to_end(self) -> bool:
        return self._ending

    @property
    def children(self) -> Children:
        return self._children

    # Logs

    def _start_logs(self) -> None:
        if self._keeper is not None:
            self._children.watch(self._keeper.start(), self._memlogd_ended)
        if not isinstance(self._outputs, OwnOutput):
            self._own = self._outputs.open(OWN_NAME)
            os.set_blocking(self._own, False)
        for name in self._companions:
            self._start_companion(name)

    def _memlogd_ended(self, code: int) -> None:
        self._say_to(f"memlogd ended with {code}; starting it anew")
        self._children.after(FIRST_PAUSE, self._start_memlogd_anew)

    def _start_memlogd_anew(self) -> None:
        if self._keeper is None:
            return
        try:
            self._children.watch(self._keeper.start(), self._memlogd_ended)
        except BoatyardError as error:
            self._say_to(error.message)

    def _start_companion(self, name: str) -> None:
        command = list(self._companions[name])
        if name == "logwrite":
            readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            pid = spawn_with([*command, "-ready-fd=3"], (writable,))
            os.close(writable)
            self._written.append(readable)
        else:
            pid = spawn_with(command, ())
        self._running[name] = pid
        self._children.watch(pid, lambda code: self._companion_ended(name, code))

    def _companion_ended(self, name: str, code: int) -> None:
        del self._running[name]
        if name in self._companions:
            self.say(f"{name} ended with {code}; starting it anew")
            self._children.after(1.0, lambda: self._start_companion(name))

    def _stop_logs(self) -> None:
        """memlogd ends when it has read what there is, and its readers when it has handed that on."""
        if self._own >= 0:
            os.close(self._own)
            self._own = -1
            self._outputs.release(OWN_NAME)
        keeper = self._keeper
        self._until(lambda: keeper is None or not keeper.unread)
        # A boot may be over before logwrite has begun.
        self._until(lambda: all(map(_has_said, self._written)))
        for descriptor in self._written:
            os.close(descriptor)
        if keeper is not None:
            ended: list[int] = []
            self._children.watch(keeper.pid, ended.append)
            self._end(keeper.pid)
            self._until(lambda: bool(ended))
        self._companions.clear()
        for pid in self._running.values():
            self._end(pid)
        self._until(lambda: not self._running)
        if keeper is not None:
            keeper.close()

    def _until(self, holds: Callable[[], bool]) -> None:
        """Wait for it, but not for ever."""
        deadline = time.monotonic() + _DRAIN
        while not holds() and time.monotonic() < deadline:
            self._children.round(0.02)

    def _end(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


class _Service:
    """A service over all its runs."""

    def __init__(self, item: Bundle, supervisor: Supervisor) -> None:
        self._item = item
        self._supervisor = supervisor
        self._pause = FIRST_PAUSE
        self._failures = 0
        self._started = 0.0
        self._waiting = False
        self._job: Job | None = None

    @property
    def alive(self) -> bool:
        """It runs, or will be started again."""
        if self._job is not None and self._job.done:
            self._ended(self._job)
        return self._job is not None or self._waiting

    def start(self) -> None:
        self._waiting = False
        if self._supervisor.ending:
            return
        self._supervisor.say(f"service {self._item.label}")
        self._started = time.monotonic()
        self._job = self._supervisor.make_job(self._item)
        self._job.begin()

    def end(self) -> None:
        self._waiting = False
        if self._job is not None:
            self._job.stop(self._supervisor.how_to_end)

    def _ended(self, job: Job) -> None:
        self._job = None
        failed = bool(job.code or job.error)
        self._failures = self._failures + 1 if failed else 0
        again = not self._supervisor.ending and self._wants_more(failed)
        if time.monotonic() - self._started >= LONG_ENOUGH:
            self._pause, self._failures = FIRST_PAUSE, int(failed)
        self._supervisor.tell_service(self._item, job, self._pause if again else None)
        if again:
            self._waiting = True
            self._supervisor.children.after(self._pause, self.start)
            self._pause = min(self._pause * 2, LAST_PAUSE)

    def _wants_more(self, failed: bool) -> bool:
        policy, _, most = self._item.restart.partition(":")
        if policy == "on-failure":
            return failed and (not most or self._failures <= int(most))
        return policy in ("always", "unless-stopped")


def _has_said(pipe: int) -> bool:
    """Something came, or nothing can come any more."""
    return bool(select.select([pipe], [], [], 0)[0])


def _alive(services: Sequence[_Service]) -> bool:
    """Whether any of them is; each is looked at, because that is when one is started again."""
    looked_at = [service.alive for service in services]
    return any(looked_at)


class _Failed:
    """What could not even be tried."""

    def __init__(self, error: str) -> None:
        self.code = 1
        self.error = error
        self.done = True

    def begin(self) -> None: ...

    def stop(self, number: int = signal.SIGTERM) -> None: ...


class OwnOutput:
    """Output goes where ours goes: to a machine's console."""

    def open(self, name: str) -> int:
        return fcntl.fcntl(sys.stderr.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)

    def release(self, *names: str) -> None: ...


class JoinedOutput:
    """Output goes to a memlogd that somebody else looks after."""

    def __init__(self, log_socket: str) -> None:
        self._path = log_socket

    def open(self, name: str) -> int:
        return open_source(self._path, name)

    def release(self, *names: str) -> None: ...
