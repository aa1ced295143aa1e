"""`boat version`."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

import click

from boatyard import __version__
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.table import table
from boatyard.client.calls import system
from boatyard.client.documents.envelope import API_VERSION
from boatyard.client.places import find_daemon
from boatyard.client.sync import Client
from boatyard.errors import BoatyardError


@click.command("version", context_settings=SETTINGS)
@click.option("--format", "form", default="", metavar="TEMPLATE", help="Such as '{{.Client.Version}}'; or json.")
@click.pass_obj
def version(console: Console, form: str) -> None:
    """Show the versions of boat and of the daemon. Starts no daemon."""
    known: dict[str, Any] = {
        "Client": {
            "Version": __version__,
            "ApiVersion": API_VERSION,
            "Python": platform.python_version(),
            "Os": platform.system().lower(),
            "Arch": platform.machine(),
        },
        "Server": _server(console),
    }
    if form == "json":
        console.out(json.dumps(known) + "\n")
    elif form:
        from boatyard.cli.template import Template

        console.out(Template(form).render(known) + "\n")
    else:
        lines = [["boat", __version__], ["  API", str(API_VERSION)], ["  Python", platform.python_version()]]
        server = known["Server"]
        lines += (
            [["boatd", server["Version"]], ["  API", str(server["ApiVersion"])]]
            if server
            else [["boatd", "not running"]]
        )
        console.out("".join(line + "\n" for line in table(lines)))


def _server(console: Console) -> dict[str, Any] | None:
    endpoint, own = find_daemon(console.host or None, console.environment, os.geteuid())
    try:
        found = Client(endpoint).call(system.version(), timeout=5.0)
    except BoatyardError:
        if own:
            return None
        raise
    return {"Version": found.version, "ApiVersion": found.api}
