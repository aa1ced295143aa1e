"""Which cgroups a host has, read from its mounts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.runtime import cgroups, isolation
from boatyard.runtime.cgroups import Layout
from boatyard.runtime.container import Resources

V1 = """27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory {flag},relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime shared:9 - cgroup cgroup rw,devices
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
"""
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"


def test_separate_hierarchies_are_v1() -> None:
    found = cgroups.detect(V1.format(flag="rw"))
    assert (found.layout, found.writable) == (Layout.V1, True)
    assert found.controllers["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert set(found.controllers) == {"cpu", "cpuacct", "memory", "devices"}


def test_v2_beside_them_is_hybrid() -> None:
    assert cgroups.detect(V1.format(flag="rw") + UNIFIED).layout is Layout.HYBRID


def test_a_readonly_hierarchy_is_not_writable() -> None:
    assert not cgroups.detect(V1.format(flag="ro")).writable


@pytest.mark.parametrize(("flag", "writable"), [("rw", True), ("ro", False)])
def test_one_hierarchy_is_v2(tmp_path: Path, flag: str, writable: bool) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    found = cgroups.detect(f"31 23 0:28 / {tmp_path} {flag},nosuid - cgroup2 cgroup2 rw\n", tmp_path)
    assert (found.layout, found.writable) == (Layout.V2, writable)
    assert found.controllers == dict.fromkeys(("cpu", "memory", "pids"), tmp_path)


def test_nothing_mounted_is_none() -> None:
    assert cgroups.detect("27 1 254:0 / / rw - ext4 /dev/vda rw\n").layout is Layout.NONE


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert cgroups.detect(text).layout in (Layout.NONE, Layout.V1, Layout.HYBRID)


def test_unset_limits_say_nothing() -> None:
    assert cgroups.resources_section(Resources()) == {}


@pytest.mark.parametrize(
    ("resources", "kept", "missing"),
    [
        (Resources(memory=1), Resources(memory=1), []),
        (Resources(cpu_shares=1, pids=1), Resources(cpu_shares=1), ["pids"]),
        (Resources(cpuset_cpus="0", memory_swap=1), Resources(memory_swap=1), ["cpuset"]),
    ],
)
def test_limits_whose_controller_is_missing_are_dropped_and_named(
    resources: Resources, kept: Resources, missing: list[str]
) -> None:
    found = cgroups.detect(V1.format(flag="rw")).controllers
    assert cgroups.applicable(resources, found) == (kept, missing)


def test_device_rules_refuse_first_and_allow_then() -> None:
    rules = cgroups.device_rules([("b", 8, 0, "r")])
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert all(rule["allow"] for rule in rules[1:])
    assert {"allow": True, "type": "c", "access": "rwm", "major": 1, "minor": 3} in rules
    assert rules[-1] == {"allow": True, "type": "b", "access": "r", "major": 8, "minor": 0}


def test_groups_are_removed_in_every_hierarchy_deepest_first(tmp_path: Path) -> None:
    for hierarchy in ("cpu", "memory"):
        for name in ("g", "g/a", "g/a/b"):
            (tmp_path / hierarchy / name).mkdir(parents=True)
        (tmp_path / hierarchy / "g/cgroup.procs").touch()
    (tmp_path / "other").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in cgroups.groups_beneath("/g", tmp_path)]
    assert sorted(found) == ["cpu/g", "cpu/g/a", "cpu/g/a/b", "memory/g", "memory/g/a", "memory/g/a/b"]
    assert found.index("cpu/g/a/b") < found.index("cpu/g/a") < found.index("cpu/g")


@pytest.mark.parametrize(
    ("options", "expected"), [("shared:5", True), ("shared:5 master:1", True), ("master:1", False)]
)
def test_the_root_mount_tells_whether_mounts_propagate(options: str, expected: bool) -> None:
    line = f"27 1 254:0 / / rw,relatime {options} - ext4 /dev/vda rw\n"
    assert isolation.propagates_mounts(line) is expected


@pytest.mark.parametrize(("kind", "expected"), [("cgroup2 cgroup2 rw", True), ("tmpfs tmpfs rw", False)])
def test_only_a_mounted_v2_hierarchy_makes_a_hybrid(kind: str, expected: bool) -> None:
    line = f"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 - {kind}\n"
    assert isolation.is_hybrid(V1.format(flag="rw") + line) is expected
