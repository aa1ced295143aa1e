"""What goes into a diagnostics archive. Each collector brings what it can and says what it can't; none ends the others.

None of them starts a daemon, or changes anything.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from boatyard import __version__
from boatyard.cli.diagnose.bundle import Bundle
from boatyard.cli.diagnose.redaction import redact_bytes, redact_document, redact_variables
from boatyard.client.calls import system
from boatyard.client.documents.envelope import API_VERSION
from boatyard.client.endpoint import Endpoint, UnixEndpoint
from boatyard.client.places import Places, read_card
from boatyard.client.sync import Client
from boatyard.errors import BoatyardError, UnavailableError
from boatyard.logs.continuity import Continuity
from boatyard.logs.events import Lines
from boatyard.logs.kmsg.device import Overwritten, open_device, records
from boatyard.logs.kmsg.main import decoded
from boatyard.logs.logread import output
from boatyard.logs.logwrite.filename import stem
from boatyard.logs.request import DUMP, Request
from boatyard.logs.stream import Stream

LARGEST = 8 << 20
"""Bytes of a file; of what is longer, the end."""
_FILES = 2000
_DOCTOR_SECONDS = 60.0
_ANSWER_SECONDS = 10.0
_DUMP_SECONDS = 30.0
_COMMANDS = (
    ("crun", "--version"),
    ("runc", "--version"),
    ("ip", "-brief", "address"),
    ("df", "-h"),
    ("mount",),
    ("nft", "--version"),
)
_HOST_FILES = (
    *("/etc/os-release", "/proc/version", "/proc/cmdline", "/proc/meminfo", "/proc/loadavg", "/proc/uptime"),
    *("/proc/self/mountinfo", "/proc/self/cgroup", "/proc/self/limits", "/proc/self/status", "/proc/filesystems"),
)
_VARIABLES = ("BOAT", "DOCKER", "BUILDKIT", "BUILDX", "CONTAINER", "XDG_", "PATH", "LANG", "LC_", "TERM", "TZ")


class Place:
    """Where to look: all that the environment and the flags say, in one value."""

    def __init__(
        self,
        places: Places,
        endpoint: Endpoint,
        environment: Mapping[str, str],
        query_sockets: tuple[str, ...],
        log_directories: tuple[str, ...],
    ) -> None:
        self.places = places
        self.endpoint = endpoint
        self.environment = environment
        self.query_sockets = query_sockets
        self.log_directories = log_directories


Collector = Callable[[Place, Bundle], str]
"""Returns what it brought, in words."""


def memlogds(place: Place, bundle: Bundle) -> str:
    """Every source of every memlogd."""
    sources = lines = 0
    for socket in place.query_sockets:
        directory = "memlogd" if socket == place.query_sockets[0] else f"memlogd-{place.query_sockets.index(socket)}"
        try:
            found = _dump(socket)
        except BoatyardError as error:
            bundle.lack(directory, f"lines that memlogd at {socket} has", error.message)
            continue
        for source, (count, pieces) in sorted(found.items()):
            name = source.decode("utf-8", "backslashreplace")
            _add(bundle, f"{directory}/{stem(source)}.log", f"source {name} of memlogd", b"".join(pieces))
            sources, lines = sources + 1, lines + count
    return f"{sources} source{_s(sources)}, {lines} line{_s(lines)}"


def log_files(place: Place, bundle: Bundle) -> str:
    """Files of logwrite, and the daemon's own log."""
    found = 0
    card = read_card(place.endpoint.path) if isinstance(place.endpoint, UnixEndpoint) else None
    log = Path(card.log if card is not None and card.log else place.places.log)
    found += _add_file(bundle, log, "daemon/boatd.log", "boatd's log")
    for directory in map(Path, place.log_directories):
        try:
            paths = sorted(path for path in directory.iterdir() if ".log" in path.name and path.is_file())[:_FILES]
        except OSError as error:
            bundle.lack(f"logs/{directory.name}", f"log files in {directory}", str(error.strerror))
            continue
        for path in paths:
            found += _add_file(bundle, path, f"logs/{directory.name}/{path.name}", f"{path}")
    return f"{found} file{_s(found)}"


def kernel(place: Place, bundle: Bundle) -> str:
    """Messages the kernel still has."""
    pieces, count = [], 0
    try:
        descriptor = open_device()
    except BoatyardError as error:
        bundle.lack("host/kernel.log", "the kernel's messages", error.message)
        return "none"
    try:
        for record in records(descriptor, follow=False):
            if not isinstance(record, Overwritten):
                pieces.append(decoded(record))
                count += 1
    finally:
        os.close(descriptor)
    _add(
        bundle,
        "host/kernel.log",
        "the kernel's messages, with facility, level and seconds since boot",
        b"".join(pieces),
    )
    return f"{count} message{_s(count)}"


def versions(place: Place, bundle: Bundle) -> str:
    """Of Boatyard, and what it is run with."""
    known: dict[str, Any] = {
        "boat": __version__,
        "api": API_VERSION,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
    try:
        found = Client(place.endpoint).call(system.version(), timeout=_ANSWER_SECONDS)
        known["boatd"] = msgspec.to_builtins(found)
    except BoatyardError as error:
        known["boatd"] = None
        bundle.lack("daemon", "the daemon's version and status", error.message)
    try:
        from importlib.metadata import distributions

        known["packages"] = dict(sorted((each.name, each.version) for each in distributions()))
    except (OSError, ValueError) as error:
        bundle.lack("versions.json", "versions of Python packages", str(error))
    _add_json(bundle, "versions.json", "versions of Boatyard and of what it is run with", known)
    return f"boat {__version__}" + (f", boatd {known['boatd']['version']}" if known["boatd"] else ", no boatd")


def configuration(place: Place, bundle: Bundle) -> str:
    """Files and variables, without their secrets."""
    found = _add_file(bundle, Path(place.places.config), "configuration/boatd.toml", "boatd's configuration file")
    wanted = {
        name: value
        for name, value in place.environment.items()
        if name.startswith(_VARIABLES) or name.upper().endswith("_PROXY")
    }
    _add_json(bundle, "configuration/environment.json", "variables that Boatyard reads", redact_variables(wanted))
    return f"{found + 1} file{_s(found + 1)}, secrets hidden"


def daemon(place: Place, bundle: Bundle) -> str:
    """What the daemon says of itself."""
    try:
        client = Client(place.endpoint)
        info = client.call(system.info(), timeout=_ANSWER_SECONDS)
        _add_json(bundle, "daemon/status.json", "what boatd says of itself", msgspec.to_builtins(info))
    except BoatyardError as error:
        bundle.lack("daemon/status.json", "what boatd says of itself", error.message)
        return "not running"
    return f"process {info.pid}"


def doctor(place: Place, bundle: Bundle) -> str:
    """What `boat doctor` finds: the daemon's findings, or without one those that can be made from here."""
    from boatyard.cli.doctor import host_checks

    try:
        checks = Client(place.endpoint).call(system.doctor(), timeout=_DOCTOR_SECONDS).checks
    except BoatyardError:
        checks = tuple(host_checks(place.places))
    found = [msgspec.to_builtins(check) for check in checks]
    _add_json(bundle, "doctor.json", "what works on this host, and what is missing", found)
    wrong = sum(check.status != "ok" for check in checks)
    return f"{len(found)} checks, {wrong} not ok"


def host(place: Place, bundle: Bundle) -> str:
    """The machine, as far as it matters to containers."""
    count = 0
    for path in _HOST_FILES:
        count += _add_file(bundle, Path(path), f"host/{path.strip('/').replace('/', '-')}", path)
    for command in _COMMANDS:
        name = f"host/{'-'.join(part.strip('-') for part in command)}"
        if shutil.which(command[0]) is None:
            bundle.lack(name, f"`{' '.join(command)}`", "it is not installed")
            continue
        try:
            result = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_ANSWER_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            bundle.lack(name, f"`{' '.join(command)}`", str(error))
            continue
        _add(bundle, name, f"`{' '.join(command)}`", result.stdout + result.stderr)
        count += 1
    return f"{count} file{_s(count)}"


COLLECTORS: Mapping[str, Collector] = {
    "versions": versions,
    "configuration": configuration,
    "daemon": daemon,
    "doctor": doctor,
    "memlogd": memlogds,
    "log files": log_files,
    "kernel": kernel,
    "host": host,
}


def _dump(socket: str) -> dict[bytes, tuple[int, list[bytes]]]:
    found: dict[bytes, tuple[int, list[bytes]]] = {}
    continuity = Continuity()
    deadline = time.monotonic() + _DUMP_SECONDS
    with Stream(socket, Request(DUMP, states=True)) as stream:
        while (frames := stream.read(_ANSWER_SECONDS)) is not None:
            if time.monotonic() > deadline:
                raise UnavailableError(f"memlogd at {socket} doesn't come to an end")
            for frame in frames:
                for event in continuity.take(frame):
                    if isinstance(event, Lines):
                        count, pieces = found.setdefault(event.source, (0, []))
                        pieces.append(output.text(event))
                        found[event.source] = count + event.count, pieces
    return found


def _add(bundle: Bundle, name: str, about: str, data: bytes) -> None:
    truncated = len(data) > LARGEST
    if truncated:
        data = data[data.find(b"\n", len(data) - LARGEST) + 1 :]
    bundle.add(name, about, redact_bytes(data), truncated=truncated)


def _add_json(bundle: Bundle, name: str, about: str, document: Any) -> None:
    data = json.dumps(redact_document(document), indent=1, ensure_ascii=False, default=str)
    bundle.add(name, about, data.encode("utf-8", "backslashreplace") + b"\n")


def _add_file(bundle: Bundle, path: Path, name: str, about: str) -> int:
    """1 when it is there."""
    try:
        with open(path, "rb") as file:
            if path.stat().st_size > 2 * LARGEST:
                file.seek(-LARGEST - 1, os.SEEK_END)
            data = file.read(2 * LARGEST + 1)
    except OSError as error:
        bundle.lack(name, about, str(error.strerror))
        return 0
    _add(bundle, name, about, data)
    return 1


def _s(count: int) -> str:
    return "" if count == 1 else "s"
