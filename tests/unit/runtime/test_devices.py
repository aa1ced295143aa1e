"""Specifications of devices: what is read of them, which files count, and what a container gets."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import BoatyardError, InvalidError, NotFoundError, UnsupportedError
from boatyard.runtime import edits
from boatyard.runtime.cdi.document import parse
from boatyard.runtime.cdi.registry import Registry
from boatyard.runtime.edits import DeviceNode, EditMount, Edits, Hook, IntelRdt

FULL = """
cdiVersion: "0.7.0"
kind: vendor.test/gpu
annotations:
  of.the/file: "1"
  org.mobyproject.buildkit.device.autoallow: true
containerEdits:
  env: [ALL=1]
devices:
- name: "0"
  annotations: {of.the/device: 7}
  containerEdits:
    env: [ONE=1, TWO=a=b]
    deviceNodes:
    - path: /dev/gpu0
      hostPath: /dev/real
      type: c
      major: 195
      minor: 3
      fileMode: 438
      permissions: rw
      uid: 1
      gid: 2
    mounts:
    - hostPath: /usr/lib/gpu
      containerPath: /opt/gpu
      options: [ro, nosuid]
      type: bind
    hooks:
    - hookName: createRuntime
      path: /usr/bin/setup
      args: [setup, --quick]
      env: [A=b]
      timeout: 3
    additionalGids: [0, 44]
    intelRdt: {closID: fast, l3CacheSchema: "L3:0=f"}
"""


def device(text: str = FULL, name: str = "f.yaml") -> Any:
    return parse(dedent(text).encode(), name)


def test_everything_a_device_may_ask_for_is_read() -> None:
    spec = device()
    assert spec.edits == Edits(env=("ALL=1",))
    (found,) = spec.devices
    assert found.name == "vendor.test/gpu=0"
    assert found.annotations == {
        "of.the/file": "1",
        "of.the/device": "7",
        "org.mobyproject.buildkit.device.autoallow": "true",
    }
    assert found.edits == Edits(
        env=("ONE=1", "TWO=a=b"),
        nodes=(DeviceNode("/dev/gpu0", "/dev/real", "c", 195, 3, 0o666, "rw", 1, 2),),
        mounts=(EditMount("/usr/lib/gpu", "/opt/gpu", ("ro", "nosuid"), "bind"),),
        hooks=(Hook("createRuntime", "/usr/bin/setup", ("setup", "--quick"), ("A=b",), 3),),
        groups=(44,),
        intel_rdt=IntelRdt("fast", "L3:0=f"),
    )


def test_json_and_yaml_say_the_same() -> None:
    raw = yaml.safe_load(FULL)
    raw["annotations"]["org.mobyproject.buildkit.device.autoallow"] = "true"
    raw["devices"][0]["annotations"] = {"of.the/device": "7"}
    assert parse(json.dumps(raw).encode(), "f.json").devices == device().devices


SMALL = {"cdiVersion": "0.6.0", "kind": "v.t/c", "devices": [{"name": "d", "containerEdits": {"env": ["A=1"]}}]}


def changed(**values: Any) -> bytes:
    return json.dumps({**SMALL, **values}).encode()


def with_edits(version: str = "1.1.0", **values: Any) -> bytes:
    return changed(cdiVersion=version, devices=[{"name": "d", "containerEdits": values}])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "f.json"),
        (changed(cdiVersion="2.0.0"), "unknown version '2.0.0'"),
        (changed(kind="vendor"), "is not VENDOR/CLASS"),
        (changed(kind="vendor/-x"), "is not VENDOR/CLASS"),
        (changed(devices=[]), "no devices"),
        (changed(devices=SMALL["devices"] * 2), "two devices of one name"),
        (changed(devices=[{"name": "a b", "containerEdits": {}}]), "is no name of a device"),
        (changed(devices=[{"name": "d"}]), "edits nothing"),
        (changed(other=1), "unknown field `other`"),
        (with_edits(env=["A"]), "'A' is no variable"),
        (with_edits(env=["=A"]), "is no variable"),
        (with_edits(deviceNodes=[{"path": "dev"}]), "no absolute path"),
        (with_edits(deviceNodes=[{"path": "/d", "type": "x"}]), "unknown type 'x'"),
        (with_edits(deviceNodes=[{"path": "/d", "permissions": "rx"}]), "no choice of rwm"),
        (with_edits(mounts=[{"hostPath": "", "containerPath": "/x"}]), "a mount needs"),
        (with_edits(hooks=[{"hookName": "before", "path": "/x"}]), "unknown hook 'before'"),
        (with_edits(hooks=[{"hookName": "poststop", "path": "x"}]), "absolute path"),
        (with_edits(intelRdt={"closID": "a/b"}), "class of service"),
        # What came with a later version than the file says it has.
        (changed(cdiVersion="0.5.0", annotations={"a": "b"}), "came with version 0.6.0"),
        (changed(cdiVersion="0.5.0", kind="v/a.b"), "came with version 0.6.0"),
        (with_edits("0.4.0", deviceNodes=[{"path": "/d", "hostPath": "/e"}]), "came with version 0.5.0"),
        (with_edits("0.6.0", additionalGids=[1]), "came with version 0.7.0"),
        (with_edits("0.3.0", mounts=[{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]), "version 0.4.0"),
    ],
)
def test_a_malformed_file_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(data, "f.json")
    assert message in caught.value.message


@pytest.mark.parametrize(
    "values", [{"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}, {"intelRdt": {"schemata": ["x"]}}]
)
def test_what_can_not_be_done_yet_is_told(values: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="not supported yet"):
        parse(with_edits(**values), "f.json")


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["f.json", "f.yaml"]))
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    try:
        parse(data, name)
    except BoatyardError:
        pass


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.sampled_from(["0.6.0", "v.t/c", "d", "/x", "A=1", "c"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["cdiVersion", "kind", "devices", "containerEdits", "name", "env", "deviceNodes", "path", "annotations"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(_VALUES)
def test_any_document_is_read_or_refused(value: Any) -> None:
    for data, name in ((json.dumps(value).encode(), "f.json"), (yaml.safe_dump(value).encode(), "f.yml")):
        try:
            parse(data, name)
        except BoatyardError:
            pass


# -- which files count -----------------------------------------------------------------------------------------------


def spec(name: str, *devices: str, env: str = "A=1", **annotations: str) -> str:
    return json.dumps(
        {
            "cdiVersion": "0.6.0",
            "kind": name,
            "annotations": annotations,
            "devices": [{"name": each, "containerEdits": {"env": [f"{env}-{each}"]}} for each in devices],
            "containerEdits": {"env": ["FILE=1"]},
        }
    )


def names(registry: Registry) -> list[str]:
    return [device.name for device in registry.devices()]


def test_files_are_found_when_they_come_and_go(tmp_path: Path) -> None:
    registry = Registry([str(tmp_path / "cdi"), str(tmp_path / "none")])
    assert names(registry) == []
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/a.json").write_text(spec("v/c", "two", "one"))
    (tmp_path / "cdi/notes.txt").write_text("no specification")
    assert names(registry) == ["v/c=one", "v/c=two"]
    (tmp_path / "cdi/a.json").write_text(spec("v/c", "three"))
    assert names(registry) == ["v/c=three"]
    (tmp_path / "cdi/a.json").unlink()
    assert names(registry) == []


def test_a_later_directory_stands_before_an_earlier_one(tmp_path: Path) -> None:
    for name in ("low", "high"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.json").write_text(spec("v/c", "d", env=f"FROM={name}"))
    registry = Registry([str(tmp_path / "low"), str(tmp_path / "high")])
    assert registry.edits(["v/c=d"]).env == ("FILE=1", "FROM=high-d")
    (tmp_path / "low/b.json").write_text(spec("v/c", "d"))
    # Two below are no matter, when there is one above.
    assert names(registry) == ["v/c=d"]


def test_two_of_one_name_are_both_left_out_and_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.json").write_text(spec("v/c", "d", "e"))
    (tmp_path / "b.json").write_text(spec("v/c", "d"))
    registry = Registry([str(tmp_path)])
    assert names(registry) == ["v/c=e"]
    assert registry.problems == (f"the device v/c=d is in both {tmp_path}/a.json and {tmp_path}/b.json",)
    names(registry)
    assert len(caplog.records) == 1


def test_a_bad_file_keeps_no_other_from_counting(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.yaml").write_text("kind: [")
    (tmp_path / "c.json").write_text(spec("v/c", "d"))
    registry = Registry([str(tmp_path)])
    assert names(registry) == ["v/c=d"]
    assert [problem.split(":")[0].split(" ")[0] for problem in registry.problems] == [
        f"{tmp_path}/a.json",
        f"{tmp_path}/b.yaml",
    ]


def test_devices_are_allowed_by_themselves_or_by_the_configuration(tmp_path: Path) -> None:
    said = {"org.mobyproject.buildkit.device.autoallow": "true"}
    (tmp_path / "a.json").write_text(spec("v/said", "d", **said))
    (tmp_path / "b.json").write_text(spec("v/kind", "d"))
    (tmp_path / "c.json").write_text(spec("v/one", "d", "e"))
    registry = Registry([str(tmp_path)], ["v/kind", "v/one=d"])
    assert {device.name: device.auto_allow for device in registry.devices()} == {
        "v/said=d": True,
        "v/kind=d": True,
        "v/one=d": True,
        "v/one=e": False,
    }


def test_edits_of_a_file_come_once_and_first(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(spec("v/c", "d", "e"))
    registry = Registry([str(tmp_path)])
    assert registry.edits(["v/c=e", "v/c=d", "v/c=e"]).env == ("FILE=1", "A=1-e", "A=1-d")
    with pytest.raises(NotFoundError, match="not there any more"):
        registry.edits(["v/c=x"])


# -- what they do ----------------------------------------------------------------------------------------------------


def test_variables_stand_in_the_place_of_others() -> None:
    assert edits.environment(["A=1", "B=2"], Edits(env=("A=3", "C=4"))) == ["B=2", "A=3", "C=4"]


def look(mode: int, number: int = 0) -> Any:
    def status(path: str) -> os.stat_result:
        return os.stat_result(
            [mode, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number, 0, 0][:10], {"st_rdev": number}
        )

    return status


def absent(path: str) -> os.stat_result:
    raise FileNotFoundError(2, "No such file or directory")


def test_what_a_node_does_not_say_is_the_hosts() -> None:
    number = os.makedev(10, 5)
    found = edits.device(DeviceNode("/dev/x", "/host/x"), 7, 8, look(stat.S_IFCHR | 0o640, number))
    assert found == {
        "path": "/dev/x", "type": "c", "major": 10, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8, "access": "rwm",
    }  # fmt: skip


def test_a_node_that_says_all_need_not_be_there() -> None:
    node = DeviceNode("/dev/x", type="b", major=8, minor=1, access="r", uid=0, gid=0)
    assert edits.device(node, 7, 8, absent) == {
        "path": "/dev/x", "type": "b", "major": 8, "minor": 1, "uid": 0, "gid": 0, "access": "r",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("node", "how", "message"),
    [
        (DeviceNode("/dev/x"), absent, "can't be looked at: No such file"),
        (DeviceNode("/dev/x"), look(stat.S_IFREG), "is no device node"),
        (DeviceNode("/dev/x", type="b"), look(stat.S_IFCHR), "is of type c, not b"),
    ],
)
def test_a_node_that_is_something_else_is_refused(node: DeviceNode, how: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        edits.device(node, 0, 0, how)


def test_hooks_are_grouped_by_their_time() -> None:
    every = Edits(hooks=(Hook("prestart", "/a"), Hook("poststop", "/b", ("b",), ("X=1",), 0), Hook("prestart", "/c")))
    assert edits.hooks(every) == {
        "prestart": [{"path": "/a"}, {"path": "/c"}],
        "poststop": [{"path": "/b", "args": ["b"], "env": ["X=1"], "timeout": 0}],
    }
