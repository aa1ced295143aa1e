"""The units in packaging/ say what the daemon does."""

from __future__ import annotations

from pathlib import Path

import pytest

from boatyard.client.places import DESCRIPTOR_SOCKET_NAME, beside, places
from boatyard.daemon.sockets import DEFAULT_GROUP

UNITS = Path(__file__).parents[3] / "packaging" / "systemd"


def settings(name: str) -> dict[str, str]:
    lines = (UNITS / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_the_sockets_are_where_clients_look() -> None:
    socket = settings("boatd.socket")
    system = places({}, 0)
    assert socket["ListenStream"] == system.socket
    assert socket["ListenSequentialPacket"] == beside(system.socket, DESCRIPTOR_SOCKET_NAME)
    assert socket["SocketGroup"] == DEFAULT_GROUP
    assert f"g {DEFAULT_GROUP} -" in (UNITS / "boatyard.sysusers").read_text()


@pytest.mark.parametrize(
    ("setting", "base", "place"), [("StateDirectory", "/var/lib", "root"), ("RuntimeDirectory", "/run", "run")]
)
def test_the_directories_are_the_daemons(setting: str, base: str, place: str) -> None:
    assert f"{base}/{settings('boatd.service')[setting]}" == getattr(places({}, 0), place)


def test_it_is_not_started_again_when_another_daemon_holds_the_root() -> None:
    from boatyard.daemon import main

    assert main.__doc__ is not None
    assert "4 when another daemon holds the root" in main.__doc__
    assert "4" in settings("boatd.service")["RestartPreventExitStatus"].split()
