"""RUN --device: specifications of devices, who may use them, and what a step gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.project import Project, outcomes, printed
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A daemon that grants devices. Its specifications are in `cdi` below its root."""
    yard = Yard(tmp_path_factory.mktemp("cdi"))
    write_files(
        yard.root,
        {
            "boatd.toml": f'entitlements = ["device"]\n[cdi]\nspec_dirs = ["{yard.root}/cdi"]\n',
            "lib/file": "from the host",
            "hook.sh": f"#!/bin/sh\necho $1 $WORD >>{yard.root}/hooked\n",
            "cdi/gpu.yaml": f"""
cdiVersion: "0.7.0"
kind: vendor.test/gpu
containerEdits:
  env: [VENDOR=yes]
devices:
- name: one
  annotations:
    org.mobyproject.buildkit.device.class: gpus
  containerEdits:
    env: [GPU=one, PATH=/opt/gpu:/bin]
    deviceNodes:
    - path: /dev/gpu0
      hostPath: /dev/zero
      permissions: r
      fileMode: 438
    - {{path: /dev/gpu-pipe, type: p}}
    mounts:
    - hostPath: {yard.root}/lib
      containerPath: /opt/gpu
      options: [ro, nosuid, nodev, bind]
    hooks:
    - hookName: createRuntime
      path: {yard.root}/hook.sh
      args: [hook.sh, hello]
      env: [WORD=world]
    additionalGids: [4321]
""",
            "cdi/free.json": json.dumps(
                {
                    "cdiVersion": "0.6.0",
                    "kind": "vendor.test/free",
                    "annotations": {"org.mobyproject.buildkit.device.autoallow": "true"},
                    "devices": [{"name": "x", "containerEdits": {"env": ["FREE=x"]}}],
                }
            ),
            "cdi/broken.json": "{",
        },
    )
    (yard.root / "hook.sh").chmod(0o755)
    yard.flags = ["--config", str(yard.root / "boatd.toml")]
    yard.start()
    yard.run("bootstrap", "busybox")
    yield yard
    assert yard.stop() == 0


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "using")


def test_a_step_gets_all_that_its_device_needs(project: Project) -> None:
    project.dockerfile("""
        FROM busybox
        RUN --device=vendor.test/gpu=one echo $VENDOR $GPU $PATH; cat /opt/gpu/file; echo
        RUN --device=vendor.test/gpu=one head -c 3 /dev/gpu0 | od -An -tx1; stat -c %a:%F /dev/gpu0 /dev/gpu-pipe
        RUN --device=vendor.test/gpu=one id -G; touch /opt/gpu/x 2>/dev/null || echo read-only
        RUN echo "without: $GPU"; ls /opt/gpu 2>/dev/null || echo nothing left
        """)
    told = printed(project.build("--no-cache", "--allow=device"))
    assert told[:2] == ["yes one /opt/gpu:/bin", "from the host"]
    assert told[2:5] == [" 00 00 00", "666:character special file", "644:fifo"] or told[4].endswith(":fifo")
    assert "4321" in told[5].split()
    assert told[6:] == ["read-only", "without: ", "nothing left"]
    assert (project.yard.root / "hooked").read_text().splitlines() == ["hello world"] * 3


def test_a_device_must_be_allowed(project: Project) -> None:
    project.dockerfile("FROM busybox\nRUN --device=vendor.test/gpu true\n")
    told = project.fails()
    assert "2 | >>> RUN --device=vendor.test/gpu true" in told
    assert "the device vendor.test/gpu=one is requested by the build but not allowed" in told
    assert "--allow device=vendor.test/gpu=one" in told
    project.build("--allow=device=vendor.test/gpu")


def test_a_device_may_allow_itself_and_have_other_names(project: Project) -> None:
    project.dockerfile("""
        FROM busybox
        RUN --device=vendor.test/free echo $FREE
        RUN --device=gpus echo $GPU
        RUN --device=some/gpu echo $GPU
        RUN --device=other/gpu echo "without $GPU"
        """)
    told = project.build("--no-cache", "--allow=device=gpus", "--allow=device=vendor.test/gpu=one,alias=some/gpu")
    assert printed(told) == ["x", "one", "one", "without "]
    assert "the device other/gpu is not there: the step goes without it" in told
    told = project.build("--allow=device=gpus", "--allow=device=vendor.test/gpu=one,alias=some/gpu")
    assert set(list(outcomes(told).values())[1:]) == {"CACHED"}


def test_a_device_that_is_required_must_be_there(project: Project) -> None:
    project.dockerfile("FROM busybox\nRUN --device=other/gpu,required true\n")
    told = project.fails("--allow=device")
    assert "the step needs the device 'other/gpu', which is not there" in told
    assert "vendor.test/gpu=one" in told


def test_the_daemon_tells_which_there_are_and_what_is_wrong(yard: Yard) -> None:
    told = yard.run("daemon", "status").stdout
    assert "vendor.test/free=x, vendor.test/gpu=one" in told
    assert "broken.json" in told


def test_devices_can_be_switched_off(own_yard: Yard, tmp_path: Path) -> None:
    assert own_yard.stop() == 0
    (tmp_path / "boatd.toml").write_text("[cdi]\nenabled = false\n")
    own_yard.flags = ["--config", str(tmp_path / "boatd.toml")]
    own_yard.start()
    own_yard.run("bootstrap", "busybox")
    project = Project(own_yard, tmp_path / "context")
    project.dockerfile("FROM busybox\nRUN --device=vendor.test/gpu,required true\n")
    assert "devices are switched off" in project.fails()
    project.dockerfile("FROM busybox\nRUN true\n")
    told = project.fails("--allow=device")
    assert "the entitlement device is not allowed by this daemon's configuration" in told
