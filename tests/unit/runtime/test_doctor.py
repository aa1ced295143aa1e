"""What is said about a host, from facts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from boatyard.runtime import capabilities, cgroups, doctor
from boatyard.runtime.cgroups import Hierarchies, Layout
from boatyard.runtime.doctor import Status
from boatyard.runtime.executor import NetworkChoice
from boatyard.runtime.launch import Runtime
from boatyard.runtime.network import Mode
from boatyard.runtime.probe import Attempt
from boatyard.runtime.program import Program


def attempt(kind: str, failure: str = "", *, compiled: bool = True) -> Attempt:
    path = Path("/no/such") / kind
    return Attempt(Runtime(Program(kind, path, (0, 0, 0, 0)), str(path), compiled_filter=compiled), failure)


def test_the_runtime_that_works_and_those_that_dont_are_told() -> None:
    checks = doctor.runtimes([attempt("crun", "hybrid"), attempt("runc", compiled=False)], "/no/such/runc")
    assert [(check.status, check.detail.split()[0]) for check in checks] == [
        (Status.OK, "/no/such/runc"),
        (Status.WARN, "/no/such/crun"),
    ]
    assert "apt-get install crun" in checks[0].fix
    assert "hybrid" in checks[1].detail


def test_a_second_way_with_the_same_program_hides_the_failure_of_the_first() -> None:
    checks = doctor.runtimes([attempt("crun", "no filter"), attempt("crun", compiled=False)], "/no/such/crun")
    assert [check.status for check in checks] == [Status.OK]


def test_without_any_runtime_it_is_a_failure() -> None:
    assert [check.status for check in doctor.runtimes([attempt("crun", "broken")], "")] == [Status.FAIL]


ALL = dict.fromkeys(("memory", "cpu", "pids"), cgroups.ROOT)


@pytest.mark.parametrize(
    ("found", "status", "word"),
    [
        (Hierarchies(Layout.V2, ALL, True), Status.OK, "v2 with cpu, memory, pids"),
        (Hierarchies(Layout.V1, {"memory": cgroups.ROOT}, True), Status.WARN, "no limits of cpu, pids"),
        (Hierarchies(Layout.V2, ALL, False), Status.WARN, "not writable"),
        (Hierarchies(Layout.NONE, {}, False), Status.WARN, "none"),
    ],
)
def test_cgroups(found: Hierarchies, status: Status, word: str) -> None:
    check = doctor.control_groups(found)
    assert check.status is status
    assert word in check.detail


@pytest.mark.parametrize(
    ("choice", "status", "fix"),
    [
        (NetworkChoice(Mode.BRIDGE), Status.OK, ""),
        (NetworkChoice(Mode.NONE), Status.OK, ""),
        (
            NetworkChoice(Mode.HOST, "`nft` is not installed (apt-get install nftables)"),
            Status.WARN,
            "apt-get install nftables",
        ),
        (NetworkChoice(Mode.HOST, "this host drops (policy) packets"), Status.WARN, ""),
    ],
)
def test_network(choice: NetworkChoice, status: Status, fix: str) -> None:
    check = doctor.network(choice)
    assert (check.status, check.fix) == (status, fix)


def test_capabilities() -> None:
    everything = frozenset(capabilities.NAMES)
    assert doctor.privileges(everything).detail == "all"
    assert doctor.privileges(everything - {"CAP_SYS_RESOURCE"}).status is Status.OK
    assert doctor.privileges(everything - {"CAP_CHOWN"}).status is Status.WARN


def test_emulators(tmp_path: Path) -> None:
    assert "not mounted" in doctor.emulators(tmp_path).detail
    (tmp_path / "status").touch()
    assert "only programs of this machine" in doctor.emulators(tmp_path).detail
    (tmp_path / "qemu-arm").write_text("enabled\ninterpreter /q\nflags: OC\n")
    assert "without the flag F" in doctor.emulators(tmp_path).detail
    (tmp_path / "qemu-arm").write_text("enabled\ninterpreter /q\nflags: OCF\n")
    assert doctor.emulators(tmp_path).status is Status.OK


@pytest.mark.parametrize(("text", "status"), [("15000\n", Status.OK), ("0\n", Status.WARN), ("", Status.WARN)])
def test_user_namespaces(tmp_path: Path, text: str, status: Status) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user/max_user_namespaces").write_text(text)
    assert doctor.user_namespaces(tmp_path).status is status


def test_fuse(tmp_path: Path) -> None:
    assert doctor.fuse(tmp_path / "fuse").fix == "modprobe fuse"
    assert doctor.fuse(tmp_path).status is Status.OK


def test_space_is_that_of_the_nearest_directory_that_exists(tmp_path: Path) -> None:
    check = doctor.space(tmp_path / "not/made/yet")
    assert str(tmp_path) in check.detail
    assert (check.status is Status.OK) is (shutil.disk_usage(tmp_path).free >= doctor.LOW_SPACE)


def test_a_failed_overlay_is_told_with_the_reason() -> None:
    assert doctor.overlay("").status is Status.OK
    assert "No such device" in doctor.overlay("No such device").detail


def test_programs_that_single_features_need_are_looked_for(tmp_path: Path) -> None:
    git = tmp_path / "git"
    git.touch(0o755)
    checks = {check.name: check for check in doctor.tools(str(tmp_path))}
    assert checks["git"].status is Status.OK
    assert checks["mmdebstrap"].status is Status.WARN
    assert checks["mmdebstrap"].fix == "apt-get install mmdebstrap"
