"""`boatd`: flags, and the steps of starting that must happen in this order, before any thread exists.

Exit codes: 0 after an orderly stop, 1 for an error, 2 for wrong flags, 4 when another daemon holds the root.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from boatyard import __version__
from boatyard.client.documents.envelope import ErrorAnswer
from boatyard.client.failure import describe
from boatyard.client.places import Card, places
from boatyard.daemon import config as configuration
from boatyard.daemon import lock, logs
from boatyard.daemon.config import Config
from boatyard.errors import BoatyardError, ConflictError

log = logging.getLogger(__name__)

AUTOSTART_PATIENCE = 8.0
"""Seconds to wait for a stopping daemon to let go of the root."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="boatd")
@click.option("--config", "file", metavar="FILE", default="", help="Configuration file (TOML).")
@click.option("--root", metavar="DIR", help="Where images, cache and history are kept.")
@click.option("--run", metavar="DIR", help="Where sockets are made.")
@click.option(
    "--listen",
    metavar="ADDRESS",
    multiple=True,
    help="unix://PATH, tcp://HOST:PORT or vsock://CID:PORT to listen at; may be repeated.",
)
@click.option("--group", metavar="NAME", help="Group whose members may use the unix sockets.")
@click.option("--mode", metavar="OCTAL", help="Mode of the unix sockets, such as 0660.")
@click.option("--tlscacert", metavar="FILE", help="Authority whose certificates TCP clients need.")
@click.option("--tlscert", metavar="FILE", help="Certificate for TCP.")
@click.option("--tlskey", metavar="FILE", help="Key of that certificate.")
@click.option(
    "--allow-unauthenticated",
    is_flag=True,
    default=None,
    help="Let TCP clients in that prove nothing about themselves.",
)
@click.option("--idle-timeout", metavar="DURATION", help="Stop after so long without work (10m, 0 for never).")
@click.option("--max-parallelism", type=click.IntRange(min=0), help="Steps that run at once; 0 chooses.")
@click.option("--network", metavar="MODE", help="Default network of steps: auto, bridge, host, none.")
@click.option("--runtime", metavar="NAME", help="OCI runtime: auto, crun, runc or a path.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="text or json.")
@click.option("--debug", is_flag=True, help="The same as --log-level=debug.")
@click.option("--detach", is_flag=True, help="Go to the background at once.")
@click.option("--autostarted", is_flag=True, hidden=True)
@click.option("--ready-fd", type=int, default=-1, hidden=True)
def command(
    file: str, listen: tuple[str, ...], debug: bool, detach: bool, autostarted: bool, ready_fd: int, **flags: Any
) -> None:
    """Boatyard's daemon: builds, stores and runs images for `boat` and other clients."""
    if detach:
        _detach()
    readiness = _Readiness(ready_fd)
    try:
        config = configuration.load(
            places(os.environ, os.geteuid()),
            os.environ,
            _given(flags, listen, debug),
            file=file,
            autostarted=autostarted,
        )
        run(config, os.environ, autostarted=autostarted, on_ready=readiness.ready)
    except BoatyardError as error:
        readiness.failed(error)
        print(f"boatd: {error.message}" + (f"\n  {error.hint}" if error.hint else ""), file=sys.stderr)
        sys.exit(4 if isinstance(error, ConflictError) else 1)


def run(config: Config, environ: Mapping[str, str], *, autostarted: bool, on_ready: Callable[[], None]) -> None:
    """Everything between configuration and exit. To be called in the main thread of a process without others."""
    # Nothing of what is loaded now ever goes: looking for it takes a tenth of the time. The server enables it again.
    gc.disable()
    if os.geteuid() == 0:
        from boatyard.runtime.isolation import enter_private_mount_namespace

        enter_private_mount_namespace()
    logs.configure(config.log.level, config.log.format, sys.stderr)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    _raise_descriptor_limit()
    os.umask(0o022)
    os.chdir("/")
    card = Card(
        pid=os.getpid(),
        version=__version__,
        started=time.time(),
        root=config.root,
        autostarted=autostarted,
        log=_standard_error() if autostarted else "",
    )
    with lock.hold(config.root, card, patience=AUTOSTART_PATIENCE if autostarted else 0.0):
        asked = _Asked()
        signal.signal(signal.SIGTERM, asked)
        # Only now: a second daemon should be refused without loading all of this.
        from boatyard.daemon import memlogd, server, sockets

        with memlogd.beside(config) as kept:
            if kept is not None:
                logs.add_copy(kept.own)
            streams, packets = sockets.open_all(config, environ, os.getpid())
            watch = kept.watch if kept is not None else None
            asyncio.run(
                server.serve(config, card, streams, packets, environ, on_ready, asked=lambda: asked.stop, beside=watch)
            )


def main() -> None:
    command(prog_name="boatd")


class _Asked:
    """Remembers a signal to stop that comes while the daemon is being loaded, before the event loop hears signals."""

    def __init__(self) -> None:
        self.stop = False

    def __call__(self, number: int, frame: object) -> None:
        self.stop = True


class _Readiness:
    """Tells whoever started this daemon how that went, through a pipe (`client.autostart`)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)

    def ready(self) -> None:
        self._say(b"ready\n")

    def failed(self, error: BoatyardError) -> None:
        import msgspec

        self._say(msgspec.json.encode(ErrorAnswer(error=describe(error))))

    def _say(self, data: bytes) -> None:
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, data)
        except BrokenPipeError:
            log.debug("the client that started this daemon didn't wait for it")
        os.close(self._descriptor)
        self._descriptor = -1


def _detach() -> None:
    """Before anything else is loaded: the child of a fork shares nothing that matters, and starts in no time."""
    if os.fork():
        os._exit(0)
    os.setsid()


def _given(flags: Mapping[str, Any], listen: tuple[str, ...], debug: bool) -> dict[tuple[str, ...], Any]:
    """The flags that were given, under the configuration's keys."""
    keys: dict[str, tuple[str, ...]] = {
        "root": ("root",),
        "run": ("run",),
        "group": ("group",),
        "mode": ("mode",),
        "tlscacert": ("tls", "ca"),
        "tlscert": ("tls", "cert"),
        "tlskey": ("tls", "key"),
        "allow_unauthenticated": ("tls", "allow_unauthenticated"),
        "idle_timeout": ("idle_timeout",),
        "max_parallelism": ("max_parallelism",),
        "network": ("network", "mode"),
        "runtime": ("runtime", "name"),
        "log_level": ("log", "level"),
        "log_format": ("log", "format"),
    }
    given = {keys[name]: value for name, value in flags.items() if value is not None}
    if debug:
        given["log", "level"] = "debug"
    if listen:
        given[("listen",)] = list(listen)
    return given


def _raise_descriptor_limit() -> None:
    """A hundred builds at once hold thousands of descriptors; the soft limit of 1024 is for programs that select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _standard_error() -> str:
    """Where the client that started this daemon sent its output."""
    try:
        return os.readlink("/proc/self/fd/2")
    except OSError:
        return ""
