"""`boat daemon`: look after boatd. None of these starts one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import click

from boatyard.cli import units
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import moment
from boatyard.cli.listing import each
from boatyard.cli.table import table
from boatyard.client.calls import system
from boatyard.client.documents.system import DaemonInfo
from boatyard.client.endpoint import Endpoint, UnixEndpoint
from boatyard.client.places import find_daemon, places, read_card
from boatyard.client.sync import Client
from boatyard.errors import NotFoundError, UnavailableError, UnsupportedError

_PIECE = 65536


@click.command("status", context_settings=SETTINGS)
@click.option("--format", "form", default="", metavar="TEMPLATE", help="A template, such as '{{.Pid}}'; or json.")
@click.pass_obj
def status(console: Console, form: str) -> int:
    """Show whether boatd runs, and how it is doing. The exit code is 1 when it doesn't."""
    endpoint = _endpoint(console)
    try:
        info = Client(endpoint).call(system.info(), timeout=10.0)
    except UnavailableError as error:
        if form:
            raise
        console.out(f"boatd is not running: {error.message}\n")
        return 1
    known = _document(info, str(endpoint))
    if form == "json":
        console.out(json.dumps(known, ensure_ascii=False) + "\n")
    elif form:
        from boatyard.cli.template import Template

        console.out(Template(form).render(known) + "\n")
    else:
        each(console, table([[f"{name}:", value] for name, value in _shown(info, str(endpoint), time.time())]))
    return 0


@click.command("stop", context_settings=SETTINGS)
@click.option("--when-idle", is_flag=True, help="Refuse while it is at work.")
@click.option("-t", "--timeout", type=float, default=30.0, metavar="SECONDS", help="How long to wait for its end.")
@click.pass_obj
def stop(console: Console, when_idle: bool, timeout: float) -> None:
    """Stop boatd. What runs is cancelled; nothing that was stored is lost."""
    endpoint = _endpoint(console)
    client = Client(endpoint)
    stopping = client.call(system.shutdown(when_idle=when_idle), timeout=timeout)
    deadline = time.monotonic() + timeout
    while _alive(stopping.pid) if isinstance(endpoint, UnixEndpoint) else _answers(client):
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"boatd (process {stopping.pid}) was asked to stop but still runs",
                hint="`boat daemon logs` may tell why",
            )
        time.sleep(0.02)
    console.out(f"boatd (process {stopping.pid}) has stopped\n")


@click.command("logs", context_settings=SETTINGS)
@click.option("-n", "--tail", type=click.IntRange(min=0), default=None, metavar="N", help="Only the last N lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is added.")
@click.pass_obj
def logs(console: Console, tail: int | None, follow: bool) -> None:
    """Show boatd's log."""
    path = _log(console)
    if not os.path.exists(path):
        raise NotFoundError(
            f"boatd has no log at {path}", hint="run as a service, it logs to the journal: journalctl -u boatd"
        )
    with open(path, "rb") as file:
        data = file.read()
        console.out_bytes(data if tail is None else b"".join(data.splitlines(keepends=True)[-tail:] if tail else []))
        while follow:
            if piece := file.read(_PIECE):
                console.out_bytes(piece)
            else:
                time.sleep(0.2)


def _endpoint(console: Console) -> Endpoint:
    return find_daemon(console.host or None, console.environment, os.geteuid())[0]


def _log(console: Console) -> str:
    endpoint = _endpoint(console)
    if not isinstance(endpoint, UnixEndpoint):
        raise UnsupportedError(
            f"the log of the daemon at {endpoint} is on its machine", hint="read it there, with `boat daemon logs`"
        )
    card = read_card(endpoint.path)
    return card.log if card is not None and card.log else places(console.environment, os.geteuid()).log


def _alive(pid: int) -> bool:
    """Without signalling it: it may be somebody else's."""
    return os.path.exists(f"/proc/{pid}")


def _answers(client: Client) -> bool:
    try:
        client.call(system.ping(), timeout=5.0)
    except UnavailableError:
        return False
    return True


def _document(info: DaemonInfo, path: str) -> dict[str, Any]:
    return {
        "Version": info.version,
        "ApiVersion": info.api,
        "Pid": info.pid,
        "Socket": path,
        "Addresses": list(info.addresses),
        "Started": info.started,
        "Root": info.root,
        "ConfigFile": info.config_file,
        "Autostarted": info.autostarted,
        "IdleTimeout": info.idle_timeout,
        "Rootless": info.rootless,
        "Running": info.running,
        "Platforms": list(info.platforms),
        "Components": [{"Name": part.name, "Version": part.version, "Detail": part.detail} for part in info.components],
        "Kernel": info.kernel,
        "Cpus": info.cpus,
        "Memory": info.memory,
        "Labels": dict(info.labels),
        "Devices": list(info.devices),
        "Warnings": list(info.warnings),
    }


def _shown(info: DaemonInfo, path: str, now: float) -> Iterator[tuple[str, str]]:
    yield "boatd", f"{info.version}, process {info.pid}{', rootless' if info.rootless else ''}"
    yield "started", f"{moment(info.started)} ({units.age(info.started, now)})"
    idle = f"; goes away when idle for {units.seconds(info.idle_timeout)}" if info.idle_timeout else ""
    yield "started by", ("a client" if info.autostarted else "hand or a service") + idle
    yield "at work on", f"{info.running} request{'s' if info.running != 1 else ''}"
    yield "socket", path
    yield "root", info.root
    yield "config", info.config_file or "-"
    yield "platforms", ", ".join(info.platforms) or "-"
    for part in info.components:
        yield part.name, " ".join(word for word in (part.version, f"({part.detail})" if part.detail else "") if word)
    yield "host", f"Linux {info.kernel}, {info.cpus} CPUs, {units.size(info.memory)} memory"
    if info.devices:
        yield "devices", ", ".join(info.devices)
    for warning in info.warnings:
        yield "warning", warning
