"""`boat build` with a daemon that can be given no descriptors: over TCP with certificates, and a socket that was
forwarded."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.yard import Yard, write_files
from fixtures.certificates import Authority

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def remote() -> Iterator[Yard]:
    """A daemon with `busybox`, and `boat` pointed at its TCP address."""
    with tempfile.TemporaryDirectory(prefix="boatd-") as directory:
        place = Path(directory)
        authority = Authority(place / "certificates")
        server = authority.sign("server")
        authority.sign("client")
        yard = Yard(
            place,
            flags=(
                *("--listen", f"unix://{place}/run/boatd.sock", "--listen", "tcp://127.0.0.1:0"),
                *("--tlscacert", authority.ca, "--tlscert", server.cert, "--tlskey", server.key),
            ),
        )
        yard.start()
        (port,) = re.findall(r"tcp://127\.0\.0\.1:(\d+)", yard.log)
        yard.environment["BOAT_HOST"] = f"tcp://localhost:{port}"
        yard.environment["BOAT_CERT_PATH"] = str(authority.directory / "client")
        yard.run("bootstrap", "busybox")
        yield yard
        assert yard.stop() == 0, yard.log
        assert sorted(os.listdir(place / "run")) == ["containers"]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return write_files(
        tmp_path / "context",
        {
            "Dockerfile": "FROM scratch\nCOPY . /files/\n",
            ".dockerignore": "*.secret\nDockerfile\n.dockerignore\n",
            "a.txt": "a",
            "sub/é.txt": "é",
            "my.secret": "never sent",
        },
    )


def transferred(output: str) -> int:
    """Bytes of the build context that travelled."""
    found = re.findall(r"transferring context: ([0-9.]+)(B|kB|MB) [0-9.]+s done", output)
    number, unit = found[-1]
    return round(float(number) * {"B": 1, "kB": 1000, "MB": 1_000_000}[unit])


def listed(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return sorted(tar.getnames())


def test_files_go_there_and_the_result_comes_back(remote: Yard, context: Path, tmp_path: Path) -> None:
    remote.run("build", "-o", f"type=local,dest={tmp_path}/out", context)
    assert (tmp_path / "out/files/sub/é.txt").read_text() == "é"
    assert sorted(os.listdir(tmp_path / "out/files")) == ["a.txt", "sub"]
    assert (tmp_path / "out/files/a.txt").stat().st_uid == os.getuid()


def test_two_builds_there_are_compared_here(remote: Yard, tmp_path: Path) -> None:
    lines = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /chance\n"
    place = write_files(tmp_path / "chance", {"Dockerfile": lines})
    done = remote.run("build", "--check-reproducible", place, check=False)
    assert done.returncode == 11
    assert "content   /chance: 37 bytes" in done.stdout


def test_only_what_has_changed_travels(remote: Yard, context: Path, tmp_path: Path) -> None:
    (context / "large").write_bytes(os.urandom(3_000_000))
    first = remote.run("build", "--progress", "plain", "-t", "travels", context)
    again = remote.run("build", "--progress", "plain", "-t", "travels", context)
    (context / "a.txt").write_bytes(b"x" * 20_000)
    changed = remote.run("build", "--progress", "plain", "-t", "travels", context)
    assert transferred(first.stderr) >= 3_000_000
    assert transferred(again.stderr) < 2000
    assert 20_000 < transferred(changed.stderr) < 25_000
    assert "CACHED" in again.stderr


def test_archives_come_to_a_file_and_to_standard_output(remote: Yard, context: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        remote.command("build", "-o", "type=tar,dest=-", context),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=remote.variables(),
    )
    assert done.returncode == 0, done.stderr
    assert "files/sub/é.txt" in listed(done.stdout)
    remote.run("build", "-o", f"type=oci,dest={tmp_path}/image.tar", context)
    assert "index.json" in listed((tmp_path / "image.tar").read_bytes())


def test_a_layout_comes_as_a_directory_and_may_be_a_base(remote: Yard, context: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    remote.run("build", "-o", f"type=oci,dest={layout},tar=false", context)
    assert sorted(os.listdir(layout)) == ["blobs", "index.json", "oci-layout"]
    done = subprocess.run(
        remote.command(
            *("build", "-f", "-", "-o", "type=tar,dest=-", "--build-context", f"base=oci-layout://{layout}"),
            context,
        ),
        input=b"FROM base\nCOPY a.txt /more\n",
        capture_output=True,
        env=remote.variables(),
    )
    assert done.returncode == 0, done.stderr
    assert {"more", "files/a.txt"} <= set(listed(done.stdout))


def test_an_output_can_replace_a_directory(remote: Yard, context: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "out", {"old": "", "files/old": "", "files/a.txt": "older"})
    remote.run("build", "-o", f"type=local,dest={tmp_path}/out,mode=delete", context)
    assert sorted(os.listdir(tmp_path / "out")) == ["files"]
    assert sorted(os.listdir(tmp_path / "out/files")) == ["a.txt", "sub"]
    assert (tmp_path / "out/files/a.txt").read_text() == "a"


def test_a_context_and_a_dockerfile_may_come_from_standard_input(remote: Yard, context: Path, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(context, "")
    remote.run("build", "-o", f"type=local,dest={tmp_path}/one", "-", input=archive.getvalue())
    assert (tmp_path / "one/files/a.txt").read_text() == "a"
    remote.run("build", "-f", "-", "-o", f"type=local,dest={tmp_path}/two", context, input=b"FROM scratch\nCOPY a* /\n")
    assert os.listdir(tmp_path / "two") == ["a.txt"]


def test_secrets_and_agents_are_reached(remote: Yard, context: Path, tmp_path: Path) -> None:
    write_files(
        context,
        {
            "Dockerfile": "FROM busybox\n"
            "RUN --mount=type=secret,id=file --mount=type=secret,id=variable"
            " cat /run/secrets/file /run/secrets/variable > /secrets\n"
            "RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo yes > /agent\n",
            "word.secret": "open ",
        },
    )
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    remote.run(
        *("build", "-o", f"type=local,dest={tmp_path}/out", "--ssh", f"default={tmp_path}/key"),
        *("--secret", f"id=file,src={context}/word.secret", "--secret", "id=variable,env=WORD", context),
        environment={"WORD": "sesame"},
    )
    assert (tmp_path / "out/secrets").read_text() == "open sesame"
    assert (tmp_path / "out/agent").read_text() == "yes\n"


def test_what_is_missing_is_told_as_for_a_daemon_here(remote: Yard, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY my.secret /\n")
    said = remote.fails("build", context)
    assert '"/my.secret": not found' in said
    assert "the pattern '*.secret'" in said
    (context / "Dockerfile").write_text("FROM busybox\nRUN --mount=type=secret,id=none,required true\n")
    assert "none" in remote.fails("build", context)


def test_a_shell_on_failure_needs_a_daemon_here(remote: Yard, context: Path) -> None:
    from e2e.terminal import Terminal

    with Terminal(remote.command("build", "--on-error=shell", context), remote.variables(), columns=200) as terminal:
        terminal.shows("can't be handed to the daemon at tcp://localhost")


def test_targets_of_a_bake_file_share_a_session(remote: Yard, context: Path, tmp_path: Path) -> None:
    write_files(
        context,
        {
            "docker-bake.hcl": f"""
                group "default" {{ targets = ["one", "two"] }}
                target "base" {{ dockerfile-inline = "FROM scratch\\nCOPY a.txt /a" }}
                target "one" {{
                    contexts = {{ base = "target:base" }}
                    dockerfile-inline = "FROM base\\nCOPY sub /sub"
                    output = ["type=local,dest={tmp_path}/one"]
                }}
                target "two" {{ output = ["type=local,dest={tmp_path}/two"] }}
            """
        },
    )
    remote.run("bake", f"--allow=fs.write={tmp_path}", cwd=context)
    assert sorted(os.listdir(tmp_path / "one")) == ["a", "sub"]
    assert "a.txt" in os.listdir(tmp_path / "two/files")


def test_a_client_that_is_killed_ends_its_build(remote: Yard, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo begins && sleep 1000\n")
    client = subprocess.Popen(
        remote.command("build", "--progress", "plain", context), stderr=subprocess.PIPE, env=remote.variables()
    )
    assert client.stderr is not None
    while b"begins" not in client.stderr.readline():
        pass
    assert client.stderr.readline is not None
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stderr.close()
    deadline = time.monotonic() + 60
    while "Cancelled" not in (shown := remote.run("builder", "history").stdout.splitlines()[1]):
        assert time.monotonic() < deadline, shown
    assert not [
        line for line in Path("/proc/mounts").read_text().splitlines() if str(remote.root) in line and "run" in line
    ]


def test_a_forwarded_socket_is_enough(remote: Yard, context: Path, tmp_path: Path) -> None:
    """As of `ssh -L`: there is no socket for descriptors beside it."""
    with forwarded(remote.socket) as path:
        remote.run(
            *("--host", f"unix://{path}", "build", "-o", f"type=local,dest={tmp_path}/out", context),
        )
    assert (tmp_path / "out/files/a.txt").read_text() == "a"


class forwarded:  # noqa: N801
    """The path of a socket that leads to another one."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._directory = tempfile.TemporaryDirectory(prefix="fwd-")
        self._path = Path(self._directory.name) / "sock"
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Path:
        self._thread.start()
        self._ready.wait()
        return self._path

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._directory.cleanup()

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.start_unix_server(self._connected, self._path))
        self._ready.set()
        self._loop.run_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_unix_connection(self._target)
        await asyncio.gather(carry(reader, back), carry(onward, writer))


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # the other end has gone; so does this one
    writer.close()
