"""Platforms whose programs run on the daemon's machine."""

from __future__ import annotations

from boatyard.client.calls.call import Call
from boatyard.client.documents.platforms import PlatformList, PlatformRequest, PlatformsChanged


def list_platforms() -> Call[PlatformList]:
    return Call("GET", "/platforms", PlatformList)


def install_platforms(request: PlatformRequest) -> Call[PlatformsChanged]:
    return Call("POST", "/platforms/install", PlatformsChanged, body=request)


def uninstall_platforms(request: PlatformRequest) -> Call[PlatformsChanged]:
    return Call("POST", "/platforms/uninstall", PlatformsChanged, body=request)
