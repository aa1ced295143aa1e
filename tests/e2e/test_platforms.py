"""Images for other platforms: under an emulator, cross-compiled without one, several in one index.

The emulator is Debian's. Programs of the other architecture are a busybox of Debian's archive, and one that is compiled
here.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boatyard._pb import control_pb2 as control
from e2e.buildkit import CONTROL, connected
from e2e.yard import Yard, write_files
from fixtures.registry import serve

pytestmark = [pytest.mark.runtime, pytest.mark.network, pytest.mark.xdist_group("platforms")]

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
OWN, OTHER = ("linux/arm64", "linux/amd64") if platform.machine() == "aarch64" else ("linux/amd64", "linux/arm64")
OTHER_ARCH = OTHER.split("/")[1]

HELLO = """
#ifdef __aarch64__
#define MACHINE "aarch64\\n"
static long call(long number, long first, const char *second, long third) {
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = first, x2 __asm__("x2") = third;
    register const char *x1 __asm__("x1") = second;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
enum { WRITE = 64, EXIT = 93 };
#else
#define MACHINE "x86_64\\n"
static long call(long number, long first, const char *second, long third) {
    __asm__ volatile("syscall" : "+a"(number) : "D"(first), "S"(second), "d"(third) : "rcx", "r11", "memory");
    return number;
}
enum { WRITE = 1, EXIT = 60 };
#endif
void _start(void) {
    call(WRITE, 1, MACHINE, sizeof MACHINE - 1);
    call(EXIT, 0, 0, 0);
}
"""
CROSS = f"""
FROM --platform=$BUILDPLATFORM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \\
    gcc-{MACHINES[OTHER].replace("_", "-")}-linux-gnu gcc-{MACHINES[OWN].replace("_", "-")}-linux-gnu
COPY hello.c .
ARG TARGETARCH
RUN uname -m > /built-on && case $TARGETARCH in amd64) for=x86_64 ;; arm64) for=aarch64 ;; esac && \\
    $for-linux-gnu-gcc -O1 -static -nostdlib -ffreestanding -fno-stack-protector -o /hello hello.c
FROM scratch
COPY --from=build /hello /built-on /
CMD ["/hello"]
"""


@pytest.fixture(scope="module")
def emulated(yard: Yard) -> Iterator[Yard]:
    """With an emulator for the other platform, and a busybox of it."""
    done = yard.run("platform", "install", OTHER_ARCH, check=False, timeout=600)
    if done.returncode:
        pytest.skip(f"needs an emulator: {done.stderr}")
    yard.run("bootstrap", "busybox", "--arch", OTHER_ARCH, "-t", "busybox:other")
    yield yard
    if "as before" not in done.stdout:
        yard.run("platform", "uninstall", OTHER_ARCH, check=False)


@pytest.fixture(scope="module")
def two(yard: Yard, debian: Callable[[Yard], None], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an image of two platforms, compiled here."""
    debian(yard)
    context = write_files(tmp_path_factory.mktemp("cross"), {"Dockerfile": CROSS, "hello.c": HELLO})
    yard.run("build", "--platform", f"{OWN},{OTHER}", "-t", "two:1", context, timeout=600)
    return "two:1"


def platforms_of(yard: Yard, name: str) -> list[str]:
    return list(json.loads(yard.run("image", "ls", "--format", "json", name).stdout)["Platforms"])


@pytest.mark.timeout(600)
def test_an_image_is_built_and_run_under_an_emulator(emulated: Yard, tmp_path: Path) -> None:
    context = write_files(
        tmp_path, {"Dockerfile": "FROM busybox:other\nRUN uname -m > /machine\nCMD cat /machine && uname -m\n"}
    )
    emulated.run("build", "--platform", OTHER, "-t", "emulated", context)
    both = f"{MACHINES[OTHER]}\n" * 2
    assert emulated.run("run", "--rm", "--platform", OTHER, "emulated").stdout == both
    assert emulated.run("run", "--rm", "emulated").stdout == both
    assert f"not for {OWN}" in emulated.fails("run", "--rm", "--platform", OWN, "emulated")


def test_who_asks_is_told_which_platforms_run_here(emulated: Yard) -> None:
    listed = dict(line.split()[:2] for line in emulated.run("platform", "ls").stdout.splitlines()[1:])
    assert (listed[OWN], listed[OTHER]) == ("native", "emulated")
    assert f"programs for {OTHER}" in emulated.run("doctor", check=False).stdout
    assert OTHER in emulated.run("daemon", "status").stdout
    with connected(emulated) as client:
        workers = client.call(f"{CONTROL}ListWorkers", control.ListWorkersRequest(), control.ListWorkersResponse)
    told = [f"{each.OS}/{each.Architecture}" for each in workers.record[0].platforms]
    assert told[0] == OWN
    assert OTHER in told


def test_a_daemon_tells_the_kernel_again_what_an_earlier_one_was_asked_for(
    emulated: Yard, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where nothing else has binfmt_misc mounted, the kernel forgets when a daemon ends."""
    yard = Yard(tmp_path_factory.mktemp("again"))
    kept = yard.data / "emulators/registered"
    kept.mkdir(parents=True)
    # Any program will do: nothing is run by it. (Not that of `emulated`: who registered it may be gone, and its file.)
    (kept / "qemu-s390x").symlink_to(Path("/bin/true").resolve())
    yard.start()
    try:
        assert "linux/s390x" in yard.run("daemon", "status").stdout
        assert yard.run("platform", "uninstall", "s390x").stdout == "linux/s390x: emulated no more\n"
        assert "linux/s390x" not in yard.run("daemon", "status").stdout
        assert not list(kept.iterdir())
        assert "no emulator of linux/s390x" in yard.fails("platform", "uninstall", "s390x")
    finally:
        yard.stop()


def test_an_image_that_does_not_run_here_says_what_it_needs(yard: Yard) -> None:
    yard.run("bootstrap", "busybox", "--arch", "s390x", "-t", "busybox:s390x")
    done = yard.run("run", "--rm", "busybox:s390x", "true", check=False)
    assert done.returncode in (1, 126)
    assert "is for linux/s390x" in done.stderr
    assert "boat platform install s390x" in done.stderr


def test_what_can_not_be_emulated_is_said(yard: Yard) -> None:
    assert "by itself" in yard.fails("platform", "install", OWN)
    told = yard.fails("platform", "install", "wasm")
    assert "no emulator of linux/wasm" in told
    assert "riscv64" in told


@pytest.mark.timeout(900)
def test_programs_are_cross_compiled_without_an_emulator(emulated: Yard, two: str, tmp_path: Path) -> None:
    assert platforms_of(emulated, two) == [OWN, OTHER]
    context = write_files(tmp_path, {"Dockerfile": f"FROM {two}\n"})
    emulated.run("build", "--platform", f"{OWN},{OTHER}", "-o", str(tmp_path / "out"), context)
    # The kernel has one list for the whole machine: other runs of these tests take from it what they put there.
    emulated.run("platform", "install", OTHER_ARCH, timeout=600)
    for name in (OWN, OTHER):
        assert (tmp_path / "out" / name.replace("/", "_") / "built-on").read_text() == f"{MACHINES[OWN]}\n"
        assert emulated.run("run", "--rm", "--platform", name, two).stdout == f"{MACHINES[name]}\n"


@pytest.mark.timeout(900)
def test_an_index_goes_through_archives_and_registries_whole(
    yard: Yard, two: str, tmp_path: Path, own_yard: Yard
) -> None:
    def digest(daemon: Yard, name: str) -> str:
        return str(json.loads(daemon.run("image", "ls", "--format", "json", name).stdout)["Digest"])

    yard.run("image", "save", "-o", tmp_path / "two.tar", two)
    own_yard.run("image", "load", "-i", tmp_path / "two.tar")
    assert platforms_of(own_yard, two) == [OWN, OTHER]
    assert digest(own_yard, two) == digest(yard, two)
    assert own_yard.run("run", "--rm", two).stdout == f"{MACHINES[OWN]}\n"
    with serve() as registry:
        name = f"{registry.host}/two:1"
        own_yard.run("image", "tag", two, name)
        own_yard.run("push", name)
        pushed = json.loads(own_yard.run("manifest", "inspect", name, "--raw").stdout)
        assert [each["platform"]["architecture"] for each in pushed["manifests"]] == [
            each.split("/")[1] for each in (OWN, OTHER)
        ]
        own_yard.run("image", "rm", "-f", name, two)
        own_yard.run("pull", "--platform", OTHER, name)
        context = write_files(tmp_path / "next", {"Dockerfile": f"FROM {name}\nCOPY Dockerfile /\n"})
        own_yard.run("build", "--platform", f"{OWN},{OTHER}", "-t", "next", context)
        assert platforms_of(own_yard, "next") == [OWN, OTHER]
        assert own_yard.run("run", "--rm", "next").stdout == f"{MACHINES[OWN]}\n"
