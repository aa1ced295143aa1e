"""What a build may do beyond the usual: the host's network, insecure steps, devices. Both the daemon and the request
must allow each.

    network.host
    security.insecure
    device                     all devices
    device=NAME                one, or a kind of them
    device=NAME,alias=OTHER    that one where steps ask for OTHER
    frontend.python            the frontend that the Dockerfile names may be a Python file of the context's

The last one is for the request alone: the daemon has a key of its own for it.
A device that says so itself (or that the daemon's configuration names) may be used by every build. The meaning is
BuildKit's (`util/entitlements`, `solver/llbsolver`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from boatyard.build.llb.graph import CDIDevice, NetMode, SecurityMode
from boatyard.errors import DeniedError, InvalidError, NotFoundError
from boatyard.runtime.cdi.registry import Registry

NETWORK_HOST = "network.host"
INSECURE = "security.insecure"
DEVICE = "device"
FRONTEND_PYTHON = "frontend.python"
NAMES = (NETWORK_HOST, INSECURE, DEVICE, FRONTEND_PYTHON)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one build may do: what its request allows, of what the daemon does (`daemon`: its own part, to tell which
    side has to allow more). `devices` maps the names that steps may ask for to the devices they mean."""

    names: frozenset[str] = frozenset()
    daemon: frozenset[str] = frozenset()
    all_devices: bool = False
    devices: Mapping[str, str] = field(default_factory=dict)


def grant(requested: Iterable[str], daemon: Iterable[str]) -> Grant:
    """InvalidError for what is no entitlement; DeniedError for one that the daemon doesn't grant."""
    granted = frozenset(daemon)
    names: set[str] = set()
    everything = False
    devices: dict[str, str] = {}
    for text in sorted(requested):
        name, equals, rest = text.partition("=")
        if name not in NAMES or (equals and name != DEVICE):
            raise InvalidError(f"there is no entitlement {text!r}", hint=f"there are: {', '.join(NAMES)}")
        if name not in granted and name != FRONTEND_PYTHON:
            raise DeniedError(
                f"the entitlement {name} is not allowed by this daemon's configuration, though the request allows it",
                hint=f'add it there (boatd.toml: entitlements = ["{name}"]; '
                f"boat-buildkitd: --allow-insecure-entitlement={name})",
            )
        names.add(name)
        if name == DEVICE and rest:
            asked_for, device = _device(text, rest)
            devices[asked_for] = device
        else:
            everything = everything or name == DEVICE
    return Grant(frozenset(names), granted, everything, devices)


def _device(text: str, rest: str) -> tuple[str, str]:
    """The name that steps ask for, and the device it means."""
    try:
        device, *options = next(csv.reader([rest], strict=True))
    except (csv.Error, StopIteration, ValueError) as error:
        raise InvalidError(f"the entitlement {text!r} is malformed", hint="write device=NAME[,alias=OTHER]") from error
    alias = device
    for option in options:
        key, _, value = option.partition("=")
        if key != "alias" or not value:
            raise InvalidError(f"the entitlement {text!r} is malformed", hint="write device=NAME[,alias=OTHER]")
        alias = value
    if not device:
        raise InvalidError(f"the entitlement {text!r} names no device")
    return alias, device


def check(
    given: Grant,
    *,
    network: NetMode = NetMode.UNSET,
    security: SecurityMode = SecurityMode.SANDBOX,
    what: str = "the step",
) -> None:
    """DeniedError when `what` (for people) needs what the build was not given. Devices are looked at by `devices`."""
    needed = {NETWORK_HOST: network is NetMode.HOST, INSECURE: security is SecurityMode.INSECURE}
    for name, wanted in needed.items():
        if wanted and name not in given.names:
            raise _denied(f"the entitlement {name} is not allowed: {what} needs it", name, given)


def devices(wanted: Sequence[CDIDevice], given: Grant, registry: Registry | None) -> list[str]:
    """The qualified names of what a step gets. Optional ones that aren't there are left out. DeniedError,
    NotFoundError. Blocks shortly."""
    granted = _granted(given, registry)
    found: dict[str, None] = {}
    forbidden: list[str] = []
    for device in wanted:
        name = given.devices.get(device.name, device.name)
        matching = registry.find(name) if registry is not None else []
        if not matching and not device.optional:
            raise _missing(device.name, registry)
        allowed = given.all_devices or name != device.name
        for each in matching:
            if allowed or each.auto_allow or each.name in granted:
                found[each.name] = None
            else:
                forbidden.append(each.name)
    if forbidden:
        names = ", ".join(dict.fromkeys(forbidden))
        what = f"the device {names} is" if len(forbidden) == 1 else f"the devices {names} are"
        raise _denied(f"{what} requested by the build but not allowed", f"{DEVICE}={forbidden[0]}", given)
    return list(found)


def _granted(given: Grant, registry: Registry | None) -> set[str]:
    """The devices that the request allows by name."""
    plain = [name for name, device in given.devices.items() if name == device]
    return {device.name for name in plain if registry is not None for device in registry.find(name)}


def _denied(message: str, entitlement: str, given: Grant) -> DeniedError:
    name = entitlement.partition("=")[0]
    if name in given.daemon:
        return DeniedError(f"{message}, and the request doesn't allow it", hint=f"pass --allow {entitlement}")
    return DeniedError(
        f"{message}, and neither the request nor the daemon's configuration allows it",
        hint=f'pass --allow {entitlement}, and add it to the daemon\'s configuration: entitlements = ["{name}"]',
    )


def _missing(name: str, registry: Registry | None) -> NotFoundError:
    if registry is None:
        return NotFoundError(
            f"the step needs the device {name!r}, but devices are switched off",
            hint="in the daemon's configuration: cdi.enabled = true",
        )
    known = ", ".join(device.name for device in registry.devices())
    return NotFoundError(
        f"the step needs the device {name!r}, which is not there",
        hint=f"there are: {known}" if known else "no specification of a device is installed (/etc/cdi)",
    )
