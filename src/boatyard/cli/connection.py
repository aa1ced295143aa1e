"""The daemon a command talks to."""

from __future__ import annotations

from boatyard.cli.console import Console
from boatyard.client.autostart import connect
from boatyard.client.calls import system
from boatyard.client.descriptors import DescriptorChannel
from boatyard.client.offering import Offering, open_offering
from boatyard.client.sync import Client
from boatyard.errors import UnavailableError


def daemon(console: Console) -> Client:
    """Started when it has to be; what is odd about it is said once."""
    client = connect(console.host or None, console.environment)
    if client.notice:
        console.err(f"{console.err_style.caution('note:')} {client.notice}\n")
    return client


def offering(console: Console, client: Client) -> Offering:
    """What a build's files are handed over with."""
    return open_offering(client.endpoint, console.environment)


def descriptors(client: Client) -> DescriptorChannel:
    """A channel for what goes with a request. Where the daemon itself is gone, that is the error."""
    try:
        return client.descriptors()
    except UnavailableError:
        client.call(system.ping(), timeout=5.0)
        raise
