"""What is mounted into a container: binds, memory, secrets, agents, certificates."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from boatyard.errors import InvalidError
from boatyard.runtime import kernel, probe, trust
from boatyard.runtime.container import AgentSocket, BindMount, SecretFile, TmpfsMount
from boatyard.runtime.executor import OciExecutor
from integration.conftest import ExecutorFactory, Run, run_in

pytestmark = [pytest.mark.root, pytest.mark.runtime]

SECRET = b"correct horse battery staple"


async def test_a_bind_mount_is_written_through(run_each: Run, tmp_path: Path) -> None:
    await run_each("sh", "-c", "echo x >/cache/file", mounts=(BindMount(tmp_path, "/cache"),))
    assert (tmp_path / "file").read_text() == "x\n"


async def test_a_readonly_bind_mount_is_not_with_what_is_mounted_beneath(
    run_each: Run, tmp_path: Path, private_mounts: None
) -> None:
    below = tmp_path / "below"
    below.mkdir()
    kernel.mount("tmpfs", str(below), "tmpfs")
    try:
        outcome = await run_each(
            "sh", "-c", "touch /m/x; touch /m/below/x", mounts=(BindMount(tmp_path, "/m", readonly=True),)
        )
    finally:
        kernel.unmount(str(below))
    assert outcome.err.count("Read-only file system") == 2


async def test_a_bind_mount_alone_shows_nothing_mounted_beneath(
    run_each: Run, tmp_path: Path, private_mounts: None
) -> None:
    below = tmp_path / "below"
    below.mkdir()
    kernel.mount("tmpfs", str(below), "tmpfs")
    try:
        (below / "file").touch()
        outcome = await run_each("ls", "/m/below", mounts=(BindMount(tmp_path, "/m", recursive=False),))
    finally:
        kernel.unmount(str(below))
    assert (outcome.code, outcome.out) == (0, "")


async def test_a_file_can_be_mounted_over_a_file(run_each: Run, root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other\n")
    before = (root / "etc/passwd").read_text()
    mounts = (BindMount(tmp_path / "other", "/etc/passwd", readonly=True),)
    assert (await run_each("cat", "/etc/passwd", mounts=mounts)).out == "other\n"
    assert (root / "etc/passwd").read_text() == before


async def test_a_link_as_the_source_is_followed(run_each: Run, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").touch()
    (tmp_path / "link").symlink_to("real")
    assert (await run_each("ls", "/m", mounts=(BindMount(tmp_path / "link", "/m"),))).out == "file\n"


async def test_a_missing_source_is_named(run: Run) -> None:
    with pytest.raises(InvalidError, match="can't mount /no/such at /m: No such file"):
        await run("true", mounts=(BindMount(Path("/no/such"), "/m"),))


async def test_a_directory_over_a_file_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="can't mount a directory at /etc/passwd"):
        await run("true", mounts=(BindMount(tmp_path, "/etc/passwd"),))


async def test_mounts_may_lie_in_one_another_in_any_order(run_each: Run, root: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mounts = (SecretFile("/a/b/token", SECRET), TmpfsMount("/a"), BindMount(tmp_path / "out", "/a/b"))
    outcome = await run_each("sh", "-c", "cat /a/b/token; echo x >/a/b/file; ls /a", mounts=mounts)
    assert outcome.out == SECRET.decode() + "b\n"
    assert (tmp_path / "out/file").exists()
    assert not (root / "a").exists()


async def test_a_tmpfs_has_its_size_and_runs_programs(run_each: Run) -> None:
    outcome = await run_each(
        "sh",
        "-c",
        "df -k /t | tail -n 1; cp /bin/busybox /t/echo && /t/echo ran; stat -c %a /t /u",
        mounts=(TmpfsMount("/t", size=4 << 20), TmpfsMount("/u", mode=0o700)),
    )
    assert outcome.lines[0].split()[1] == "4096"
    assert outcome.lines[1:] == ["ran", "1777", "700"]


async def test_a_secret_has_its_owner_and_mode_and_cant_be_written(run_each: Run) -> None:
    outcome = await run_each(
        "sh",
        "-c",
        "cat /run/secrets/token; echo; stat -c '%u %g %a' /run/secrets/token; echo x >/run/secrets/token",
        mounts=(SecretFile("/run/secrets/token", SECRET, uid=1000, gid=50, mode=0o440),),
        user="ann",
    )
    assert outcome.lines == [SECRET.decode(), "1000 50 440"]
    assert outcome.err


async def test_a_secret_is_in_memory_only(executor: OciExecutor, root: Path, state_dir: Path) -> None:
    def look(scratch: Path) -> tuple[list[str], bool]:
        kinds = [
            line.split(" - ")[1].split(" ")[0]
            for line in (scratch / f"proc/{os.getpid()}/task/{_thread()}/mountinfo").read_text().splitlines()
            if line.split(" ")[4] == str(scratch)
        ]
        return kinds, any(SECRET in path.read_bytes() for path in scratch.glob("run-*/file*"))

    def _thread() -> int:
        import threading

        return threading.get_native_id()

    async def during() -> tuple[list[str], bool]:
        while True:
            kinds, found = await executor.call(look, executor.scratch)
            if found:
                return kinds, found
            await asyncio.sleep(0.01)

    running = asyncio.create_task(
        run_in(executor, root, "sleep", "5", mounts=(SecretFile("/run/secrets/token", SECRET),))
    )
    kinds, _ = await asyncio.wait_for(during(), 5)
    assert kinds[-1] in ("tmpfs", "ramfs")
    if executor.contained:
        assert list(state_dir.iterdir()) == [], "the host sees the scratch file system"
    running.cancel()
    await asyncio.wait((running,))
    assert await executor.call(look, executor.scratch) == (kinds, False)
    assert not any(SECRET in path.read_bytes() for path in root.rglob("*") if path.is_file())


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Path]:
    """A socket that only its owner may use; it answers what it is told, in capitals."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(100)).upper())
        await writer.drain()
        writer.close()

    path = tmp_path / "agent.sock"
    server = await asyncio.start_unix_server(serve, path)
    path.chmod(0o600)
    yield path
    server.close()


@pytest.fixture
def python_root(tmp_path: Path) -> Iterator[tuple[Path, tuple[BindMount, ...]]]:
    """A root with the host's programs and this Python."""
    root = tmp_path / "python"
    mounts = probe.make_root(root)
    (root / "etc").mkdir()
    yield root, (*mounts, BindMount(Path(sys.base_prefix), "/python", readonly=True))


async def test_an_agents_socket_is_reached_by_the_user_it_is_for(
    each_executor: OciExecutor, python_root: tuple[Path, tuple[BindMount, ...]], agent: Path
) -> None:
    root, mounts = python_root
    program = (
        "import os, socket, stat; s = socket.socket(socket.AF_UNIX); s.connect(os.environ['SSH_AUTH_SOCK']);"
        "s.sendall(b'hello'); print(s.recv(100).decode());"
        "t = os.stat(os.environ['SSH_AUTH_SOCK']); print(t.st_uid, t.st_gid, oct(stat.S_IMODE(t.st_mode)))"
    )
    outcome = await run_in(
        each_executor,
        root,
        "/python/bin/python3",
        "-c",
        program,
        mounts=(*mounts, AgentSocket(str(agent), "/run/agent.0", uid=1000, gid=1000, mode=0o600)),
        env=("PATH=/bin", "SSH_AUTH_SOCK=/run/agent.0"),
        user="1000:1000",
    )
    assert outcome.lines == ["HELLO", "1000 1000 0o600"], outcome.err


async def test_an_agent_that_is_gone_ends_the_connection(
    executor: OciExecutor, python_root: tuple[Path, tuple[BindMount, ...]], tmp_path: Path
) -> None:
    root, mounts = python_root
    program = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/a'); print(repr(s.recv(10)))"
    outcome = await run_in(
        executor,
        root,
        "/python/bin/python3",
        "-c",
        program,
        mounts=(*mounts, AgentSocket(str(tmp_path / "gone"), "/run/a")),
    )
    assert outcome.out == "b''\n", outcome.err


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "corporate.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nCORP\n-----END CERTIFICATE-----\n")
    return path


async def test_the_hosts_authorities_are_added_to_the_images(
    make_executor: ExecutorFactory, root: Path, authority: Path
) -> None:
    executor = await make_executor(environ={"SSL_CERT_FILE": str(authority)})
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_text("IMAGE\n")
    outcome = await run_in(
        executor, root, "sh", "-c", "cat /etc/ssl/certs/ca-certificates.crt; cat $PIP_CERT | wc -l", trust_host_ca=True
    )
    assert outcome.lines[:3] == ["IMAGE", "-----BEGIN CERTIFICATE-----", "CORP"]
    assert outcome.lines[-1] == "4"
    assert bundle.read_text() == "IMAGE\n"
    assert not (root / "run").exists()


async def test_the_tools_variables_are_set_where_the_step_doesnt(
    make_executor: ExecutorFactory, root: Path, authority: Path
) -> None:
    executor = await make_executor(environ={"SSL_CERT_FILE": str(authority)})
    outcome = await run_in(executor, root, "env", trust_host_ca=True, env=("PATH=/bin", "PIP_CERT=/mine"))
    values = dict(line.split("=", 1) for line in outcome.lines)
    assert values.pop("PIP_CERT") == "/mine"
    assert {name: values[name] for name in trust.VARIABLES if name != "PIP_CERT"} == dict.fromkeys(
        [name for name in trust.VARIABLES if name != "PIP_CERT"], trust.NEUTRAL_BUNDLE
    )


async def test_a_step_that_rebuilds_the_bundle_can_replace_it(
    make_executor: ExecutorFactory, root: Path, authority: Path
) -> None:
    executor = await make_executor(environ={"SSL_CERT_FILE": str(authority)})
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_text("IMAGE\n")
    script = "# update-ca-certificates\necho NEW >/tmp/new; mv /tmp/new /etc/ssl/certs/ca-certificates.crt"
    assert (await run_in(executor, root, "sh", "-c", script, trust_host_ca=True)).code == 0
    assert bundle.read_text() == "NEW\n"


@pytest.fixture
def overlay(root: Path, private_mounts: None) -> Iterator[tuple[Path, Path]]:
    """(merged, upper) of an overlay whose lower directory is the root."""
    base = root.parent
    for name in ("upper", "work", "merged"):
        (base / name).mkdir()
    kernel.mount(
        "overlay", str(base / "merged"), "overlay", 0, f"lowerdir={root},upperdir={base}/upper,workdir={base}/work"
    )
    yield base / "merged", base / "upper"
    subprocess.run(["umount", base / "merged"], check=False, capture_output=True)


async def test_a_root_that_was_just_mounted_is_seen_and_can_be_unmounted_at_once(
    each_executor: OciExecutor, overlay: tuple[Path, Path]
) -> None:
    merged, upper = overlay
    outcome = await run_in(each_executor, merged, "sh", "-c", "echo x >/new")
    assert outcome.code == 0
    kernel.unmount(str(merged), 0)
    assert (upper / "new").read_text() == "x\n"
    assert not (upper / "dev").exists()
    assert {path.name for path in (upper / "etc").iterdir()} == set()
