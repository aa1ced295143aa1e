"""What builds may do: both sides must allow it, and the refusal says which did not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boatyard.build.entitlements import NAMES, check, devices, grant
from boatyard.build.llb.graph import CDIDevice, NetMode, SecurityMode
from boatyard.errors import BoatyardError, DeniedError, InvalidError, NotFoundError
from boatyard.runtime.cdi.registry import Registry


@pytest.mark.parametrize(
    ("needed", "name"),
    [({"network": NetMode.HOST}, "network.host"), ({"security": SecurityMode.INSECURE}, "security.insecure")],
)
def test_the_refusal_says_which_side_has_to_allow_more(needed: dict[str, Any], name: str) -> None:
    check(grant([name], [name]), **needed)
    with pytest.raises(DeniedError, match=rf"entitlement {name} is not allowed.* and the request doesn't") as caught:
        check(grant([], [name]), **needed)
    assert caught.value.hint == f"pass --allow {name}"
    with pytest.raises(DeniedError, match="neither the request nor the daemon's configuration") as caught:
        check(grant([], []), **needed)
    assert f'entitlements = ["{name}"]' in (caught.value.hint or "")
    with pytest.raises(DeniedError, match=rf"entitlement {name} is not allowed by this daemon's") as caught:
        grant([name], [])
    assert f"--allow-insecure-entitlement={name}" in (caught.value.hint or "")


def test_a_step_that_needs_nothing_is_given_nothing() -> None:
    check(grant([], []))


def test_a_frontend_in_python_is_for_the_request_to_allow() -> None:
    assert grant(["frontend.python"], []).names == {"frontend.python"}


@pytest.mark.parametrize(
    "text",
    ["network", "network.host=x", "device=a,b", "device=a,alias", "device=a,alias=", "device=a,x=y", 'device="'],
)
def test_what_is_no_entitlement_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        grant([text], NAMES)


@settings(deadline=None)
@example("\n")
@given(st.text(max_size=20))
def test_any_text_is_taken_or_refused(text: str) -> None:
    for entitlement in (text, f"device={text}"):
        try:
            grant([entitlement], NAMES)
        except BoatyardError:
            pass


# -- devices ---------------------------------------------------------------------------------------------------------

SPECS = {
    "gpu.yaml": """
        cdiVersion: "0.6.0"
        kind: vendor.test/gpu
        annotations:
          org.mobyproject.buildkit.device.class: vendor-gpus
        devices:
        - name: b
          containerEdits: {env: ["GPU=b"]}
        - name: a
          containerEdits: {env: ["GPU=a"]}
        """,
    "free.yaml": """
        cdiVersion: "0.6.0"
        kind: vendor.test/free
        devices:
        - name: x
          annotations:
            org.mobyproject.buildkit.device.autoallow: true
          containerEdits: {env: ["FREE=x"]}
        """,
}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    from textwrap import dedent

    for name, text in SPECS.items():
        (tmp_path / name).write_text(dedent(text))
    return Registry([str(tmp_path)])


def wanted(*names: str, optional: bool = False) -> Sequence[CDIDevice]:
    return [CDIDevice(name, optional) for name in names]


A, B, X = "vendor.test/gpu=a", "vendor.test/gpu=b", "vendor.test/free=x"


@pytest.mark.parametrize(
    ("asked_for", "allowed", "found"),
    [
        ([A], ["device"], [A]),
        ([A], [f"device={A}"], [A]),
        ([A, B], ["device=vendor.test/gpu=*"], [A, B]),
        (["vendor.test/gpu"], ["device"], [A]),
        (["vendor.test/gpu"], ["device=vendor.test/gpu"], [A]),
        (["vendor.test/gpu=*"], ["device"], [A, B]),
        (["vendor-gpus"], ["device=vendor-gpus"], [A, B]),
        (["some/gpu"], [f"device={B},alias=some/gpu"], [B]),
        ([X], [], [X]),
        (["vendor.test/free", A], [f"device={A}"], [X, A]),
        ([A, A, "vendor.test/gpu"], ["device"], [A]),
    ],
)
def test_devices_are_found_by_what_they_are_called_and_allowed(
    registry: Registry, asked_for: list[str], allowed: list[str], found: list[str]
) -> None:
    assert devices(wanted(*asked_for), grant(allowed, NAMES), registry) == found


@pytest.mark.parametrize(
    ("asked_for", "allowed", "message"),
    [
        ([A], [], f"the device {A} is requested by the build but not allowed"),
        ([B], [f"device={A}"], f"the device {B} is requested by the build but not allowed"),
        (["vendor.test/gpu=*"], ["device=vendor.test/gpu"], f"the device {B} is"),
        (["vendor.test/gpu=*"], [], f"the devices {A}, {B} are requested"),
        # The device behind an alias may be used by that name only.
        ([B], [f"device={B},alias=some/gpu"], f"the device {B} is"),
    ],
)
def test_other_devices_are_not_allowed(
    registry: Registry, asked_for: list[str], allowed: list[str], message: str
) -> None:
    with pytest.raises(DeniedError) as caught:
        devices(wanted(*asked_for), grant(allowed, NAMES), registry)
    assert message in caught.value.message
    assert "--allow device=" in (caught.value.hint or "")


def test_a_device_that_is_not_there_is_missed_unless_it_is_optional(registry: Registry) -> None:
    everything = grant(["device"], NAMES)
    with pytest.raises(NotFoundError, match=r"'vendor.test/gpu=c', which is not there") as caught:
        devices(wanted("vendor.test/gpu=c"), everything, registry)
    assert A in (caught.value.hint or "")
    assert devices(wanted("vendor.test/gpu=c", "no/thing", optional=True), everything, registry) == []
    with pytest.raises(NotFoundError, match="switched off"):
        devices(wanted(A), everything, None)
    assert devices(wanted(A, optional=True), everything, None) == []
