"""LinuxKit's image definitions: what is taken, and how it is said that something isn't."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import InvalidError
from boatyard.logs.boot import planning
from boatyard.logs.boot.bundle import read_linuxkit
from boatyard.logs.boot.configuration import ImageFacts, configuration, merged
from boatyard.logs.boot.document import Item, parse
from boatyard.runtime.capabilities import NAMES

ALL = frozenset(NAMES)

EXAMPLE = """
kernel: {image: "linuxkit/kernel:6.12", cmdline: "console=ttyS0"}
init: [linuxkit/init:1]
onboot:
  - name: sysctl
    image: linuxkit/sysctl:1
  - name: dhcpcd
    image: linuxkit/dhcpcd:1
    command: ["/sbin/dhcpcd", "--nobackground", "-f", "/dhcpcd.conf", "-1"]
onshutdown:
  - name: shutdown
    image: busybox:latest
    command: ["/bin/echo", "so long"]
services:
  - name: getty
    image: linuxkit/getty:1
    env: [INSECURE=true]
    devices: [{path: "/dev/console", type: c, major: 5, minor: 1, mode: "0666"}]
  - name: redis
    image: redis
    uid: redis
    gid: redis
    binds: ["/etc/redis:/etc/redis"]
    restart: on-failure:3
  - name: shell
    command: [sh, -c, "echo hello"]
    restart: no
files:
  - path: etc/redis/redis.conf
    contents: "x"
    uid: redis
    gid: redis
    mode: "0600"
"""


def test_a_definition_is_read() -> None:
    definition = parse(EXAMPLE)
    assert [item.name for item in definition.onboot] == ["sysctl", "dhcpcd"]
    assert [item.restart for item in definition.services] == ["no", "on-failure:3", "no"]
    assert definition.services[2].image == ""
    assert definition.images == (
        "linuxkit/sysctl:1",
        "linuxkit/dhcpcd:1",
        "linuxkit/getty:1",
        "redis",
        "busybox:latest",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "an image definition is an object"),
        ("a: [", "line "),
        ("service: []", "unknown section 'service'"),
        ("services: x", "services: expected a list"),
        ("services: [x]", "services[0]: expected an object"),
        ("services: [{image: x}]", "a name is made of"),
        ("services: [{name: A, image: x}]", 'services[0] "A": a name is made of'),
        ("services: [{name: a}]", 'services[0] "a": there is neither an image nor a command'),
        ("services: [{name: a, image: x, binds: /a}]", 'services[0] "a": binds: expected a list of strings'),
        ("services: [{name: a, image: x, bind: [/a]}]", "unknown key 'bind'"),
        ("services: [{name: a, image: x, readonly: 1}]", "readonly: expected true or false"),
        ("services: [{name: a, image: x, uid: true}]", "uid: expected a number or an item's name"),
        ("services: [{name: a, image: x, restart: often}]", "restart: expected no, always"),
        ("services: [{name: a, image: x, mounts: [{where: /}]}]", "mounts[0]: unknown key 'where'"),
        ("services: [{name: a, image: x, runtime: {mkdir: /x}}]", "runtime: mkdir: expected a list of strings"),
        ("services: [{name: a, command: [x], binds: [a:/b]}]", "binds is for containers"),
        ("services: [{name: a, image: x}, {name: a, image: y}]", "there are two services named 'a'"),
        ("volumes: [{name: v}, {name: v}]", "there are two volumes named 'v'"),
        ("volumes: [{name: v, image: x, format: oci}]", "format 'oci' is not supported yet"),
        ("files: [{path: x}]", "expected one of contents, source, symlink and directory"),
        ("files: [{path: x, contents: a, symlink: b}]", "expected one of"),
        ("files: [{path: x, contents: a, mode: '9'}]", "mode '9' is not octal"),
        ("files: [{path: x, metadata: yaml}]", "metadata is not supported yet"),
        ("services: [{name: a, name: b, image: x}]", "'name' is there twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    assert words in caught.value.message


def test_a_slip_is_answered_with_the_right_word() -> None:
    with pytest.raises(InvalidError) as caught:
        parse("services: [{name: a, image: x, comand: [y]}]")
    assert caught.value.hint == "did you mean 'command'?"


@given(st.text(max_size=60))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        parse(text)
    except InvalidError:
        pass


PLAIN_IMAGE = ImageFacts(("cmd",))


def made(item: dict[str, object], image: ImageFacts = PLAIN_IMAGE) -> dict[str, Any]:
    parsed = parse(json.dumps({"services": [{"name": "x", "image": "i", **item}]})).services[0]
    document, _ = configuration(
        "x",
        merged(parsed, image),
        ids={"x": 100, "other": 101},
        volumes={"vol": "/volumes/vol/merged", "fixed": "/volumes/fixed/merged"},
        readonly_volumes=frozenset(["fixed"]),
        available=ALL,
    )
    return document


def test_an_item_with_nothing_said_is_linuxkits_default() -> None:
    document = made({}, ImageFacts(("entry", "arg"), ("A=1",), "/work"))
    process = document["process"]
    assert isinstance(process, dict)
    assert (process["args"], process["env"], process["cwd"]) == (["entry", "arg"], ["A=1"], "/work")
    assert process["user"] == {"uid": 0, "gid": 0, "additionalGids": []}
    assert process["capabilities"]["effective"] == []
    linux = document["linux"]
    assert isinstance(linux, dict)
    assert linux["namespaces"] == [{"type": "pid"}, {"type": "mount"}]
    assert isinstance(document["mounts"], list)
    assert [mount["destination"] for mount in document["mounts"]] == [
        "/dev", "/dev/pts", "/proc", "/sys", "/sys/fs/cgroup",
    ]  # fmt: skip


def test_the_definition_wins_over_the_label_and_the_label_over_the_image() -> None:
    label = '{"capabilities": ["CAP_CHOWN"], "binds": ["/a:/a"], "env": ["L=1"], "net": "new", "readonly": true}'
    image = ImageFacts(("cmd",), ("I=1",), "", {"org.mobyproject.config": label})
    document = made({"capabilities.add": ["CAP_KILL"], "binds.add": ["/b:/b:ro"]}, image)
    assert document["process"]["capabilities"]["effective"] == ["CAP_CHOWN", "CAP_KILL"]
    assert document["process"]["env"] == ["L=1"]
    assert document["root"] == {"path": "rootfs", "readonly": True}
    binds = {mount["destination"]: mount["options"] for mount in document["mounts"] if mount["type"] == "bind"}
    assert binds == {"/a": ["rw", "rbind", "rshared"], "/b": ["ro", "rbind"]}
    replaced = made({"capabilities": ["CAP_KILL"], "binds": [], "net": "host"}, image)
    assert replaced["process"]["capabilities"]["effective"] == ["CAP_KILL"]
    assert not [mount for mount in replaced["mounts"] if mount["type"] == "bind"]
    assert {"type": "network"} not in replaced["linux"]["namespaces"]


def test_namespaces_are_the_hosts_unless_something_else_is_said() -> None:
    document = made({"net": "none", "ipc": "new", "uts": "/run/uts", "pid": "host", "userns": "host"})
    assert document["linux"]["namespaces"] == [
        {"type": "network"},
        {"type": "ipc"},
        {"type": "uts", "path": "/run/uts"},
        {"type": "mount"},
    ]


def test_every_key_ends_up_somewhere() -> None:
    document = made(
        {
            "capabilities": ["all"],
            "ambient": ["CAP_KILL"],
            "mounts": [{"type": "cgroup", "options": ["rw"]}, {"source": "mqueue"}],
            "tmpfs": ["/scratch:size=1m,noexec"],
            "cwd": "/w",
            "uid": "other",
            "gid": 5,
            "additionalGids": ["x", 7],
            "noNewPrivileges": True,
            "hostname": "h",
            "oomScoreAdj": -5,
            "rootfsPropagation": "shared",
            "cgroupsPath": "/g",
            "resources": {"memory": {"limit": 1000}},
            "sysctl": {"net.ipv4.ip_forward": "1"},
            "rlimits": ["nofile,100,unlimited"],
            "annotations": {"a": "b"},
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "devices": [
                {"path": "/dev/console", "type": "c", "major": 5, "minor": 1, "mode": "0666"},
                {"path": "all", "type": "b"},
            ],
        }
    )
    process, linux = document["process"], document["linux"]
    assert isinstance(process, dict) and isinstance(linux, dict)
    assert set(process["capabilities"]["bounding"]) == ALL
    assert process["capabilities"]["ambient"] == ["CAP_KILL"]
    assert process["user"] == {"uid": 101, "gid": 5, "additionalGids": [100, 7]}
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": (1 << 64) - 1}]
    assert process["noNewPrivileges"] is True and process["oomScoreAdj"] == -5 and document["hostname"] == "h"
    assert linux["rootfsPropagation"] == "shared" and linux["cgroupsPath"] == "/g"
    assert linux["sysctl"] == {"net.ipv4.ip_forward": "1"}
    assert linux["devices"] == [{"path": "/dev/console", "type": "c", "major": 5, "minor": 1, "fileMode": 0o666}]
    assert linux["resources"] == {
        "memory": {"limit": 1000},
        "devices": [
            {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
            {"allow": True, "type": "b", "access": "rwm"},
        ],
    }
    mounts = {mount["destination"]: mount for mount in document["mounts"]}
    assert mounts["/sys/fs/cgroup"]["options"] == ["rw"]
    assert mounts["/dev/mqueue"]["type"] == "mqueue"
    assert mounts["/scratch"]["options"] == ["size=1m", "noexec"]


def test_volumes_are_bound_by_their_names() -> None:
    document = made({"binds": ["vol:/v", "fixed:/f"]})
    mounts = {mount["destination"]: mount for mount in document["mounts"]}
    assert mounts["/v"]["source"] == "/volumes/vol/merged" and "rw" in mounts["/v"]["options"]
    assert mounts["/f"]["source"] == "/volumes/fixed/merged" and "ro" in mounts["/f"]["options"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"capabilities": ["CAP_FLY"]}, "unknown capability CAP_FLY"),
        ({"binds": ["/a"]}, "'/a' is not SOURCE:/PLACE"),
        ({"binds": ["a:b:c:d"]}, "is not SOURCE:/PLACE"),
        ({"binds": ["fixed:/f:rw"]}, "the volume fixed is read-only"),
        ({"tmpfs": ["/a:b:c"]}, "too many colons"),
        ({"mounts": [{"destination": "/x"}]}, "has no type"),
        ({"mounts": [{"type": "ext4", "source": "/dev/sda"}]}, "has no destination"),
        ({"rlimits": ["nofile,1"]}, "is not NAME,SOFT,HARD"),
        ({"rlimits": ["nofile,x,1"]}, "'x' is no number"),
        ({"rlimits": ["files,1,1"]}, "unknown limit 'files'"),
        ({"uid": "nobody"}, "there is no item 'nobody'"),
        ({"devices": [{"path": "/dev/x", "type": "c", "mode": "rw"}]}, "is not octal"),
        ({"command": []}, "there is no command"),
    ],
)
def test_what_makes_no_container_is_refused(item: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        made(item)
    assert words in caught.value.message


def test_capabilities_nobody_has_are_left_out_with_a_warning() -> None:
    item = Item("x", "i", {"capabilities": ["CAP_CHOWN", "CAP_SYS_BOOT"]})
    document, warnings = configuration(
        "x", merged(item, ImageFacts(("c",))), ids={}, volumes={}, available=frozenset(["CAP_CHOWN"])
    )
    assert document["process"]["capabilities"]["effective"] == ["CAP_CHOWN"]
    assert warnings == ["x lacks CAP_SYS_BOOT: we don't have it either"]


def test_items_are_numbered_and_named_as_linuxkit_does_it() -> None:
    definition = parse(EXAMPLE)
    plan = planning.plan(definition, Path("/state"), lambda name: ImageFacts(("x",)), ALL)
    assert [each.source for each in plan.onboot] == ["onboot.000-sysctl", "onboot.001-dhcpcd"]
    assert [each.source for each in plan.services] == ["getty", "redis", "shell"]
    assert [each.source for each in plan.onshutdown] == ["shutdown.000-shutdown"]
    assert planning.numbers(definition) == {
        "sysctl": 100, "dhcpcd": 101, "shutdown": 102, "getty": 103, "redis": 104, "shell": 105,
    }  # fmt: skip
    assert plan.services[1].config["process"]["user"]["uid"] == 104
    assert plan.services[2].plain["command"] == ["sh", "-c", "echo hello"]


def test_linuxkits_own_bundles_are_read(tmp_path: Path) -> None:
    for name in ("onboot/001-b", "onboot/000-a", "services/web"):
        (tmp_path / name / "rootfs").mkdir(parents=True)
        (tmp_path / name / "config.json").write_text('{"process": {"args": ["x"]}}')
    (tmp_path / "services/web/runtime.json").write_text('{"mkdir": ["/run/x"]}')
    plan = read_linuxkit(tmp_path)
    assert [each.label for each in plan.onboot] == ["000-a", "001-b"]
    assert plan.services[0].runtime == {"mkdir": ["/run/x"]}
    assert plan.services[0].root == str(tmp_path / "services/web/rootfs")
    with pytest.raises(InvalidError, match="there is nothing to run"):
        read_linuxkit(tmp_path / "services")
    (tmp_path / "services/broken").mkdir()
    with pytest.raises(InvalidError, match=r"it has no config\.json"):
        read_linuxkit(tmp_path)


@pytest.mark.root
def test_files_are_written_below_a_directory_and_nowhere_else(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "source").write_text("from a file")
    definition = parse(
        """
services: [{name: a, image: i}]
files:
  - {path: /etc/a, contents: "text", mode: "0640", uid: a}
  - {path: ../../etc/b, source: source}
  - {path: dir, directory: true, mode: "0711"}
  - {path: dir/link, symlink: /etc/a}
  - {path: gone, source: nothing, optional: true}
"""
    )
    root = tmp_path / "root"
    root.mkdir()
    assert planning.write_files(definition, root, tmp_path) == ["/etc/a", "/etc/b", "/dir", "/dir/link"]
    status = (root / "etc/a").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (100, 0o640)
    assert (root / "etc/b").read_text() == "from a file"
    assert os.readlink(root / "dir/link") == "/etc/a"
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(InvalidError, match="leads out of"):
        planning.write_files(parse("files: [{path: out/x, contents: y}]"), root, tmp_path)
    assert not (tmp_path / "x").exists()
