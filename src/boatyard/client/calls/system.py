"""The daemon itself."""

from __future__ import annotations

from boatyard.client.calls.call import Call
from boatyard.client.documents.envelope import Done
from boatyard.client.documents.system import DaemonInfo, Doctor, ShutdownRequest, Stopping, Version


def info() -> Call[DaemonInfo]:
    return Call("GET", "/info", DaemonInfo)


def version() -> Call[Version]:
    return Call("GET", "/version", Version)


def ping() -> Call[Done]:
    return Call("GET", "/ping", Done)


def doctor() -> Call[Doctor]:
    return Call("GET", "/doctor", Doctor)


def shutdown(*, when_idle: bool = False) -> Call[Stopping]:
    return Call("POST", "/shutdown", Stopping, body=ShutdownRequest(when_idle=when_idle))
