"""Where the parts of the daemon are made and handed to each other: explicit calls, in one place, no registration.

Knows everything; nothing knows it but `daemon.server`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from boatyard.build.cache.records import SqliteRecords
from boatyard.build.cache.travel import Caches
from boatyard.build.copying.memory import ContextMemory
from boatyard.build.exporter.archive import ArchiveExporter
from boatyard.build.exporter.base import Exporter
from boatyard.build.exporter.files import LocalExporter, TarExporter
from boatyard.build.exporter.image import ImageExporter
from boatyard.build.history import History
from boatyard.build.ops.cachemount import CacheMounts
from boatyard.build.ops.worker import Worker
from boatyard.build.prune import Policy, Pruner, default_policies
from boatyard.build.results import ChainResults, chain_of
from boatyard.build.service import BuildService
from boatyard.build.solver.scheduler import Solver
from boatyard.build.source.image import Images
from boatyard.build.source.occupancy import Occupancy, drop_leftovers
from boatyard.build.source.registry import RegistryFetcher
from boatyard.build.usage import UsageList
from boatyard.client.documents.system import Check, Component
from boatyard.daemon import frontends, worker
from boatyard.daemon import policies as source_policies
from boatyard.daemon.activity import Activity
from boatyard.daemon.config import Config, GcConfig
from boatyard.daemon.services.builds import Builds
from boatyard.daemon.services.disk import Disk
from boatyard.daemon.services.happenings import ImageHappenings
from boatyard.daemon.services.images import Images as ImageRequests
from boatyard.daemon.services.platforms import Platforms, runnable
from boatyard.daemon.services.runs import Runs
from boatyard.daemon.sessions import SessionHouse
from boatyard.engine.events import Events
from boatyard.engine.run import Runner
from boatyard.errors import BoatyardError
from boatyard.image import documents, gc
from boatyard.image.content.directory import DirectoryStore
from boatyard.image.database import Database
from boatyard.image.elsewhere import BlobSources
from boatyard.image.interruption import run_settled
from boatyard.image.layer.chain import LayerId
from boatyard.image.layer.store import LayerStore
from boatyard.image.lease import Leases
from boatyard.image.platform import host_platform
from boatyard.image.snapshot.area import remove_tree
from boatyard.image.snapshot.choice import choose_snapshotter
from boatyard.image.store import ImageStore
from boatyard.image.transfer import ImageTransfer
from boatyard.registry import certificates
from boatyard.registry.hosts import Hosts, HostSettings
from boatyard.registry.hub import Hub
from boatyard.runtime import doctor
from boatyard.runtime.cdi.registry import Device, Registry
from boatyard.runtime.executor import OciExecutor, RuntimeConfig
from boatyard.runtime.hosts import Resolver
from boatyard.runtime.network import Mode

log = logging.getLogger(__name__)

GC_INTERVAL = 60.0
"""Seconds between two garbage collections, at least."""


@dataclass(frozen=True, slots=True)
class Yard:
    """The parts that the daemon's faces talk to. `scratch`: where contexts are unpacked. `driver`: the snapshotter's
    name."""

    components: Callable[[], Awaitable[Sequence[Component]]]
    checks: Callable[[], Awaitable[Sequence[Check]]]
    warnings: Callable[[], Sequence[str]]
    platforms: Callable[[], Sequence[str]]
    builds: Builds
    images: ImageRequests
    disk: Disk
    runs: Runs
    emulators: Platforms
    events: Events
    scratch: Path
    driver: str
    sessions: SessionHouse
    worker_id: str
    labels: Callable[[], Awaitable[Mapping[str, str]]]
    """The worker's, BuildKit's own among them."""
    devices: Callable[[], Sequence[Device]]
    """That steps may ask for. Blocks shortly."""
    gc_policies: Sequence[Policy]
    running: Callable[[], Sequence[str]]
    """Refs of the builds at work."""
    history: History
    usage: UsageList
    pruner: Pruner
    content: DirectoryStore


@dataclass(frozen=True, slots=True)
class Stores:
    """What is on disk, opened."""

    content: DirectoryStore
    layers: LayerStore
    images: ImageStore
    leases: Leases
    happenings: ImageHappenings
    hub: Hub
    blob_sources: BlobSources


@asynccontextmanager
async def open_yard(config: Config, activity: Activity) -> AsyncIterator[Yard]:
    """Make everything below the daemon's root, clean up what an earlier daemon left, and take it down at the end."""
    root = Path(config.root)
    async with AsyncExitStack() as stack:
        events = Events()
        stores = _open_stores(config, root, stack, events)
        executor = OciExecutor(
            Path(config.run) / "containers",
            RuntimeConfig(
                runtime=config.runtime.name,
                network=Mode(config.network.mode),
                subnet=config.network.subnet,
                resolver=Resolver(config.network.dns, config.network.dns_search, config.network.dns_options),
                **({"threads": config.runtime.threads} if config.runtime.threads else {}),
            ),
        )
        stack.push_async_callback(executor.close)
        records = SqliteRecords(root / "cache.db")
        stack.callback(records.close)
        occupancy = Occupancy()
        cache_mounts = CacheMounts(root / "cache-mounts", occupancy=occupancy)
        cache_mounts.cleanup()
        sources = _made(root / "sources")
        for kind in ("git", "http", "local/indexes", "local/copies", "local/mirrors"):
            drop_leftovers(sources / kind)
        scratch = _emptied(sources / "uploads")
        sessions = SessionHouse(sources / "local/mirrors", occupancy, Path(config.run) / "agents", scratch)
        stack.callback(sessions.close)
        solver = Solver(records, ChainResults(stores.layers), parallelism=config.max_parallelism or _parallelism())
        stack.push_async_callback(solver.settled)
        devices = Registry(config.cdi.spec_dirs, config.cdi.auto_allowed) if config.cdi.enabled else None
        build_worker = Worker(
            layers=stores.layers,
            images=Images(stores.images, stores.layers, RegistryFetcher(stores.hub, stores.images, stores.leases)),
            executor=executor,
            cache_mounts=cache_mounts,
            directory=sources,
            contexts=ContextMemory(sources / "local"),
            platform=host_platform(),
            occupancy=occupancy,
            cgroup_parent=config.cgroup_parent,
            devices=devices,
        )

        def roots() -> Iterator[LayerId]:
            """The layers that the build cache and running builds hold."""
            for record in records.walk():
                for result in record.results:
                    yield from chain_of(result)
            for result in solver.live_results():
                yield from chain_of(result)

        sweeping = threading.Lock()

        def sweep() -> int:
            """Bytes that were freed. Who asks for it is at work himself."""
            with sweeping:
                # While a build or another request is at work, what is young may be about to be named.
                grace = gc.GRACE if solver.busy or activity.running > 1 else 0.0
                collected = gc.collect(
                    stores.content, stores.layers, stores.images, stores.leases, roots=roots, grace=grace
                )
            return collected.bytes

        usage = UsageList(
            records,
            stores.layers,
            cache_mounts,
            sources,
            solver.live_results,
            lambda: _image_layers(stores),
            occupancy=occupancy,
        )
        pruner = Pruner(usage, records, cache_mounts, root, sweep, occupancy=occupancy)
        gc_policies = policies(config.gc, root) if config.gc.enabled else ()
        collector = Collector(pruner, gc_policies, activity)
        stack.push_async_callback(collector.close)
        history = History(
            root / "history",
            max_age=config.history.max_age,
            max_entries=config.history.max_entries,
            discard=_discarded,
        )
        stack.callback(history.close)
        known = frontends.KnownWorker(
            worker.identity(root),
            lambda: runnable(config.platforms),
            lambda: _labels(config, executor, stores),
        )
        service = BuildService(
            build_worker,
            solver,
            frontends.frontends(config.frontend, build_worker, known),
            _exporters(stores),
            history,
            granted=frozenset(config.entitlements),
            source_policies=source_policies.from_files(config.source_policies),
            log_output=config.log.step_output,
            ended=collector.wake,
            caches=Caches(stores.layers, records, stores.hub, stores.blob_sources, stores.leases),
        )
        emulators = Platforms(root / "emulators")
        emulators.restore()
        proxy = config.proxy.variables()
        # Finding a runtime takes a while and fails on hosts that can only build files: neither keeps the daemon from
        # answering.
        starting = asyncio.create_task(_started(executor))
        stack.push_async_callback(_ended, starting)
        yield Yard(
            components=lambda: _components(executor, stores),
            checks=lambda: _checks(executor, root),
            warnings=lambda: devices.problems if devices is not None else (),
            devices=lambda: devices.devices() if devices is not None else (),
            platforms=known.platforms,
            worker_id=known.id,
            labels=known.labels,
            gc_policies=gc_policies,
            running=lambda: service.running,
            builds=Builds(service, executor, trust_host_ca=config.trust_host_ca, proxy=proxy),
            images=ImageRequests(
                stores.images,
                stores.layers,
                ImageTransfer(stores.images, stores.layers, stores.leases),
                sweep,
                stores.happenings,
                stores.hub,
                stores.leases,
            ),
            disk=Disk(usage, pruner, cache_mounts, stores.images),
            runs=Runs(
                Runner(stores.layers, executor),
                stores.images,
                stores.layers.content,
                trust_host_ca=config.trust_host_ca,
                proxy=proxy,
            ),
            emulators=emulators,
            events=events,
            scratch=scratch,
            driver=stores.layers.snapshotter.name,
            sessions=sessions,
            history=history,
            usage=usage,
            pruner=pruner,
            content=stores.content,
        )


def _open_stores(config: Config, root: Path, stack: AsyncExitStack, events: Events) -> Stores:
    database = Database(root / "meta.db")
    stack.callback(database.close)
    content = DirectoryStore(root)
    content.cleanup()
    snapshotter = choose_snapshotter(root / "snapshots", config.snapshotter)
    snapshotter.cleanup()
    # A blob that was packed from a snapshot is packed again if a power failure tears it: it is not waited for.
    blob_sources = BlobSources(database)
    hub = Hub(content, blob_sources, _hosts(config), proxies=config.proxy.variables() or os.environ)
    stack.callback(hub.close)
    layers = LayerStore(database, content, snapshotter, derived=DirectoryStore(root, durable=False), elsewhere=hub)
    layers.cleanup()
    leases = Leases(database)
    leases.drop_process_leases()
    happenings = ImageHappenings(events, content)
    return Stores(
        content, layers, ImageStore(database, content, told=happenings.change), leases, happenings, hub, blob_sources
    )


def _hosts(config: Config) -> Hosts:
    return Hosts(
        {
            domain: HostSettings(
                registry.mirrors,
                registry.http,
                registry.insecure,
                (*registry.ca, *certificates.authorities(registry.tls_directories)),
                (
                    *((pair.cert, pair.key) for pair in registry.keypair),
                    *certificates.keypairs(registry.tls_directories),
                ),
            )
            for domain, registry in config.registry.items()
        }
    )


def load_the_rest() -> None:
    """What was left out at the start, for when there is time. Blocks."""
    from boatyard.build.frontend.dockerfile import frontend  # noqa: F401


def _exporters(stores: Stores) -> dict[str, Exporter]:
    return {
        "image": ImageExporter(stores.images, stores.layers, stores.hub),
        "oci": ArchiveExporter(stores.layers, stores.leases, docker=False),
        "docker": ArchiveExporter(stores.layers, stores.leases, docker=True),
        "tar": TarExporter(stores.layers),
        "local": LocalExporter(stores.layers),
    }


def _image_layers(stores: Stores) -> Iterator[LayerId]:
    for image in stores.images.list():
        try:
            for manifest in documents.image_manifests(stores.content, image.target):
                found = documents.read_image(stores.content, manifest)
                yield from stores.layers.find_chain(found.config.rootfs.diff_ids) or ()
        except BoatyardError as error:
            log.warning("image %s can't be read: %s", image.name, error)


class Collector:
    """Collects garbage after builds, at most once in GC_INTERVAL. One per daemon."""

    def __init__(self, pruner: Pruner, policies: Sequence[Policy], activity: Activity) -> None:
        self._pruner = pruner
        self._policies = policies
        self._activity = activity
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """A build ended."""
        now = time.monotonic()
        if self._policies and now - self._last >= GC_INTERVAL and (self._task is None or self._task.done()):
            self._last = now
            self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        await asyncio.sleep(1)  # the next build may be waiting already
        try:
            with self._activity.working():
                removed = await run_settled(self._pruner.collect, self._policies)
        except BoatyardError as error:
            log.warning("garbage collection failed: %s", error)
            return
        except Exception:  # nobody waits for this task: the log is the only place to tell it
            log.exception("garbage collection failed unexpectedly")
            return
        if removed:
            log.info("collected %d records, %d bytes", len(removed), sum(row.size for row in removed))

    async def close(self) -> None:
        if self._task:
            await _ended(self._task)


def policies(config: GcConfig, root: Path) -> tuple[Policy, ...]:
    """The configured policies, or the default ones with the configured bounds."""
    disk = shutil.disk_usage(root).total
    if config.policies:
        return tuple(
            Policy(
                filters=policy.filters,
                keep_duration=float(policy.keep_duration),
                reserved_space=policy.reserved_space.of(disk),
                max_used_space=policy.max_used_space.of(disk),
                min_free_space=policy.min_free_space.of(disk),
                all=policy.all,
            )
            for policy in config.policies
        )
    bounds = {
        name: value.of(disk)
        for name in ("reserved_space", "max_used_space", "min_free_space")
        if (value := getattr(config, name)) is not None
    }
    return default_policies(root, **bounds)


async def _started(executor: OciExecutor) -> None:
    try:
        await executor.start()
    except BoatyardError as error:
        log.warning("steps can't be run: %s (%s)", error, error.hint)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _components(executor: OciExecutor, stores: Stores) -> list[Component]:
    found = [Component(name="snapshotter", version=stores.layers.snapshotter.name)]
    try:
        runtime, _ = await executor.runtime()
        found.append(
            Component(
                name="runtime", version=doctor.version(str(runtime.program.path)), detail=str(runtime.program.path)
            )
        )
        network = await executor.network()
        found.append(Component(name="network", version=network.mode.value, detail=network.reason))
    except BoatyardError as error:
        found.append(Component(name="runtime", detail=str(error)))
    if git := shutil.which("git"):
        found.append(Component(name="git", detail=git))
    return found


async def _labels(config: Config, executor: OciExecutor, stores: Stores) -> dict[str, str]:
    try:
        choice = await executor.network()
        network, gateway = choice.mode.value, choice.gateway
    except BoatyardError:
        network, gateway = config.network.mode, ""  # steps can't be run; `boat doctor` says why
    snapshotter = stores.layers.snapshotter.name
    return worker.labels(config.labels, snapshotter=snapshotter, network=network, gateway=gateway)


async def _checks(executor: OciExecutor, root: Path) -> list[Check]:
    status = {doctor.Status.OK: "ok", doctor.Status.WARN: "warning", doctor.Status.FAIL: "failed"}
    return [
        Check(name=check.name, status=status[check.status], detail=check.detail, hint=check.fix)
        for check in await doctor.report(executor, root)
    ]


def _parallelism() -> int:
    # Steps wait for networks and disks as much as they compute.
    return max(4, 2 * (os.cpu_count() or 1))


def _discarded(directory: Path) -> None:
    """Delete what nobody looks at any more; beside the event loop, for who is on it."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        loop.run_in_executor(None, partial(shutil.rmtree, directory, ignore_errors=True))


def _emptied(directory: Path) -> Path:
    """What an earlier daemon left there is of no use to this one."""
    if directory.exists():
        remove_tree(str(directory))
    return _made(directory)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory
