"""One run of a bundle: a container or a plain process, from nothing to nothing left.

Both are driven by what happens to processes; nothing here waits. Output is handed to memlogd before there is
anything that could write.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from boatyard.errors import BoatyardError, StorageError
from boatyard.logs.boot import preparation
from boatyard.logs.boot.bundle import Bundle
from boatyard.logs.boot.children import Children
from boatyard.logs.boot.images import Images
from boatyard.runtime import failure
from boatyard.runtime.bundle import BundleRuntime
from boatyard.runtime.spawn import PYTHONS_SIGNALS, spawn

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""
NOT_STARTED = 125
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Outputs(Protocol):
    """Where a source's lines go."""

    def open(self, name: str) -> int:
        """A descriptor to write to, for the caller to close. UnavailableError."""

    def release(self, *names: str) -> None:
        """Nobody writes to these any more."""


class Job(Protocol):
    """`done` once it has ended and nothing is left of it; `code` is its exit code then, and `error` says why it could
    not be started (or cleaned up)."""

    code: int
    error: str

    @property
    def done(self) -> bool: ...
    def begin(self) -> None: ...
    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and kill it when it doesn't. `done` will be true soon."""


class PlainJob:
    """A process of this machine's own."""

    def __init__(self, bundle: Bundle, children: Children, outputs: Outputs, grace: float = GRACE) -> None:
        self._bundle = bundle
        self._grace = grace
        self._children = children
        self._outputs = outputs
        self._pid = 0
        self.code = 0
        self.error = ""
        self.done = False

    def begin(self) -> None:
        names = f"{self._bundle.source}.out", self._bundle.source
        plain = self._bundle.plain
        opened: list[int] = []
        try:
            preparation.prepare_files(self._bundle.runtime, "/")
            for name in names:
                opened.append(self._outputs.open(name))
            self._pid = _start(plain, opened[0], opened[1])
        except BoatyardError as error:
            self._ended(NOT_STARTED, error.message)
            return
        except OSError as error:
            self._ended(NOT_STARTED, f"{plain['command'][0]} can't be started: {error.strerror}")
            return
        finally:
            for descriptor in opened:
                os.close(descriptor)
        self._children.watch(self._pid, self._ended)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.done or not self._pid:
            return
        self._signal(number)
        if number != signal.SIGKILL:
            self._children.after(self._grace, lambda: self._signal(signal.SIGKILL))

    def _signal(self, number: int) -> None:
        if not self.done:
            os.killpg(self._pid, number)

    def _ended(self, code: int, error: str = "") -> None:
        self.code, self.error, self.done = code, error, True
        self._outputs.release(f"{self._bundle.source}.out", self._bundle.source)


def _start(plain: Mapping[str, Any], out: int, error: int) -> int:
    """In a session of its own. What goes wrong before the program runs is an OSError here."""
    readable, writable = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (out, 1), (error, 2)):
                os.dup2(source, target)
            for number in PYTHONS_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.chdir(plain["cwd"])
            os.setgroups(plain["groups"])
            os.setgid(plain["gid"])
            os.setuid(plain["uid"])
            environment = dict(entry.partition("=")[::2] for entry in plain["env"])
            os.execvpe(plain["command"][0], list(plain["command"]), {**_ENVIRONMENT, **environment})
        except OSError as failed:
            os.write(writable, str(failed.errno).encode())
        finally:
            os._exit(127)
    os.close(writable)
    said = os.read(readable, 16)
    os.close(readable)
    if said:
        os.waitpid(pid, 0)
        raise OSError(int(said), os.strerror(int(said)))
    return pid


class ContainerJob:
    """A bundle, created, prepared, started, waited for, deleted. `directory` is this run's own, and `id` the
    container's."""

    def __init__(
        self,
        bundle: Bundle,
        id: str,
        directory: Path,
        children: Children,
        outputs: Outputs,
        runtime: BundleRuntime,
        images: Images | None,
        grace: float = GRACE,
    ) -> None:
        self._bundle = bundle
        self._grace = grace
        self._id = id
        self._directory = directory
        self._children = children
        self._outputs = outputs
        self._runtime = runtime
        self._images = images
        self._undo = ExitStack()
        self._pid = 0
        self._created = self._starting = self._exited = False
        self._stopping = 0
        self.code = 0
        self.error = ""
        self.done = False

    def begin(self) -> None:
        opened: list[int] = []
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._undo.callback(shutil.rmtree, self._directory, ignore_errors=True)
            root = self._root()
            mounts = preparation.prepare_files(self._bundle.runtime, root)
            self._undo.callback(preparation.undo, mounts)
            config = {**self._bundle.config, "root": {**self._bundle.config.get("root", {}), "path": root}}
            (self._directory / "config.json").write_text(json.dumps(config))
            for name in (f"{self._bundle.source}.out", self._bundle.source):
                opened.append(self._outputs.open(name))
            self._undo.callback(self._outputs.release, f"{self._bundle.source}.out", self._bundle.source)
            command = self._runtime.create(self._id, self._directory, self._pid_file, self._log("create"))
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            opened.append(null)
            pid = spawn(command, _ENVIRONMENT, (null, opened[0], opened[1]))
        except (BoatyardError, OSError) as error:
            self._fail(_words(error))
            return
        finally:
            for descriptor in opened:
                os.close(descriptor)
        self._children.watch(pid, self._created_with)

    def stop(self, number: int = signal.SIGTERM) -> None:
        self._stopping = max(self._stopping, number)
        if self._pid and not self.done:
            self._signal(number)
            if number != signal.SIGKILL:
                self._children.after(self._grace, lambda: self._signal(signal.SIGKILL))

    def _root(self) -> str:
        if not self._bundle.image:
            return self._bundle.root
        if self._images is None:
            raise StorageError(f"there is no place for the image {self._bundle.image}")
        return str(self._undo.enter_context(self._images.mounted(self._bundle.image)))

    @property
    def _pid_file(self) -> Path:
        return self._directory / "pid"

    def _log(self, step: str) -> Path:
        return self._directory / f"{step}.log"

    def _created_with(self, code: int) -> None:
        self._created = True
        if code:
            self._fail(self._runtimes_words("create", code))
            return
        try:
            self._pid = int(self._pid_file.read_text())
            self._children.watch(self._pid, self._ended)
            preparation.prepare_process(self._bundle.runtime, self._pid)
        except (BoatyardError, OSError, ValueError) as error:
            self._fail(_words(error))
            return
        if self._stopping:
            self._signal(signal.SIGKILL)
            return
        self._starting = True
        self._run(self._runtime.start(self._id, self._log("start")), self._started_with)

    def _started_with(self, code: int) -> None:
        self._starting = False
        if self._exited:
            self._delete()
        elif code:
            self._fail(self._runtimes_words("start", code))
        elif self._stopping:
            self.stop(self._stopping)

    def _ended(self, code: int) -> None:
        if self.error:
            return
        self.code, self._exited = code, True
        if not self._starting:  # its runtime may still be at it when it has ended already
            self._delete()

    def _fail(self, words: str) -> None:
        """It could not be started. What there is of it goes."""
        if self.error:
            return
        self.code, self.error = NOT_STARTED, words
        if self._created:
            self._delete()
        else:
            self._finish(0)

    def _delete(self) -> None:
        self._run(self._runtime.delete(self._id, self._log("delete")), self._finish)

    def _finish(self, _: int) -> None:
        try:
            self._undo.close()
        except (BoatyardError, OSError) as error:
            self.error = self.error or f"it can't be cleaned up: {_words(error)}"
        self.done = True

    def _run(self, command: list[str], ended: Callable[[int], None]) -> None:
        """One of the runtime's steps, which says nothing but in its log."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._children.watch(spawn(command, _ENVIRONMENT, (null, null, null)), ended)
        except OSError as error:
            self.error = self.error or _words(error)
            self._finish(0)
        finally:
            os.close(null)

    def _signal(self, number: int) -> None:
        if not self.done and self._pid:
            try:
                os.kill(self._pid, number)
            except ProcessLookupError:
                pass

    def _runtimes_words(self, step: str, code: int) -> str:
        try:
            message = failure.last_error(self._log(step).read_bytes())
        except FileNotFoundError:
            message = ""
        program = str((self._bundle.config.get("process", {}).get("args") or ["?"])[0])
        return failure.explain(message, program).message if message else f"`{step}` ended with {code}"


def _words(error: Exception) -> str:
    if isinstance(error, BoatyardError):
        return error.message
    if isinstance(error, OSError):
        return f"{error.filename or 'it'}: {error.strerror}"
    return str(error)
