"""From a ContainerSpec to an OCI configuration."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boatyard.errors import InvalidError
from boatyard.runtime import capabilities, cgroups
from boatyard.runtime.container import ContainerSpec, Limit, Network, Resources
from boatyard.runtime.spec import Document, Host, Placement, configuration, parse_device
from boatyard.runtime.users import User

EVERYTHING = frozenset(capabilities.NAMES)


def host(**changes: Any) -> Host:
    values: dict[str, Any] = {
        "capabilities": EVERYTHING,
        "seccomp": lambda granted: {"defaultAction": "SCMP_ACT_ERRNO", "capabilities": granted},
        "seccomp_filter": lambda granted: "ZmlsdGVy",
        "hard_limit": lambda name: 1000,
    }
    return Host(**(values | changes))


def place(**changes: Any) -> Placement:
    values: dict[str, Any] = {"user": User(0, 0, (0,), "/root"), "root": "/r", "cwd": "/", "mounts": ()}
    return Placement(**(values | changes))


def make(
    spec: ContainerSpec | None = None, of: Host | None = None, at: Placement | None = None
) -> tuple[dict[str, Any], list[str]]:
    document, warnings = configuration(spec or ContainerSpec(Path("/r"), ("true",)), of or host(), at or place())
    return msgspec.json.decode(msgspec.json.encode(document)), warnings


def spec(**changes: Any) -> ContainerSpec:
    return ContainerSpec(Path("/r"), ("true",), **changes)


def namespaces(document: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry.get("path", "") for entry in document["linux"]["namespaces"]}


def test_the_process_is_as_the_spec_says() -> None:
    at = place(user=User(1, 2, (2, 3), "/home"), cwd="/app")
    document, warnings = make(ContainerSpec(Path("/r"), ("a", "b c"), env=("A=1",)), at=at)
    process = document["process"]
    assert process["args"] == ["a", "b c"]
    assert process["user"] == {"uid": 1, "gid": 2, "umask": 0o022, "additionalGids": [2, 3]}
    assert process["env"] == ["A=1", "HOME=/home"]
    assert process["cwd"] == "/app"
    assert not process["terminal"]
    assert warnings == []


@pytest.mark.parametrize(
    ("env", "terminal", "expected"),
    [
        ((), False, ["HOME=/root"]),
        (("HOME=/x",), False, ["HOME=/x"]),
        (("HOME=",), True, ["HOME=", "TERM=xterm"]),
        (("TERM=vt100",), True, ["TERM=vt100", "HOME=/root"]),
    ],
)
def test_home_and_term_have_defaults(env: tuple[str, ...], terminal: bool, expected: list[str]) -> None:
    assert make(spec(env=env), at=place(terminal=terminal))[0]["process"]["env"] == expected


def test_a_nul_byte_in_the_environment_is_refused() -> None:
    with pytest.raises(InvalidError, match="variable 'A' holds a NUL byte"):
        make(spec(env=("A=x\0y",)))


def test_capabilities_are_those_the_daemon_has_too() -> None:
    document, warnings = make(of=host(capabilities=EVERYTHING - {"CAP_NET_RAW"}))
    granted = document["process"]["capabilities"]
    assert granted["bounding"] == granted["effective"] == granted["permitted"]
    assert set(granted["bounding"]) == set(capabilities.DEFAULT) - {"CAP_NET_RAW"}
    assert warnings == ["the container lacks CAP_NET_RAW: this daemon doesn't have it either"]


def test_without_device_rules_no_device_nodes_can_be_made() -> None:
    document, _ = make(of=host(device_rules=False))
    assert "CAP_MKNOD" not in document["process"]["capabilities"]["bounding"]


def test_an_insecure_container_has_everything_and_nothing_is_hidden() -> None:
    document, warnings = make(
        spec(insecure=True),
        host(capabilities=EVERYTHING - {"CAP_SYS_RESOURCE"}, devices=lambda: [{"path": "/dev/fuse"}]),
        place(cgroup="/g"),
    )
    linux = document["linux"]
    assert set(document["process"]["capabilities"]["bounding"]) == EVERYTHING - {"CAP_SYS_RESOURCE"}
    assert not {"seccomp", "maskedPaths", "readonlyPaths"} & linux.keys()
    assert linux["devices"] == [{"path": "/dev/fuse"}]
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "annotations" not in document
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("compiled", "has_section"),
    [(True, False), (False, True)],
)
def test_the_system_call_filter_comes_compiled_or_as_a_section(compiled: bool, has_section: bool) -> None:
    document, _ = make(at=place(compiled_filter=compiled))
    assert ("seccomp" in document["linux"]) is has_section
    assert document.get("annotations", {}) == ({} if has_section else {"run.oci.seccomp_bpf_data": "ZmlsdGVy"})


def test_the_section_is_used_when_nothing_can_compile_it() -> None:
    document, _ = make(of=host(seccomp_filter=lambda granted: ""), at=place(compiled_filter=True))
    assert document["linux"]["seccomp"]["capabilities"] == list(capabilities.DEFAULT)


@pytest.mark.parametrize(
    ("network", "expected"),
    [(Network.HOST, None), (Network.NONE, ""), (Network.DEFAULT, "/ns")],
)
def test_the_network_namespace_is_the_hosts_new_or_joined(network: Network, expected: str | None) -> None:
    found = namespaces(make(at=place(network=network, network_namespace="/ns"))[0])
    assert found.get("network") == expected
    assert {"pid", "ipc", "uts", "mount"} <= found.keys()


def test_a_container_without_a_cgroup_of_its_own_tells_no_path_and_mounts_none() -> None:
    document, _ = make(of=host(layout=cgroups.Layout.V1))
    assert "cgroupsPath" not in document["linux"]
    assert "/sys/fs/cgroup" not in [mount["destination"] for mount in document["mounts"]]


def test_limits_and_devices_are_told_to_the_cgroup() -> None:
    device: Document = {"path": "/dev/x", "type": "c", "major": 10, "minor": 5, "access": "r"}
    limits = Resources(memory=1, memory_swap=2, cpu_shares=3, cpu_period=4, cpu_quota=5, cpuset_cpus="0", pids=6)
    document, _ = make(spec(resources=limits), host(layout=cgroups.Layout.V2), place(cgroup="/g/1", devices=[device]))
    linux = document["linux"]
    assert linux["cgroupsPath"] == "/g/1"
    assert linux["resources"]["memory"] == {"limit": 1, "swap": 2}
    assert linux["resources"]["cpu"] == {"shares": 3, "period": 4, "quota": 5, "cpus": "0"}
    assert linux["resources"]["pids"] == {"limit": 6}
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert linux["resources"]["devices"][-1] == {"allow": True, "type": "c", "major": 10, "minor": 5, "access": "r"}
    assert linux["devices"] == [{"path": "/dev/x", "type": "c", "major": 10, "minor": 5}]
    assert "cgroup" in namespaces(document)


def test_limits_are_cut_to_what_the_host_permits() -> None:
    document, warnings = make(
        spec(ulimits=(Limit("nofile", 10, 5000), Limit("core", -1, -1))),
        host(capabilities=EVERYTHING - {"CAP_SYS_RESOURCE"}),
    )
    assert document["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 1000},
        {"type": "RLIMIT_CORE", "soft": 1000, "hard": 1000},
    ]
    assert len(warnings) == 2


def test_limits_are_not_cut_with_the_capability_to_raise_them() -> None:
    document, warnings = make(spec(ulimits=(Limit("nofile", 10, 5000),)))
    assert document["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 5000}]
    assert warnings == []


@pytest.mark.parametrize("limit", [Limit("nosuch", 1, 1), Limit("nofile", 2, 1), Limit("nofile", -1, 1)])
def test_a_senseless_limit_is_refused(limit: Limit) -> None:
    with pytest.raises(InvalidError):
        make(spec(ulimits=(limit,)))


def test_a_lowered_oom_score_of_the_daemon_is_not_inherited() -> None:
    assert make(of=host(oom_score=-500))[0]["process"]["oomScoreAdj"] == 0
    assert "oomScoreAdj" not in make(of=host(oom_score=100))[0]["process"]


def test_an_init_is_put_before_the_program() -> None:
    assert make(at=place(init="/dev/init"))[0]["process"]["args"] == ["/dev/init", "--", "true"]


def test_annotations_of_the_caller_are_kept() -> None:
    document, _ = make(spec(annotations={"a": "b"}), at=place(compiled_filter=True))
    assert document["annotations"] == {"a": "b", "run.oci.seccomp_bpf_data": "ZmlsdGVy"}


def character_device(path: str) -> tuple[int, int, int]:
    if path == "/dev/none":
        raise FileNotFoundError(2, "No such file or directory")
    kind = stat.S_IFREG if path == "/dev/file" else stat.S_IFCHR
    return kind | 0o660, 10 << 8 | 200, 7


@pytest.mark.parametrize(
    ("text", "path", "access"),
    [
        ("/dev/a", "/dev/a", "rwm"),
        ("/dev/a:/dev/b", "/dev/b", "rwm"),
        ("/dev/a:r", "/dev/a", "r"),
        ("/dev/a:/dev/b/../c:rw", "/dev/c", "rw"),
    ],
)
def test_a_device_is_parsed_as_docker_does(text: str, path: str, access: str) -> None:
    assert parse_device(text, character_device) == {
        "path": path,
        "type": "c",
        "major": 10,
        "minor": 200,
        "fileMode": 0o660,
        "uid": 0,
        "gid": 7,
        "access": access,
    }


@pytest.mark.parametrize("text", ["", "dev", "/dev/a:x", "/dev/a:/b:r:w", "/dev/none", "/dev/file"])
def test_what_is_no_device_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_device(text, character_device)


def test_an_unprivileged_process_has_no_capabilities_and_can_get_none() -> None:
    document, warnings = make(spec(unprivileged=True), of=host(capabilities=frozenset()))
    process = document["process"]
    assert process["capabilities"] == {"bounding": [], "effective": [], "permitted": []}
    assert process["noNewPrivileges"] is True
    assert document["linux"]["maskedPaths"]
    assert document["linux"].get("seccomp") or document["annotations"]["run.oci.seccomp_bpf_data"]
    assert warnings == []
