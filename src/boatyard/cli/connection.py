"""The daemon a command talks to."""

from __future__ import annotations

from boatyard.cli.console import Console
from boatyard.client.sync import Client, connect


def daemon(console: Console) -> Client:
    """Started when it has to be; what is odd about it is said once."""
    client = connect(console.host or None, console.environment)
    if client.notice:
        console.err(f"{console.err_style.caution('note:')} {client.notice}\n")
    return client
