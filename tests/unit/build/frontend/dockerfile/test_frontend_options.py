"""Options of a request."""

from __future__ import annotations

import pytest

from boatyard.build.frontend.dockerfile.options import parse
from boatyard.build.llb.graph import HostIP, LinuxResources, NetMode, Ulimit
from boatyard.errors import InvalidError


def test_nothing_asked_for() -> None:
    options = parse({"unknown": "1"})
    assert options.platforms == ()
    assert options.resources is None
    assert options.network is NetMode.UNSET
    assert not options.ignores_cache("a")


def test_everything_is_read() -> None:
    options = parse(
        {
            "target": "t",
            "build-arg:A": "1",
            "label:l": "2",
            "add-hosts": '"Db=10.0.0.1",six=2001:DB8::1',
            "ulimit": "nofile=1:2,core=-1",
            "cpushares": "5",
            "memswap": "-1",
            "cpusetmems": "0,2-3",
        }
    )
    assert (options.target, options.arguments, options.labels) == ("t", {"A": "1"}, {"l": "2"})
    assert options.extra_hosts == (HostIP("db", "10.0.0.1"), HostIP("six", "2001:db8::1"))
    assert options.ulimits == (Ulimit("nofile", 1, 2), Ulimit("core", -1, -1))
    assert options.resources == LinuxResources(cpu_shares=5, memory_swap=-1, cpuset_mems="0,2-3")


def test_a_build_argument_names_the_host() -> None:
    assert parse({"hostname": "a", "build-arg:BUILDKIT_SANDBOX_HOSTNAME": "b"}).hostname == "b"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("platform", "a/b/c/d"),
        ("platform", "linux/amd64,,linux/arm64"),
        ("image-resolve-mode", "never"),
        ("force-network-mode", "bridge"),
        ("multi-platform", "maybe"),
        ("add-hosts", "db"),
        ("add-hosts", "db=somewhere"),
        ("add-hosts", "=10.0.0.1"),
        ("shm-size", "64m"),
        ("shm-size", "-1"),
        ("ulimit", "nofile"),
        ("ulimit", "files=3"),
        ("ulimit", "nofile=4:3"),
        ("ulimit", "nofile=x"),
        ("memory", "0"),
        ("memswap", "-2"),
        ("cpuquota", "1.5"),
        ("cpusetcpus", "a-b"),
    ],
)
def test_values_that_make_no_sense(name: str, value: str) -> None:
    with pytest.raises(InvalidError):
        parse({name: value})
