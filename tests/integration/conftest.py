"""Fixtures for tests that run containers: a tiny root file system, an executor, a way to run and look at the output."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from boatyard.errors import DeniedError
from boatyard.runtime.container import ContainerSpec, Executor, Stdio
from boatyard.runtime.executor import OciExecutor, RuntimeConfig
from boatyard.runtime.isolation import enter_private_mount_namespace
from boatyard.runtime.network import Mode

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUSYBOX = Path("/bin/busybox")


@pytest.fixture(scope="session")
def private_mounts() -> None:
    """This process in a mount namespace of its own, as the daemon is."""
    with suppress(DeniedError):
        enter_private_mount_namespace()


@pytest.fixture(scope="session")
def busybox_root() -> Iterator[Path]:
    """A root file system of a static busybox; read it, copy it, don't change it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not BUSYBOX.exists() or b"statically linked" not in _file(BUSYBOX):
        pytest.skip("needs a static /bin/busybox (apt-get install busybox-static)")
    root = Path(tempfile.mkdtemp(prefix="boat-root-"))
    root.chmod(0o755)
    for name in ("bin", "etc", "tmp", "root", "home/ann"):
        (root / name).mkdir(parents=True)
    shutil.copy2(BUSYBOX, root / "bin/busybox")
    for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nann:x:1000:\nwheel:x:10:ann,root\nstaff:x:50:ann\n")
    yield root
    shutil.rmtree(root)


def _file(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(4096)
    # PT_INTERP's string stands near the start of a dynamic program.
    return b"" if b"/ld-linux" in head or b"/ld-musl" in head else b"statically linked"


@pytest.fixture
def root(busybox_root: Path) -> Iterator[Path]:
    """A copy of the root file system of one's own."""
    base = Path(tempfile.mkdtemp(prefix="boat-test-"))
    shutil.copytree(busybox_root, base / "root", symlinks=True)
    yield base / "root"
    shutil.rmtree(base)


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """Short, because sockets are made in it."""
    base = Path(tempfile.mkdtemp(prefix="boat-state-"))
    yield base
    shutil.rmtree(base)


@dataclass
class Outcome:
    code: int
    out: str
    err: str
    warnings: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Awaitable[Outcome]]
ExecutorFactory = Callable[..., Awaitable[OciExecutor]]


@pytest.fixture(scope="session")
def runtime_installed() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not any(shutil.which(name, path=PATH) for name in ("crun", "runc")):
        pytest.skip("needs an OCI runtime (apt-get install crun)")


@pytest.fixture
async def make_executor(
    runtime_installed: None, private_mounts: None, state_dir: Path
) -> AsyncIterator[ExecutorFactory]:
    """Starts executors (one at a time in the state directory) and closes them. On the host's network unless told."""
    made: list[OciExecutor] = []

    async def make(
        runtime: str = "auto", network: Mode = Mode.HOST, environ: dict[str, str] | None = None
    ) -> OciExecutor:
        executor = OciExecutor(state_dir, RuntimeConfig(runtime=runtime, network=network), environ or {})
        made.append(executor)
        await executor.start()
        return executor

    yield make
    for executor in made:
        await executor.close()


@pytest.fixture
async def executor(make_executor: ExecutorFactory) -> OciExecutor:
    return await make_executor()


@pytest.fixture(params=["crun", "runc"])
async def each_executor(request: pytest.FixtureRequest, make_executor: ExecutorFactory) -> OciExecutor:
    """One executor for each kind of runtime."""
    if shutil.which(request.param, path=PATH) is None:
        pytest.skip(f"needs {request.param}")
    return await make_executor(request.param)


async def run_in(executor: Executor, root: Path, *args: str, **options: object) -> Outcome:
    """Run a command to its end with its output collected in memory."""
    options.setdefault("env", ("PATH=/bin",))
    spec = ContainerSpec(root=root, args=args, **options)  # type: ignore[arg-type]
    out, err = os.memfd_create("out"), os.memfd_create("err")
    null = os.open(os.devnull, os.O_RDONLY)
    warnings: list[str] = []
    try:
        code = await executor.run(spec, Stdio(null, out, err), on_warning=warnings.append)
        texts = [os.pread(descriptor, 1 << 20, 0).decode() for descriptor in (out, err)]
        return Outcome(code, texts[0], texts[1], warnings)
    finally:
        for descriptor in (out, err, null):
            os.close(descriptor)


@pytest.fixture
def run(executor: OciExecutor, root: Path) -> Run:
    """Run a command in the root: `await run("id", user="ann")`."""

    async def go(*args: str, **options: object) -> Outcome:
        return await run_in(executor, root, *args, **options)

    return go


@pytest.fixture
def run_each(each_executor: OciExecutor, root: Path) -> Run:
    """As `run`, once with each kind of runtime."""

    async def go(*args: str, **options: object) -> Outcome:
        return await run_in(each_executor, root, *args, **options)

    return go
