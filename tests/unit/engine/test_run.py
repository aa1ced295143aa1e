"""`boat run` without containers: what is asked of the executor, and what is left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from boatyard.engine.run import Runner, RunOptions, specification
from boatyard.errors import InvalidError, NotFoundError
from boatyard.image import documents, spec
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.layer.store import LayerStore
from boatyard.image.snapshot.copying import CopyingSnapshotter
from boatyard.image.spec import Descriptor, ImageConfig, Manifest, RootFS, RunConfig
from boatyard.runtime.container import (
    BindMount,
    ContainerSpec,
    StartedReceiver,
    Stdio,
    TerminalReceiver,
    TmpfsMount,
    WarningReceiver,
)

CONFIG = RunConfig(
    env=("PATH=/bin", "A=image"), entrypoint=("/entry",), cmd=("default",), working_dir="/work", user="u"
)


@pytest.mark.parametrize(
    ("options", "args"),
    [
        (RunOptions(), ("/entry", "default")),
        (RunOptions(command=("x", "y")), ("/entry", "x", "y")),
        (RunOptions(entrypoint=("/other",)), ("/other",)),
        (RunOptions(entrypoint=(), command=("sh",)), ("sh",)),
    ],
)
def test_the_command_is_put_together_as_docker_does(options: RunOptions, args: tuple[str, ...]) -> None:
    assert specification(CONFIG, options).args == args


def test_without_any_command_there_is_nothing_to_run() -> None:
    with pytest.raises(InvalidError, match="no command"):
        specification(RunConfig(), RunOptions())


def test_what_the_caller_says_wins_over_the_image() -> None:
    found = specification(CONFIG, RunOptions(env=("A=mine",), working_dir="/tmp", user="root", hostname="h"))
    assert {"A=mine", "PATH=/bin", "HOSTNAME=h"} <= set(found.env)
    assert (found.cwd, found.user, found.hostname) == ("/tmp", "root", "h")
    found = specification(CONFIG, RunOptions())
    assert (found.cwd, found.user) == ("/work", "u")


def test_volumes_and_tmpfs_become_mounts(tmp_path: Path) -> None:
    options = RunOptions(volumes=(f"{tmp_path}:/a:ro", f"{tmp_path}:/b"), tmpfs=("/c", "/d:size=64m,mode=700"))
    assert specification(CONFIG, options).mounts == (
        BindMount(tmp_path, "/a", readonly=True),
        BindMount(tmp_path, "/b"),
        TmpfsMount("/c"),
        TmpfsMount("/d", size=64 << 20, mode=0o700),
    )


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(volumes=("/:relative",)),
        RunOptions(volumes=("relative:/a",)),
        RunOptions(volumes=("/:/a:shared",)),
        RunOptions(volumes=("/:/a", "/tmp:/a/")),
        RunOptions(volumes=("/:/a",), tmpfs=("/a",)),
        RunOptions(tmpfs=("relative",)),
        RunOptions(tmpfs=("/a:noexec=1",)),
    ],
)
def test_mounts_that_make_no_sense_are_refused(options: RunOptions) -> None:
    with pytest.raises(InvalidError):
        specification(CONFIG, options)


def test_a_volume_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(NotFoundError, match="/nonexistent-directory"):
        specification(CONFIG, RunOptions(volumes=("/nonexistent-directory:/a",)))


class Programs:
    """An executor whose containers are functions."""

    def __init__(self) -> None:
        self.program: Callable[[ContainerSpec], Awaitable[int]] = _succeed

    async def run(
        self,
        spec: ContainerSpec,
        stdio: Stdio | TerminalReceiver,
        *,
        on_start: StartedReceiver | None = None,
        on_warning: WarningReceiver | None = None,
    ) -> int:
        return await self.program(spec)


async def _succeed(spec: ContainerSpec) -> int:
    return 0


class Dock:
    """An image to run, and a runner."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.content = MemoryStore()
        self.snapshots = CopyingSnapshotter(root)
        self.layers = LayerStore(Database(":memory:"), self.content, self.snapshots)
        self.programs = Programs()
        self.runner = Runner(self.layers, self.programs)
        active = self.snapshots.prepare()
        (self.snapshots.directory(active) / "file").write_text("image")
        self.layer = self.layers.add(active)
        ((diff_id, size),) = self.layers.describe((self.layer,))
        self.layers.record_chain((self.layer,))
        config = ImageConfig(architecture="amd64", os="linux", config=CONFIG, rootfs=RootFS(diff_ids=(diff_id,)))
        manifest = Manifest(
            schema_version=2,
            media_type=spec.OCI_MANIFEST,
            config=documents.write(self.content, spec.encode(config), spec.OCI_CONFIG),
            layers=(Descriptor(media_type=spec.OCI_LAYER, digest=diff_id, size=size),),
        )
        self.target = documents.write(self.content, spec.encode(manifest), spec.OCI_MANIFEST)

    async def run(self, options: RunOptions = RunOptions()) -> int:  # noqa: B008 -- frozen
        return await self.runner.run(self.target, None, options, Stdio(0, 1, 2))

    def assert_nothing_is_left(self) -> None:
        assert os.listdir(self.root / ".active") == []
        self.layers.remove(self.layer)
        assert list(self.snapshots.walk()) == []


@pytest.fixture
def dock(tmp_path: Path) -> Dock:
    return Dock(tmp_path)


async def test_changes_of_a_container_are_thrown_away(dock: Dock) -> None:
    async def write(spec: ContainerSpec) -> int:
        assert (spec.root / "file").read_text() == "image"
        (spec.root / "file").write_text("changed")
        return 7

    dock.programs.program = write
    assert await dock.run() == 7
    assert (dock.layers.directories((dock.layer,))[0] / "file").read_text() == "image"
    dock.assert_nothing_is_left()


async def test_nothing_is_mounted_for_options_that_are_refused(dock: Dock) -> None:
    with pytest.raises(InvalidError):
        await dock.run(RunOptions(tmpfs=("relative",)))
    dock.assert_nothing_is_left()


@pytest.mark.parametrize("turns", range(10))
async def test_a_run_cancelled_at_any_moment_leaves_nothing(dock: Dock, turns: int) -> None:
    async def forever(spec: ContainerSpec) -> int:
        await asyncio.Event().wait()
        return 0

    dock.programs.program = forever
    task = asyncio.create_task(dock.run())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    dock.assert_nothing_is_left()


async def test_a_layer_of_a_running_container_is_not_removed(dock: Dock) -> None:
    async def remove(spec: ContainerSpec) -> int:
        with pytest.raises(Exception, match="in use"):
            dock.layers.remove(dock.layer)
        return 0

    dock.programs.program = remove
    assert await dock.run() == 0
