"""`boat init`: the two phases of a boot, on this host, in a container, or as the first process of a machine."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from boatyard.cli.boot import images as provided
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.errors import ConflictError, InvalidError, NotFoundError, StorageError
from boatyard.logs.boot import bundle, document, planning
from boatyard.logs.boot.bundle import Plan
from boatyard.logs.boot.children import Children
from boatyard.logs.boot.configuration import ImageFacts
from boatyard.logs.boot.document import Definition
from boatyard.logs.boot.images import Images
from boatyard.logs.boot.job import GRACE, Outputs
from boatyard.logs.boot.supervisor import JoinedOutput, OwnOutput, Supervisor
from boatyard.logs.keeper import Keeper
from boatyard.logs.places import LOG_SOCKET, QUERY_SOCKET
from boatyard.runtime import capabilities
from boatyard.runtime.spawn import spawn_with

STATE = "/var/lib/boatyard/init"
_REBOOT = {"poweroff": 0x4321FEDC, "reboot": 0x01234567}


@click.command("run", context_settings=SETTINGS)
@click.argument("what", metavar="SPEC.yml|DIRECTORY")
@click.option("--state", default=STATE, metavar="DIR", help=f"Where images and volumes are kept ({STATE}).")
@click.option("--images", "archives", multiple=True, metavar="FILE", help="An archive with images; may be repeated.")
@click.option("--fresh", is_flag=True, help="Ask the daemon for images again that are kept already.")
@click.option(
    "--files", default="", metavar="DIR", help="Write the section `files` below DIR (/ on a machine of its own)."
)
@click.option("--runtime", default="auto", metavar="NAME", help="OCI runtime: auto, crun, runc or a path.")
@click.option("--socket-log", default=LOG_SOCKET, metavar="PATH", help=f"memlogd's log socket ({LOG_SOCKET}).")
@click.option("--socket-query", default=QUERY_SOCKET, metavar="PATH", help=f"memlogd's query socket ({QUERY_SOCKET}).")
@click.option("--memlogd", "flags", multiple=True, metavar="FLAG", help="A flag for memlogd, as -max-lines=20000.")
@click.option("--log-dir", default="", metavar="DIR", help="Write logs to files there, from the first line on.")
@click.option(
    "--grace", type=float, default=GRACE, metavar="SECONDS", help="Between SIGTERM and SIGKILL at the end (10)."
)
@click.option("--kmsg", is_flag=True, help="Take the kernel's messages, too.")
@click.option("--console", "to_console", is_flag=True, help="Let everything write here, and nothing to memlogd.")
@click.option(
    "--then", type=click.Choice(["exit", "poweroff", "reboot"]), default="exit", help="What comes last (default: exit)."
)
@click.pass_obj
def run(
    console: Console,
    what: str,
    state: str,
    archives: tuple[str, ...],
    fresh: bool,
    files: str,
    runtime: str,
    socket_log: str,
    socket_query: str,
    flags: tuple[str, ...],
    log_dir: str,
    grace: float,
    kmsg: bool,
    to_console: bool,
    then: str,
) -> int:
    """Run `onboot` items one after the other, then `services` at once, and `onshutdown` at the end.

    What to run is a LinuxKit image definition, or a directory of bundles as LinuxKit lays them out (/containers). Each
    item is a container of its image, or a plain process if it has none; its output goes to memlogd from the first
    instruction on. SIGTERM and SIGINT end it in order. The exit code is 1 when something of `onboot` or `onshutdown`
    failed.
    """
    _only_root()
    with ExitStack() as stack:
        images, plan = _planned(console, what, Path(state), archives, fresh, files, stack)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="boat-init-", dir=_run_directory())))
        children = Children()
        keeper, outputs = _logs(console, socket_log, socket_query, flags, to_console=to_console or _asked_by_kernel())
        supervisor = Supervisor(
            plan,
            directory,
            children,
            keeper=keeper,
            outputs=outputs,
            images=images,
            companions=_companions(socket_log, socket_query, log_dir, kmsg=kmsg),
            runtime=runtime,
            grace=grace,
            say=lambda text: console.err(f"init: {text}\n"),
        )
        code = supervisor.run()
    if then != "exit":
        _end_machine(then)
    return code


@click.command("prepare", context_settings=SETTINGS)
@click.argument("what", metavar="SPEC.yml")
@click.option("--state", default=STATE, metavar="DIR", help=f"Where images and volumes are kept ({STATE}).")
@click.option("--images", "archives", multiple=True, metavar="FILE", help="An archive with images; may be repeated.")
@click.option("--fresh", is_flag=True, help="Ask the daemon for images again that are kept already.")
@click.pass_obj
def prepare(console: Console, what: str, state: str, archives: tuple[str, ...], fresh: bool) -> None:
    """Check a definition, and get its images: `boat init run` then needs neither a daemon nor an archive."""
    _only_root()
    with ExitStack() as stack:
        _, plan = _planned(console, what, Path(state), archives, fresh, "", stack)
    for warning in plan.warnings:
        console.err(f"{console.err_style.caution('warning:')} {warning}\n")
    for section in bundle.SECTIONS:
        for each in getattr(plan, section):
            console.out(f"{section} {each.label}: {each.image or 'a plain process'}\n")


def _planned(
    console: Console, what: str, state: Path, archives: tuple[str, ...], fresh: bool, files: str, stack: ExitStack
) -> tuple[Images | None, Plan]:
    path = Path(what)
    if path.is_dir():
        return None, bundle.read_linuxkit(path)
    definition = document.parse(_text(path))
    images: Images | None = None
    if definition.images:
        images = stack.enter_context(provided.opened(state / "images"))
        provided.provide(console, images, definition.images, archives, fresh=fresh)
    if definition.files:
        _write_files(console, definition, files, path.parent)

    def facts(name: str) -> ImageFacts:
        assert images is not None
        return images.facts(name)

    return images, planning.plan(definition, state, facts, capabilities.bounding())


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StorageError(f"can't read {path}: {reason}") from error


def _write_files(console: Console, definition: Definition, root: str, sources: Path) -> None:
    if not root:
        console.err(
            f"{console.err_style.caution('warning:')} the section `files` is not written: "
            f"--files DIR says below which directory\n"
        )
        return
    planning.write_files(definition, Path(root), sources)


def _logs(
    console: Console, log: str, query: str, flags: tuple[str, ...], *, to_console: bool
) -> tuple[Keeper | None, Outputs]:
    """A memlogd of our own, or the one that is there already."""
    if to_console:
        return None, OwnOutput()
    try:
        keeper = Keeper(log, query, flags or ("-fair", "-split"), spawn_with)
    except ConflictError:
        console.err(f"init: the memlogd that answers at {log} is used\n")
        return None, JoinedOutput(log)
    return keeper, keeper


def _asked_by_kernel() -> bool:
    """LinuxKit's way to let everything write to a machine's console."""
    return os.getpid() == 1 and "linuxkit.runc_console=1" in Path("/proc/cmdline").read_text().split()


def _companions(log: str, query: str, log_dir: str, *, kmsg: bool) -> list[tuple[str, ...]]:
    def program(name: str, *flags: str) -> tuple[str, ...]:
        return name, sys.executable, "-c", f"from boatyard.logs.{name}.main import main; main()", *flags

    companions = []
    if log_dir:
        companions.append(program("logwrite", "-socket", query, "-log-dir", log_dir))
    if kmsg:
        companions.append(program("kmsg", "-socket", log))
    return companions


def _run_directory() -> str:
    return "/run" if os.access("/run", os.W_OK) else tempfile.gettempdir()


def _only_root() -> None:
    if os.geteuid() != 0:
        raise InvalidError("a boot is run by root", hint="run it with sudo")


def _end_machine(how: str) -> None:
    """Everybody else ends, disks are written, and the machine is told; in a container, its first process ends."""
    import ctypes
    import signal
    import time

    if os.getpid() == 1:
        os.kill(-1, signal.SIGTERM)
        time.sleep(1.0)
        os.kill(-1, signal.SIGKILL)
    os.sync()
    ctypes.CDLL(None).reboot(_REBOOT[how])
