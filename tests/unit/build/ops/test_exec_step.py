"""The exec op without containers: what its key heeds, what it asks the executor for, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from boatyard.build.copying.memory import ContextMemory
from boatyard.build.entitlements import grant
from boatyard.build.llb import codec
from boatyard.build.llb.graph import (
    CacheOpt,
    CDIDevice,
    ContentCache,
    Edge,
    ExecOp,
    HostIP,
    Meta,
    Mount,
    MountType,
    NetMode,
    OpMetadata,
    ProxyEnv,
    SecretEnv,
    SecretOpt,
    SecurityMode,
    SourceOp,
    SSHOpt,
    Ulimit,
    Vertex,
)
from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.ops.exec import ExecStep
from boatyard.build.ops.worker import BuildContext, Worker
from boatyard.build.requester import WHOLE, ClientDirectory, Progress, Wanted
from boatyard.build.result import LayersResult
from boatyard.build.solver.step import SharedStep
from boatyard.build.source.image import Images, NoFetcher
from boatyard.errors import DeniedError, ExitError, InvalidError, NotFoundError, StorageError
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.digest import Digest
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.image.platform import parse as parse_platform
from boatyard.image.snapshot.copying import CopyingSnapshotter
from boatyard.image.snapshot.snapshotter import SnapshotId
from boatyard.image.store import ImageStore
from boatyard.progress import Event, LogEvent, WarningEvent
from boatyard.runtime import container
from boatyard.runtime.cdi.registry import Registry
from boatyard.runtime.container import ContainerSpec, StartedReceiver, Stdio, TerminalReceiver, WarningReceiver

Program = Callable[[ContainerSpec, Stdio], Awaitable[int]]


async def succeed(spec: ContainerSpec, stdio: Stdio) -> int:
    return 0


class Programs:
    """An executor whose containers are functions."""

    def __init__(self) -> None:
        self.program: Program = succeed
        self.specs: list[ContainerSpec] = []

    async def run(
        self,
        spec: ContainerSpec,
        stdio: Stdio | TerminalReceiver,
        *,
        on_start: StartedReceiver | None = None,
        on_warning: WarningReceiver | None = None,
    ) -> int:
        assert isinstance(stdio, Stdio)
        self.specs.append(spec)
        return await self.program(spec, stdio)


class FailingStore(LayerStore):
    """Whose disk is full at the second layer."""

    def add(self, snapshot: SnapshotId, *, base: Chain = ()) -> LayerId:
        if len(list(self.walk())) > 1:
            raise StorageError("can't keep a snapshot: no space left on device")
        return super().add(snapshot, base=base)


@dataclass
class Client:
    """A requester that has secrets and agents."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)

    def directory(
        self, name: str, wanted: Wanted = WHOLE, *, progress: Progress | None = None
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        raise NotFoundError(name)

    def layout(
        self, name: str, digest: Digest | None, platform: Platform, *, session: str = ""
    ) -> AbstractAsyncContextManager[ClientDirectory]:
        raise NotFoundError(name)

    async def secret(self, id: str) -> bytes | None:
        return self.secrets.get(id)

    async def ssh_agent(self, id: str) -> str | None:
        return self.agents.get(id)

    async def registry_credentials(self, host: str) -> None:
        return None

    async def upload(self, id: str) -> int | None:
        return None

    async def output(self, index: int) -> None:
        return None


class Shop:
    """A worker without containers, and a base layer to run steps on."""

    def __init__(self, root: Path, kind: type[LayerStore] = LayerStore) -> None:
        database, content = Database(":memory:"), MemoryStore()
        self.snapshots = CopyingSnapshotter(root / "snapshots")
        self.layers = kind(database, content, self.snapshots)
        self.programs = Programs()
        self.client = Client()
        self.build = BuildContext(requester=self.client, solve=lambda edge: asyncio.sleep(0))
        self.root = root
        self.worker = Worker(
            layers=self.layers,
            images=Images(ImageStore(database, content), self.layers, NoFetcher()),
            executor=self.programs,
            cache_mounts=CacheMounts(root / "mounts"),
            directory=root,
            contexts=ContextMemory(root / "contexts"),
            platform=parse_platform("linux/amd64"),
        )
        active = self.snapshots.prepare()
        (self.snapshots.directory(active) / "file").write_text("base")
        (self.snapshots.directory(active) / "directory").mkdir()
        self.base = LayersResult((self.layers.add(active),), self.layers)
        self.events: list[Event] = []
        self.step = SharedStep(lambda: 0.0)
        self.step.join("v", self.events.append)

    def op(self, op: ExecOp, inputs: int = 1, **vertex: object) -> ExecStep:
        sources = [Edge(codec.vertex(SourceOp(f"local://{number}"))) for number in range(inputs)]
        made: Vertex = codec.vertex(op, sources, **vertex)  # type: ignore[arg-type]
        return ExecStep(made, op, self.worker, self.build)

    async def execute(self, op: ExecOp) -> Sequence[LayersResult]:
        return await self.op(op).execute(self.step, [self.base])  # type: ignore[return-value]

    @property
    def active(self) -> list[str]:
        return os.listdir(self.root / "snapshots/.active")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


ROOT = Mount("/", input=0, output=0)
OP = ExecOp(Meta(args=("/bin/sh", "-c", "make"), env=("A=1",), cwd="/src"), (ROOT,))


def with_meta(**changes: object) -> ExecOp:
    return replace(OP, meta=replace(OP.meta, **changes))  # type: ignore[arg-type]


async def key(shop: Shop, op: ExecOp, inputs: int = 1, **vertex: object) -> str:
    return (await shop.op(op, inputs, **vertex).cache_map(shop.step)).digest


@pytest.mark.parametrize(
    "changed",
    [
        with_meta(args=("/bin/sh", "-c", "make all")),
        with_meta(env=("A=2",)),
        with_meta(env=("A=1", "B=1")),
        with_meta(cwd="/"),
        with_meta(user="1000"),
        with_meta(hostname="h"),
        with_meta(extra_hosts=(HostIP("db", "10.0.0.1"),)),
        with_meta(ulimits=(Ulimit("nofile", 1, 1),)),
        with_meta(valid_exit_codes=(1,)),
        replace(OP, mounts=(ROOT, Mount("/c", type=MountType.CACHE, cache=CacheOpt("one")))),
        replace(OP, mounts=(ROOT, Mount("/c", type=MountType.CACHE, cache=CacheOpt("two")))),
        replace(OP, mounts=(ROOT, Mount("/s", type=MountType.SECRET, secret=SecretOpt("id")))),
        replace(OP, mounts=(ROOT, Mount("/t", type=MountType.TMPFS))),
        replace(OP, network=NetMode.NONE),
        replace(OP, secret_env=(SecretEnv("id", "NAME"),)),
    ],
)
async def test_what_a_step_does_changes_its_key(shop: Shop, changed: ExecOp) -> None:
    assert await key(shop, changed) != await key(shop, OP)


async def test_the_platform_changes_the_key(shop: Shop) -> None:
    assert await key(shop, OP, platform=parse_platform("linux/arm64")) != await key(shop, OP)
    assert await key(shop, OP, platform=parse_platform("linux/amd64")) == await key(shop, OP)


async def test_what_only_helps_a_step_does_not_change_its_key(shop: Shop) -> None:
    plain = await key(shop, OP)
    assert await key(shop, with_meta(proxy_env=ProxyEnv(http_proxy="http://proxy:3128"))) == plain
    assert await key(shop, OP, metadata=OpMetadata(description={"a": "b"}, ignore_cache=True)) == plain
    shop.build = replace(shop.build, trust_host_ca=True, proxy=ProxyEnv(https_proxy="http://proxy"))
    assert await key(shop, OP) == plain
    shop.client.secrets["id"] = b"value"
    asking = replace(OP, secret_env=(SecretEnv("id", "NAME"),))
    before = await key(shop, asking)
    shop.client.secrets["id"] = b"another"
    assert await key(shop, asking) == before


async def test_only_an_input_that_is_read_and_never_written_counts_by_its_files(shop: Shop) -> None:
    mounts = (
        ROOT,
        Mount("/read", input=1, readonly=True, selector="/sub"),
        Mount("/write", input=2),
        Mount("/keyed", input=3, readonly=True, content_cache=ContentCache.OFF),
        Mount("/both-r", input=4, readonly=True),
        Mount("/both-w", input=4),
    )
    map = await shop.op(replace(OP, mounts=mounts), inputs=6).cache_map(shop.step)
    assert [content is not None for content in map.contents] == [False, True, False, False, False, False]


async def test_the_parts_of_the_key_are_told_in_words_without_secrets(shop: Shop) -> None:
    op = replace(with_meta(user="bob"), secret_env=(SecretEnv("id", "NAME"),))
    shop.client.secrets["id"] = b"hush"
    parts = (await shop.op(op).cache_map(shop.step)).components
    assert parts["the command"] == "/bin/sh -c make"
    assert parts["the variable A"] == "1" and parts["the user"] == "bob"
    assert "hush" not in repr(parts)


@pytest.mark.parametrize(
    ("op", "entitlement"),
    [
        (replace(OP, network=NetMode.HOST), "network.host"),
        (replace(OP, security=SecurityMode.INSECURE), "security.insecure"),
    ],
)
async def test_what_needs_an_entitlement_is_refused_without_it(shop: Shop, op: ExecOp, entitlement: str) -> None:
    with pytest.raises(DeniedError, match=entitlement):
        await key(shop, op)
    shop.build = replace(shop.build, entitlements=grant([entitlement], [entitlement]))
    await key(shop, op)


async def test_a_device_is_found_or_missed(shop: Shop, tmp_path: Path) -> None:
    needed = replace(OP, cdi_devices=(CDIDevice("vendor.test/gpu"),))
    wished = replace(OP, cdi_devices=(CDIDevice("vendor.test/gpu", optional=True),))
    with pytest.raises(NotFoundError, match="devices are switched off"):
        await key(shop, needed)
    assert await key(shop, wished) == await key(shop, OP)
    assert [event.short for event in shop.events if isinstance(event, WarningEvent)] == [
        "the device vendor.test/gpu is not there: the step goes without it"
    ]
    (tmp_path / "gpu.json").write_text(
        '{"cdiVersion": "0.6.0", "kind": "vendor.test/gpu",'
        ' "devices": [{"name": "one", "containerEdits": {"env": ["GPU=one"]}}]}'
    )
    shop.worker = replace(shop.worker, devices=Registry([str(tmp_path)]))
    with pytest.raises(DeniedError, match=r"vendor.test/gpu=one is requested by the build but not allowed"):
        await key(shop, wished)
    shop.build = replace(shop.build, entitlements=grant(["device"], ["device"]))
    # A kind and the device it means are the same.
    named = replace(OP, cdi_devices=(CDIDevice("vendor.test/gpu=one"),))
    assert await key(shop, needed) == await key(shop, named) != await key(shop, OP)


async def test_a_mount_of_an_input_that_is_not_there_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidError, match="input 3"):
        await key(shop, replace(OP, mounts=(ROOT, Mount("/x", input=3))))


async def test_a_step_without_a_root_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidError, match="no root"):
        await shop.execute(replace(OP, mounts=()))


async def test_the_changes_become_one_layer_on_top(shop: Shop) -> None:
    async def write(spec: ContainerSpec, stdio: Stdio) -> int:
        (spec.root / "made").write_text("here")
        os.write(stdio.stdout, b"hello\n")
        return 0

    shop.programs.program = write
    (result,) = await shop.execute(OP)
    assert result.layers[:-1] == shop.base.layers
    assert await result.read_file("/made") == b"here"
    assert [event.data for event in shop.events if isinstance(event, LogEvent)] == ["hello\n"]
    assert shop.active == []


async def test_a_writable_mount_without_output_keeps_nothing(shop: Shop) -> None:
    async def write(spec: ContainerSpec, stdio: Stdio) -> int:
        (bind,) = spec.mounts
        assert isinstance(bind, container.BindMount) and not bind.readonly
        (bind.source / "scribble").touch()
        return 0

    shop.programs.program = write
    (result,) = await shop.execute(replace(OP, mounts=(ROOT, Mount("/mnt", input=0))))
    assert await result.read_dir("/") == ("directory", "file")
    assert await shop.base.read_dir("/") == ("directory", "file")
    assert shop.active == []


async def test_a_root_that_is_read_only_inside_still_has_room_for_mount_points(shop: Shop) -> None:
    async def write(spec: ContainerSpec, stdio: Stdio) -> int:
        assert spec.readonly_root
        (spec.root / "mount-point").mkdir()
        return 0

    shop.programs.program = write
    results = await shop.execute(replace(OP, mounts=(Mount("/", input=0, readonly=True),)))
    assert results == []
    assert shop.active == []


async def test_relative_targets_are_below_the_working_directory(shop: Shop) -> None:
    await shop.execute(replace(OP, mounts=(ROOT, Mount("cache", type=MountType.CACHE, cache=CacheOpt("c")))))
    (spec,) = shop.programs.specs
    assert [mount.target for mount in spec.mounts] == ["/src/cache"]


async def test_secrets_and_agents_arrive_with_their_owners(shop: Shop) -> None:
    shop.client.secrets = {"token": b"hush", "variable": b"value"}
    shop.client.agents = {"default": "/run/agent"}
    op = ExecOp(
        Meta(args=("x",), env=("NAME=old",)),
        (
            ROOT,
            Mount("/run/secrets/token", type=MountType.SECRET, secret=SecretOpt("token", uid=5, mode=0o440)),
            Mount("/agent", type=MountType.SSH, ssh=SSHOpt("default", uid=5)),
        ),
        secret_env=(SecretEnv("variable", "NAME"),),
    )
    await shop.execute(op)
    (spec,) = shop.programs.specs
    assert spec.mounts == (
        container.SecretFile("/run/secrets/token", b"hush", uid=5, mode=0o440),
        container.AgentSocket("/run/agent", "/agent", uid=5),
    )
    assert [entry for entry in spec.env if entry.startswith("NAME=")] == ["NAME=value"]
    assert "SSH_AUTH_SOCK=/agent" in spec.env
    assert "hush" not in repr(spec)
    assert shop.build.used == {"secret:token", "secret:variable", "ssh:default"}


async def test_what_is_optional_may_be_missing(shop: Shop) -> None:
    op = ExecOp(
        Meta(args=("x",)),
        (
            ROOT,
            Mount("/s", type=MountType.SECRET, secret=SecretOpt("s", optional=True)),
            Mount("/a", type=MountType.SSH, ssh=SSHOpt("a", optional=True)),
        ),
        secret_env=(SecretEnv("e", "E", optional=True),),
    )
    await shop.execute(op)
    (spec,) = shop.programs.specs
    assert spec.mounts == ()
    assert not [entry for entry in spec.env if entry.startswith(("E=", "SSH_AUTH_SOCK="))]


async def test_what_is_required_may_not(shop: Shop) -> None:
    mount = Mount("/s", type=MountType.SECRET, secret=SecretOpt("s"))
    with pytest.raises(NotFoundError, match="the secret 's'"):
        await shop.execute(replace(OP, mounts=(ROOT, mount)))
    assert shop.active == []


async def test_proxies_are_there_in_both_spellings_unless_the_step_sets_them(shop: Shop) -> None:
    shop.build = replace(shop.build, proxy=ProxyEnv(http_proxy="http://daemon", no_proxy="local"))
    await shop.execute(with_meta(env=("HTTP_PROXY=mine",), proxy_env=ProxyEnv(no_proxy="request")))
    (spec,) = shop.programs.specs
    assert {"HTTP_PROXY=mine", "http_proxy=http://daemon", "NO_PROXY=request", "no_proxy=request"} <= set(spec.env)


async def test_a_failing_program_ends_in_an_error_with_its_code(shop: Shop) -> None:
    offered: list[tuple[tuple[str, ...], bool]] = []

    async def fail(spec: ContainerSpec, stdio: Stdio) -> int:
        return 127

    async def offer(spec: ContainerSpec, message: str) -> None:
        offered.append((spec.args, (spec.root / "file").exists()))

    shop.programs.program = fail
    shop.build = replace(shop.build, failed=offer)
    with pytest.raises(ExitError, match="exit code: 127") as caught:
        await shop.execute(OP)
    assert caught.value.exit_code == 127 and caught.value.hint
    assert offered == [(OP.meta.args, True)]
    assert shop.active == []


async def test_a_cancelled_step_leaves_no_snapshot_and_no_open_descriptor(shop: Shop) -> None:
    begun = asyncio.Event()

    async def forever(spec: ContainerSpec, stdio: Stdio) -> int:
        begun.set()
        await asyncio.Event().wait()
        return 0

    shop.programs.program = forever
    before = set(os.listdir("/proc/self/fd"))
    task = asyncio.create_task(shop.execute(OP))
    await begun.wait()
    assert shop.active
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shop.active == []
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("turns", range(12))
async def test_a_step_cancelled_at_any_moment_leaves_nothing(shop: Shop, turns: int) -> None:
    task = asyncio.create_task(shop.execute(replace(OP, mounts=(ROOT, Mount("/other", input=0)))))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert shop.active == []
    with shop.layers.mount(shop.base.layers):
        pass


async def test_when_one_output_can_not_be_kept_none_is(tmp_path: Path) -> None:
    shop = Shop(tmp_path, FailingStore)
    op = replace(OP, mounts=(ROOT, Mount("/more", input=0, output=1)))
    with pytest.raises(StorageError):
        await shop.execute(op)
    assert [layer.id for layer in shop.layers.walk()] == list(shop.base.layers)
    assert shop.active == []
    assert len(shop.snapshots.walk()) == 1
