"""One container: its process, its view of the system, and what stays behind of it (nothing)."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from pathlib import Path

import pytest

from boatyard.errors import ExecutableError, InvalidError
from boatyard.runtime import capabilities
from boatyard.runtime.container import (
    BindMount,
    ContainerSpec,
    Limit,
    Network,
    Resources,
    SecretFile,
    Stdio,
    TmpfsMount,
)
from boatyard.runtime.executor import OciExecutor
from integration.conftest import Run, run_in

pytestmark = [pytest.mark.root, pytest.mark.runtime]


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a directory with what a layer would keep of it."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in (".", *names, *files):
            path = os.path.normpath(os.path.join(directory, name))
            status = os.lstat(path)
            content = os.readlink(path) if stat.S_ISLNK(status.st_mode) else status.st_size
            found[path] = (status.st_mode, status.st_uid, status.st_gid, content, status.st_mtime_ns)
    return found


async def test_the_exit_code_is_the_programs(run_each: Run) -> None:
    assert (await run_each("sh", "-c", "exit 3")).code == 3


async def test_an_exit_code_of_one_is_no_failure_of_the_runtime(run_each: Run) -> None:
    assert (await run_each("false")).code == 1


async def test_a_signal_becomes_128_and_its_number(run_each: Run) -> None:
    assert (await run_each("sh", "-c", "sh -c 'kill -TERM $$'; exit $?")).code == 143


async def test_output_arrives_on_its_own_descriptor(run_each: Run) -> None:
    outcome = await run_each("sh", "-c", "echo out; echo err >&2")
    assert (outcome.out, outcome.err) == ("out\n", "err\n")


@pytest.mark.parametrize(
    ("program", "code", "reason"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/bin/nosuch", 127, 'exec: "/bin/nosuch": no such file or directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
        ("/etc", 126, 'exec: "/etc": permission denied'),
    ],
)
async def test_a_program_that_cant_be_started_is_named(run_each: Run, program: str, code: int, reason: str) -> None:
    with pytest.raises(ExecutableError) as caught:
        await run_each(program)
    assert (caught.value.message, caught.value.exit_code) == (reason, code)


@pytest.mark.parametrize(
    ("content", "words"), [(b"\x7fELF nonsense", "format error"), (b"#!/no/interpreter\n", "no such file or directory")]
)
async def test_a_file_that_is_no_program_of_this_machine_says_so_on_standard_error(
    run_each: Run, root: Path, content: bytes, words: str
) -> None:
    (root / "bin/garbage").write_bytes(content)
    (root / "bin/garbage").chmod(0o755)
    outcome = await run_each("/bin/garbage")
    assert outcome.code == 1
    assert words in outcome.err.lower()
    assert not outcome.err.startswith("{")


async def test_an_empty_command_is_refused(run: Run) -> None:
    with pytest.raises(InvalidError, match="no program to run"):
        await run()


async def test_a_user_by_name_has_its_groups_and_home(run_each: Run) -> None:
    outcome = await run_each("sh", "-c", "id -u; id -g; id -G; echo $HOME", user="ann")
    assert outcome.lines == ["1000", "1000", "1000 10 50", "/home/ann"]


async def test_an_unknown_user_is_named(run: Run) -> None:
    with pytest.raises(InvalidError, match="unable to find user bob"):
        await run("true", user="bob")


async def test_a_missing_working_directory_is_made_for_the_user_and_stays(run_each: Run, root: Path) -> None:
    outcome = await run_each("sh", "-c", "pwd; touch here", user="ann", cwd="/srv/app")
    assert (outcome.code, outcome.out) == (0, "/srv/app\n")
    assert (root / "srv/app/here").stat().st_uid == (root / "srv").stat().st_uid == 1000


async def test_the_environment_is_the_steps_and_home(run: Run) -> None:
    outcome = await run("env", env=("PATH=/bin", "A=b c"))
    assert set(outcome.lines) == {"PATH=/bin", "A=b c", "HOME=/root"}


async def test_the_umask_is_022_whatever_the_daemons_is(run_each: Run) -> None:
    before = os.umask(0o077)
    try:
        assert (await run_each("sh", "-c", "umask")).out == "0022\n"
    finally:
        os.umask(before)


async def test_no_descriptor_of_the_daemon_is_open_inside(run_each: Run, root: Path) -> None:
    leak = os.open(root, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        # The fourth is the one `ls` reads the directory with.
        assert (await run_each("ls", "/proc/self/fd")).lines == ["0", "1", "2", "3"]
    finally:
        os.close(leak)


async def test_signals_have_their_defaults(run: Run) -> None:
    outcome = await run("sh", "-c", "yes | head -n 1; grep SigIgn /proc/self/status")
    ignored = int(outcome.lines[1].split()[1], 16)
    assert not ignored & (1 << 12), "SIGPIPE, which Python ignores, is ignored inside"


async def test_descriptors_may_have_any_numbers(executor: OciExecutor, root: Path) -> None:
    out = os.memfd_create("out")
    saved = os.dup(0)
    os.dup2(out, 0)
    try:
        code = await executor.run(
            ContainerSpec(root=root, args=("sh", "-c", "echo hello >&2"), env=("PATH=/bin",)), Stdio(1, 1, 0)
        )
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert (code, os.pread(out, 100, 0)) == (0, b"hello\n")
    os.close(out)


async def test_capabilities_are_dockers_as_far_as_the_host_has_them(run_each: Run) -> None:
    outcome = await run_each("grep", "-E", "^Cap(Eff|Bnd)", "/proc/self/status")
    expected = capabilities.bounding() & set(capabilities.DEFAULT)
    assert [capabilities.decode(int(line.split()[1], 16)) for line in outcome.lines] == [expected, expected]


async def test_another_user_has_no_capabilities(run_each: Run) -> None:
    outcome = await run_each("grep", "^CapEff", "/proc/self/status", user="1000")
    assert int(outcome.out.split()[1], 16) == 0


async def test_the_system_call_filter_is_on(run_each: Run) -> None:
    outcome = await run_each("sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true")
    assert outcome.lines == ["Seccomp:\t2"]
    assert "not permitted" in outcome.err


async def test_parts_of_proc_and_sys_are_hidden_or_readonly(run_each: Run) -> None:
    outcome = await run_each(
        "sh", "-c", "wc -c </proc/timer_list; ls /sys/firmware | wc -l; echo 1 >/proc/sys/kernel/panic; touch /sys/x"
    )
    assert outcome.lines == ["0", "0"]
    assert outcome.err.count("Read-only file system") == 2


async def test_an_insecure_container_has_all_that_the_daemon_has(run_each: Run) -> None:
    outcome = await run_each(
        "sh",
        "-c",
        "grep ^CapEff /proc/self/status; grep Seccomp: /proc/self/status; "
        "mkdir /m; mount -t tmpfs t /m && echo mounted; test -c /dev/fuse && echo device",
        insecure=True,
        network=Network.HOST,
    )
    assert capabilities.decode(int(outcome.lines[0].split()[1], 16)) == capabilities.bounding()
    assert outcome.lines[1:] == ["Seccomp:\t0", "mounted", *(["device"] if os.path.exists("/dev/fuse") else [])]


async def test_the_hosts_disk_cant_be_read_through_a_device_node(run_each: Run) -> None:
    number = os.stat("/").st_dev
    outcome = await run_each(
        "sh", "-c", f"mknod /tmp/d b {os.major(number)} {os.minor(number)}; head -c 1 /tmp/d >/dev/null || echo refused"
    )
    assert "refused" in outcome.out


async def test_a_device_that_is_asked_for_can_be_used(run_each: Run) -> None:
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("needs /dev/loop-control")
    outcome = await run_each(
        "sh", "-c", "exec 3</dev/control && echo open", devices=("/dev/loop-control:/dev/control:r",)
    )
    assert outcome.out == "open\n"


async def test_the_host_name_is_set_and_resolves(run_each: Run) -> None:
    outcome = await run_each(
        "sh", "-c", "hostname; cat /etc/hosts", hostname="box", extra_hosts=(("db", "10.0.0.7"), ("six", "::7"))
    )
    assert outcome.lines[0] == "box"
    assert "127.0.0.1\tlocalhost box" in outcome.lines
    assert outcome.lines[-2:] == ["10.0.0.7\tdb", "::7\tsix"]


async def test_etc_hostname_is_the_images_unless_asked_for(run: Run, root: Path) -> None:
    (root / "etc/hostname").write_text("image\n")
    assert (await run("cat", "/etc/hostname", hostname="box")).out == "image\n"
    assert (await run("cat", "/etc/hostname", hostname="box", hostname_file=True)).out == "box\n"


async def test_a_step_that_does_nothing_leaves_the_root_as_it_was(run_each: Run, root: Path, tmp_path: Path) -> None:
    os.utime(root / "etc", ns=(1, 1_000_000_007))
    os.utime(root, ns=(1, 1_000_000_009))
    before = tree(root)
    outcome = await run_each(
        "true",
        mounts=(
            BindMount(tmp_path, "/deep/er/dir"),
            TmpfsMount("/scratch"),
            SecretFile("/run/secrets/token", b"x"),
            BindMount(Path("/etc/os-release"), "/etc/release-of-host", readonly=True),
        ),
        trust_host_ca=Path("/etc/ssl/certs/ca-certificates.crt").exists(),
    )
    assert outcome.code == 0
    assert tree(root) == before


async def test_what_a_step_made_beside_a_mount_point_stays(run: Run, root: Path) -> None:
    before = (root / "etc").stat().st_mtime_ns
    await run(
        "sh", "-c", "echo x >/etc/new; mkdir -p /run/app; echo y >/run/app/pid", mounts=(SecretFile("/run/s", b""),)
    )
    assert (root / "etc/new").read_text() == "x\n"
    assert sorted(path.name for path in (root / "run").iterdir()) == ["app"]
    assert (root / "etc").stat().st_mtime_ns > before


async def test_a_link_out_of_the_root_is_followed_inside(run_each: Run, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "resolv.conf"
    (root / "etc/resolv.conf").symlink_to(f"../../../../../..{outside}")
    (root / "etc/hosts").symlink_to("/run/deep/hosts")
    outcome = await run_each("sh", "-c", "cat /etc/resolv.conf /run/deep/hosts")
    assert "nameserver" in outcome.out
    assert "localhost" in outcome.out
    assert not outside.exists()
    assert not (root / "run").exists()
    assert not (root / str(tmp_path).lstrip("/")).exists()


async def test_a_loop_of_links_is_refused(run: Run, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(InvalidError, match="too many levels of symbolic links"):
        await run("true", mounts=(TmpfsMount("/a/x"),))


async def test_a_limit_on_memory_and_processes_holds(run_each: Run) -> None:
    outcome = await run_each(
        "sh",
        "-c",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null;"
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true",
        resources=Resources(memory=64 << 20, pids=50),
    )
    assert outcome.lines == [str(64 << 20), "50"]


async def test_a_container_over_its_memory_limit_is_killed(run: Run) -> None:
    outcome = await run("sh", "-c", "tail /dev/zero", resources=Resources(memory=16 << 20, memory_swap=16 << 20))
    assert outcome.code == 137


async def test_no_cgroup_of_the_container_is_left(executor: OciExecutor, root: Path) -> None:
    def groups() -> list[Path]:
        return sorted(Path("/sys/fs/cgroup").glob(f"**/boatyard-{executor.instance}-*/run-*"))

    during: list[Path] = []
    control = await executor.run(
        ContainerSpec(root=root, args=("sleep", "0.2"), env=("PATH=/bin",), resources=Resources(memory=64 << 20)),
        Stdio(0, 1, 2),
        on_start=lambda control: asyncio.get_running_loop().call_later(0.1, lambda: during.extend(groups())) and None,
    )
    assert control == 0
    assert during
    assert groups() == []


async def test_a_ulimit_is_set_and_cut_with_a_warning(run_each: Run) -> None:
    outcome = await run_each(
        "sh", "-c", "ulimit -n; ulimit -c", ulimits=(Limit("nofile", 512, 1 << 22), Limit("core", 0, 0))
    )
    assert outcome.lines == ["512", "0"]
    if "CAP_SYS_RESOURCE" not in capabilities.bounding():
        assert any("nofile is cut" in warning for warning in outcome.warnings)


async def test_a_readonly_root_can_be_had(run_each: Run) -> None:
    outcome = await run_each(
        "sh", "-c", "touch /x; touch /t/x && echo tmpfs", readonly_root=True, mounts=(TmpfsMount("/t"),)
    )
    assert "Read-only file system" in outcome.err
    assert outcome.out == "tmpfs\n"


async def test_the_size_of_shm_is_as_asked(run_each: Run) -> None:
    outcome = await run_each("sh", "-c", "df -k /dev/shm | tail -n 1", shm_size=8 << 20)
    assert outcome.out.split()[1] == "8192"


async def test_many_containers_run_at_once(executor: OciExecutor, root: Path) -> None:
    roots = [shutil.copytree(root, root.parent / f"root{n}", symlinks=True) for n in range(20)]
    outcomes = await asyncio.gather(
        *(run_in(executor, own, "sh", "-c", f"echo {n}; exit {n}") for n, own in enumerate(roots))
    )
    assert [(outcome.code, outcome.out) for outcome in outcomes] == [(n, f"{n}\n") for n in range(20)]


async def test_processes_of_one_container_dont_see_those_of_another(executor: OciExecutor, root: Path) -> None:
    roots = [shutil.copytree(root, root.parent / f"root{n}", symlinks=True) for n in range(3)]
    command = ("sh", "-c", "echo $$; ls -d /proc/[0-9]*")
    for outcome in await asyncio.gather(*(run_in(executor, own, *command) for own in roots)):
        # The shell and `ls`, which may be gone when the directory is listed.
        assert outcome.lines[:2] == ["1", "/proc/1"]
        assert len(outcome.lines) <= 3
