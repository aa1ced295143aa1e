"""RUN: its mounts, network, security and surroundings, seen from inside the step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.project import Project, printed
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "running")


@pytest.fixture
def entitled(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project on a daemon that may grant everything."""
    yard = Yard(tmp_path_factory.mktemp("e"))
    write_files(yard.root, {"boatd.toml": 'entitlements = ["network.host", "security.insecure"]\n'})
    yard.flags = ("--config", str(yard.root / "boatd.toml"))
    yard.start()
    yard.run("bootstrap", "busybox")
    yield Project(yard, tmp_path / "trusted")
    yard.stop()


def test_bind_mounts_show_files_and_writes_to_them_are_thrown_away(project: Project) -> None:
    project.write({"ctx/a": "from context\n", "Dockerfile": """
        FROM busybox AS other
        RUN mkdir /o && echo from stage > /o/b
        FROM busybox
        WORKDIR /w
        RUN --mount=target=/all cat /all/ctx/a && test ! -w /all/ctx/a || touch /all/x || echo read-only
        RUN --mount=type=bind,source=ctx,target=rel cat rel/a
        RUN --mount=from=other,src=/o,dst=/m,rw cat /m/b && echo changed > /m/b && touch /m/new && cat /m/b && ls /m
        RUN --mount=from=other,source=/o/b,target=/file cat /file; touch /file || echo refused
        RUN --mount=type=bind,from=busybox,source=/bin,target=/bb,readonly ls /bb/busybox
        RUN --mount=from=other,source=/o,target=/m ls /m
        RUN ls -d /all /m /file /bb /w/rel || echo no stubs
        """})  # fmt: skip
    lines = printed(project.build("--no-cache"))
    assert lines[0] == "from context"
    assert "read-only" in lines
    assert lines.count("from stage") == 2
    assert lines[lines.index("changed") : lines.index("changed") + 3] == ["changed", "b", "new"]
    assert "refused" in lines
    assert "/bb/busybox" in lines
    assert "no stubs" in lines
    assert lines.count("new") == 1


def test_cache_mounts_keep_files_between_steps_and_builds(project: Project) -> None:
    id = f"keep-{os.urandom(4).hex()}"
    project.dockerfile(f"""
        FROM busybox AS seed
        RUN mkdir -p /seed/sub && echo seeded > /seed/sub/file
        FROM busybox
        RUN --mount=type=cache,id={id},target=/c echo one >> /c/log && cat /c/log
        RUN --mount=type=cache,id={id},target=/elsewhere cat /elsewhere/log
        RUN --mount=type=cache,id={id},target=/c,readonly touch /c/x || echo cannot write
        RUN --mount=type=cache,id={id}-owned,target=/o,uid=12,gid=34,mode=0751 stat -c '%u %g %a' /o
        RUN --mount=type=cache,id={id}-seeded,target=/s,from=seed,source=/seed cat /s/sub/file; echo more >> /s/sub/file
        RUN --mount=type=cache,id={id}-private,target=/p,sharing=private echo x >> /p/l && cat /p/l
        RUN --mount=type=cache,id={id}-locked,target=/l,sharing=locked echo locked
        RUN --mount=type=cache,target=/c ls -A /c | wc -l
        RUN test ! -e /c/log && test ! -e /s/sub && echo not in the image
        """)
    first = printed(project.build("--no-cache"))
    assert first == ["one", "one", *(line for line in first if "Read-only" in line), "cannot write", "12 34 751",
                     "seeded", "x", "locked", "0", "not in the image"]  # fmt: skip
    again = printed(project.build("--no-cache"))
    assert again[:2] == ["one", "one"]
    assert again.count("one") == 4
    assert again[again.index("seeded") : again.index("seeded") + 2] == ["seeded", "more"]


def test_concurrent_steps_share_a_cache_or_wait_for_it(project: Project) -> None:
    id = f"both-{os.urandom(4).hex()}"
    wait = "i=0; while ! test -e /c/{other} && test $i -lt 400; do usleep 25000; i=$((i+1)); done; test -e /c/{other}"
    project.dockerfile(f"""
        FROM busybox AS a
        RUN --mount=type=cache,id={id},target=/c touch /c/a; {wait.format(other="b")}
        FROM busybox AS b
        RUN --mount=type=cache,id={id},target=/c touch /c/b; {wait.format(other="a")}
        FROM busybox AS c
        RUN --mount=type=cache,id={id}-l,target=/c,sharing=locked mkdir /c/held && usleep 100000 && rmdir /c/held
        FROM busybox AS d
        RUN --mount=type=cache,id={id}-l,target=/c,sharing=locked mkdir /c/held && usleep 100000 && rmdir /c/held
        FROM scratch
        COPY --from=a /bin/true /a
        COPY --from=b /bin/true /b
        COPY --from=c /bin/true /c
        COPY --from=d /bin/true /d
        """)
    project.build("--no-cache")


def test_tmpfs_mounts_are_empty_limited_and_gone(project: Project) -> None:
    project.dockerfile("""
        FROM busybox
        RUN mkdir /t && echo below > /t/below
        RUN --mount=type=tmpfs,target=/t,size=1m ls -A /t | wc -l; df -k /t | awk 'NR==2 { print $2 }'; \
            dd if=/dev/zero of=/t/big bs=64k count=32 2>/dev/null || echo full
        RUN cat /t/below && ls /t
        """)
    assert printed(project.build("--no-cache")) == ["0", "1024", "full", "below", "below"]


def test_secrets_have_target_mode_owner_and_environment(project: Project, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("tok3n")
    project.environment = {"API_KEY": "k3y"}
    project.dockerfile("""
        FROM busybox
        RUN --mount=type=secret,id=token cat /run/secrets/token; echo; stat -c '%a %u %g' /run/secrets/token
        RUN --mount=type=secret,id=token,target=/etc/deep/token,mode=0440,uid=5,gid=6 stat -c '%a %u %g' /etc/deep/token
        RUN --mount=type=secret,id=key,env=KEY echo "$KEY $(test -e /run/secrets/key || echo only there)"
        RUN --mount=type=secret,id=key,env=KEY,target=/key echo "$KEY $(cat /key)"
        RUN --mount=type=secret,id=absent,env=ABSENT echo "[${ABSENT-unset}]"; ls /run/secrets/absent || echo missing
        RUN --mount=type=secret,target=/named/token cat /named/token; echo
        USER 5
        RUN --mount=type=secret,id=token cat /run/secrets/token || echo not mine
        RUN ls -d /run/secrets /etc/deep /key /named || echo no stubs
        """)
    lines = printed(
        project.build("--no-cache", "--secret", f"id=token,src={tmp_path}/token", "--secret", "id=key,env=API_KEY")
    )
    assert [line for line in lines if "No such file" not in line and "can't open" not in line] == [
        "tok3n", "400 0 0", "440 5 6", "k3y only there", "k3y k3y", "[unset]", "missing", "tok3n", "not mine",
        "no stubs",
    ]  # fmt: skip


def test_a_changed_secret_does_not_run_a_step_again(project: Project, tmp_path: Path) -> None:
    project.dockerfile("FROM busybox\nRUN --mount=type=secret,id=s,env=S echo $S > /dev/null\n")
    for value in ("1", "2"):
        (tmp_path / "s").write_text(value)
        told = project.build("--secret", f"id=s,src={tmp_path}/s")
    assert "CACHED" in told


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A running ssh-agent with one key: its socket, and the key's fingerprint."""
    if not shutil.which("ssh-agent"):
        pytest.skip("needs ssh-agent")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test key", "-f", key], check=True)
    socket = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        while not socket.exists():
            assert process.poll() is None
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True, capture_output=True)
        listed = subprocess.run(["ssh-add", "-l"], env=environment, check=True, capture_output=True, text=True).stdout
        yield str(socket), listed.split()[1]
    finally:
        process.terminate()
        process.wait()


def test_an_ssh_agent_answers_inside_the_step(project: Project, agent: tuple[str, str], tmp_path: Path) -> None:
    socket, _ = agent
    tool = tmp_path / "running/ask"
    tool.parent.mkdir(parents=True, exist_ok=True)
    build_static_asker(tool)
    project.environment = {"SSH_AUTH_SOCK": socket}
    project.dockerfile("""
        FROM busybox
        COPY ask /bin/
        RUN --mount=type=ssh echo $SSH_AUTH_SOCK; ask; stat -c '%a %u %g' $SSH_AUTH_SOCK
        RUN --mount=type=ssh,id=default,target=/agent,uid=7,gid=8,mode=0666 stat -c '%a %u %g' /agent; ask
        RUN --mount=type=ssh,id=absent echo "[$SSH_AUTH_SOCK]"
        RUN echo "[$SSH_AUTH_SOCK]"; ls /agent || echo gone
        """)
    lines = printed(project.build("--no-cache", "--ssh", "default"))
    assert lines[:3] == ["/run/buildkit/ssh_agent.0", "1 key: test key", "600 0 0"]
    assert lines[3:5] == ["666 7 8", "1 key: test key"]
    assert lines[-1] == "gone"
    (tmp_path / "key").chmod(0o600)
    told = printed(project.build("--no-cache", "--ssh", f"default={tmp_path}/key"))
    assert "1 key: test key" in told
    project.dockerfile("FROM busybox\nRUN --mount=type=ssh,required=true true\n")
    told = project.fails()
    assert "--ssh default" in told
    assert "Dockerfile:2" in told


def build_static_asker(target: Path) -> None:
    """A program without libraries that asks the agent for its keys, as `ssh-add -l` does."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source = target.with_suffix(".c")
    source.write_text(ASKER)
    subprocess.run([compiler, "-static", "-O1", "-o", target, source], check=True, capture_output=True)


ASKER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static unsigned number(const unsigned char *at) { return at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]; }
int main(void) {
    struct sockaddr_un name = {AF_UNIX};
    unsigned char answer[4096];
    int got = 0, count = socket(AF_UNIX, SOCK_STREAM, 0);
    const char *path = getenv("SSH_AUTH_SOCK");
    if (!path) return puts("no agent"), 1;
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    if (connect(count, (struct sockaddr *)&name, sizeof name)) return perror("connect"), 1;
    if (write(count, "\0\0\0\1\13", 5) != 5) return 1;
    while (got < 4 || got < 4 + (int)number(answer)) got += read(count, answer + got, sizeof answer - got);
    unsigned key = number(answer + 9), comment = number(answer + 13 + key);
    printf("%u key: %.*s\n", number(answer + 5), comment, answer + 17 + key);
    return 0;
}
"""


def test_a_step_has_names_limits_and_memory_as_asked(project: Project) -> None:
    project.dockerfile("""
        FROM busybox
        RUN hostname
        RUN grep -c . /etc/hosts; grep 'example.test' /etc/hosts; grep '^127.0.0.1' /etc/hosts; grep buildkit /etc/hosts
        RUN test -s /etc/resolv.conf && echo resolver
        RUN df -m /dev/shm | awk 'NR==2 { print $2 }'
        RUN ulimit -n; ulimit -H -n
        RUN touch /etc/hosts /etc/resolv.conf 2>/dev/null; id -u; umask; cat /proc/self/cgroup | wc -l
        RUN ls -l /etc/hosts /etc/resolv.conf /etc/hostname 2>/dev/null | wc -l
        """)
    told = project.build(
        "--no-cache", "--add-host", "example.test:10.1.2.3", "--add-host", "six.example.test=fe80::1",
        "--shm-size", "32m", "--ulimit", "nofile=512:1024",
    )  # fmt: skip
    lines = printed(told)
    assert lines[0] == "buildkitsandbox"
    assert re.search(r"10\.1\.2\.3\s+example\.test", told)
    assert re.search(r"fe80::1\s+six\.example\.test", told)
    assert re.search(r"[0-9.]+\s+buildkitsandbox", told)
    assert lines[lines.index("resolver") + 1 : lines.index("resolver") + 5] == ["32", "512", "1024", "0"]


def test_files_lent_to_a_step_are_not_in_the_image(project: Project) -> None:
    project.dockerfile("FROM busybox\nRUN cat /etc/hosts /etc/resolv.conf > /dev/null; mkdir -p /seen\n")
    with_base = project.tree("--no-cache", "--add-host", "example.test:10.1.2.3", "--trust-host-ca")
    project.dockerfile("FROM busybox\n")
    assert set(with_base.entries) - set(project.tree().entries) == {"seen"}


def test_a_hostname_can_be_given(project: Project) -> None:
    project.dockerfile("FROM busybox\nRUN hostname\n")
    assert printed(project.build("--no-cache", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=yard")) == ["yard"]


def test_without_a_network_there_is_only_the_loopback(project: Project) -> None:
    project.dockerfile(
        "FROM busybox\nRUN --network=none ip -o link | awk '{ print $2 }'\nRUN --network=default ip -o link | wc -l\n"
    )
    lines = printed(project.build("--no-cache"))
    assert lines[0] == "lo:"
    assert lines[1] != "1"
    project.dockerfile("FROM busybox\nRUN ip -o link | awk '{ print $2 }'\n")
    assert printed(project.build("--no-cache", "--network", "none")) == ["lo:"]


def test_the_hosts_network_and_insecure_steps_need_an_entitlement(project: Project) -> None:
    project.dockerfile("FROM busybox\nRUN --network=host true\n")
    told = project.fails()
    assert "network.host" in told
    assert "--allow network.host" in told
    assert "Dockerfile:2" in told
    assert "entitlement" in project.fails("--allow", "network.host")
    project.dockerfile("FROM busybox\nRUN --security=insecure true\n")
    assert "--allow security.insecure" in project.fails()


def test_entitled_builds_get_the_hosts_network_and_more_capabilities(entitled: Project) -> None:
    entitled.dockerfile("""
        FROM busybox
        RUN --network=host ls /sys/class/net | tr '\\n' ' '; echo
        RUN grep CapEff /proc/self/status
        RUN --security=insecure grep CapEff /proc/self/status; mkdir /mnt; mount -t tmpfs none /mnt && echo mounted
        RUN mount -t tmpfs none /mnt || echo not permitted
        """)
    told = entitled.build("--no-cache", "--allow", "network.host", "--allow", "security.insecure")
    lines = printed(told)
    assert len(lines[0].split()) > 1
    assert lines[1].endswith("a80425fb")
    assert int(lines[2].split()[1], 16) > int(lines[1].split()[1], 16)
    assert lines[3] == "mounted"
    assert lines[-1] == "not permitted"
    entitled.dockerfile("FROM busybox\nRUN true\nRUN --network=host true\n")
    assert "--allow network.host" in entitled.fails()


def test_proxies_are_in_the_step_and_nowhere_else(project: Project) -> None:
    project.dockerfile("FROM busybox\nARG OTHER\nRUN echo $HTTP_PROXY $http_proxy $no_proxy\n")
    arguments = ["--build-arg", "HTTP_PROXY=http://u:p4ss@proxy.test:1", "--build-arg", "no_proxy=local.test"]
    image = project.image("--no-cache", *arguments)
    assert "p4ss" not in str(image)
    tag = f"image-{project.directory.name}"
    assert "p4ss" not in project.yard.run("image", "history", "--no-trunc", tag).stdout
    changed = project.build("--build-arg", "HTTP_PROXY=http://other.test:1", "--build-arg", "no_proxy=local.test")
    assert "CACHED" in changed
    told = project.build("--no-cache", *arguments)
    assert printed(told) == ["http://u:p4ss@proxy.test:1 http://u:p4ss@proxy.test:1 local.test"]
    project.dockerfile("FROM busybox\nARG HTTP_PROXY\nRUN true\n")
    project.image(*arguments)
    assert (
        "p4ss" in project.yard.run("image", "history", "--no-trunc", tag).stdout
    )  # an ARG declares it: it was asked for


def test_the_shell_user_and_directory_of_a_step(project: Project) -> None:
    project.dockerfile("""
        FROM busybox
        COPY --chmod=644 <<passwd <<group /etc/
        root:x:0:0::/root:/bin/sh
        app:x:1234:1234::/home/app:/bin/sh
        passwd
        root:x:0:
        app:x:1234:
        more:x:4321:app
        group
        WORKDIR /made
        USER app
        RUN id -u; id -G; pwd; echo $HOME
        WORKDIR mine
        RUN stat -c '%U %a' . && touch ok
        USER 99:77
        RUN id -u; id -g; id -G
        USER app:more
        RUN id -g
        SHELL ["/bin/busybox", "sh", "-ec"]
        RUN echo shell $0; false || true
        RUN ["/bin/echo", "$HOME", "exec form"]
        USER nobody-there
        """)
    lines = printed(project.build("--no-cache"))
    assert lines == [
        "1234", "1234 4321", "/made", "/home/app", lines[4], "99", "77", "77", "4321", "shell sh",
        "$HOME exec form",
    ]  # fmt: skip
    assert lines[4].split()[1] == "755"
    project.dockerfile("FROM busybox\nUSER nobody-there\nRUN true\n")
    told = project.fails()
    assert "nobody-there" in told
    assert "Dockerfile:3" in told


def test_a_step_that_cannot_start_or_fails_says_why(project: Project) -> None:
    for command, reason in {
        '["/no/such"]': "/no/such",
        "nosuchcommand": "exit code: 127",
        "sh -c 'kill -9 $$'; exit $?": "137",
        "exit 5": "exit code: 5",
    }.items():
        project.dockerfile(f"FROM busybox\nRUN true\nRUN {command}\nRUN true\n")
        told = project.fails()
        assert reason in told
        assert "Dockerfile:3" in told
