"""What a request asks of the Dockerfile frontend, read from its options.

Specification: BuildKit's frontend attributes (reference/builder.md 5.4). Unknown ones are other parties' (buildx
passes some for the exporter and the cache), so they are let by.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from boatyard.build.frontend.dockerfile.words import parse_fields
from boatyard.build.llb.graph import HostIP, LinuxResources, NetMode, Ulimit
from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image import platform as platforms
from boatyard.image.platform import Platform
from boatyard.runtime.container import HOST_GATEWAY

_TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_NETWORKS = {"": NetMode.UNSET, "sandbox": NetMode.UNSET, "host": NetMode.HOST, "none": NetMode.NONE}
_ULIMITS = frozenset(
    {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio"}
    | {"rttime", "sigpending", "stack"}
)
_CPUSET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """`platforms` is empty when none is asked for. `no_cache`: None: use the cache; empty: don't, for any stage; else
    the stages' names.

    `raw` is everything as it came: contexts are looked up in it by name."""

    target: str = ""
    platforms: tuple[Platform, ...] = ()
    multi_platform: bool = False
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: frozenset[str] | None = None
    resolve_mode: str = "default"
    extra_hosts: tuple[HostIP, ...] = ()
    network: NetMode = NetMode.UNSET
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    hostname: str = ""
    cgroup_parent: str = ""
    resources: LinuxResources | None = None
    cache_namespace: str = ""
    raw: Mapping[str, str] = field(default_factory=dict)

    def ignores_cache(self, stage: str) -> bool:
        return self.no_cache is not None and (not self.no_cache or stage.lower() in self.no_cache)


def parse(options: Mapping[str, str]) -> BuildOptions:
    """InvalidError names the option whose value makes no sense."""
    asked = tuple(_platform(text) for text in options["platform"].split(",")) if options.get("platform") else ()
    arguments = _prefixed(options, "build-arg:")
    mode = options.get("image-resolve-mode") or "default"
    if mode not in ("default", "pull", "local"):
        raise InvalidError(f"invalid image-resolve-mode {mode!r}", hint="it is default, pull or local")
    network = options.get("force-network-mode", "")
    if network not in _NETWORKS:
        raise InvalidError(f"invalid network mode {network!r} for the build", hint="it is none, host or sandbox")
    return BuildOptions(
        target=options.get("target", ""),
        platforms=asked,
        multi_platform=_multi_platform(options, asked),
        arguments=arguments,
        labels=_prefixed(options, "label:"),
        no_cache=_no_cache(options),
        resolve_mode=mode,
        extra_hosts=_hosts(options.get("add-hosts", "")),
        network=_NETWORKS[network],
        shm_size=_number(options, "shm-size", lowest=0),
        ulimits=tuple(_ulimit(text) for text in _fields(options.get("ulimit", ""))),
        hostname=arguments.get("BUILDKIT_SANDBOX_HOSTNAME") or options.get("hostname", ""),
        cgroup_parent=options.get("cgroup-parent", ""),
        resources=_resources(options),
        cache_namespace=arguments.get("BUILDKIT_CACHE_MOUNT_NS", ""),
        raw=dict(options),
    )


def _prefixed(options: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in options.items() if name.startswith(prefix)}


def _fields(text: str) -> tuple[str, ...]:
    return parse_fields(text) if text else ()


def _platform(text: str) -> Platform:
    platform = platforms.parse(text.strip())
    check_platform(platform)
    return platform


def check_platform(platform: Platform) -> None:
    if platform.os == "windows":
        raise UnsupportedError(
            f"building for {platform} is not supported", hint="images for linux are: --platform=linux/amd64"
        )


def _multi_platform(options: Mapping[str, str], asked: tuple[Platform, ...]) -> bool:
    several = len(asked) > 1
    text = options.get("build-arg:BUILDKIT_MULTI_PLATFORM") or options.get("multi-platform", "")
    if not text:
        return several
    wanted = truth(text, "multi-platform")
    if several and not wanted:
        raise InvalidError("several platforms are asked for, and multi-platform=false")
    return wanted


def truth(text: str, name: str) -> bool:
    if text not in _TRUTHS:
        raise InvalidError(f"invalid value {text!r} for {name}", hint="it is true or false")
    return _TRUTHS[text]


def is_true(text: str) -> bool:
    """Whether `text` says true; anything else, nonsense too, is false."""
    return _TRUTHS.get(text, False)


def _no_cache(options: Mapping[str, str]) -> frozenset[str] | None:
    if "no-cache" not in options:
        return None
    text = options["no-cache"]
    return frozenset(name.lower() for name in text.split(",") if name)


def _hosts(text: str) -> tuple[HostIP, ...]:
    hosts = []
    for item in _fields(text):
        name, equals, address = item.lower().partition("=")
        try:
            if not equals or not name:
                raise ValueError
            hosts.append(HostIP(name, address if address == HOST_GATEWAY else str(ipaddress.ip_address(address))))
        except ValueError:
            raise InvalidError(f"invalid extra host {item!r}", hint="write NAME=ADDRESS, as in db=10.0.0.7") from None
    return tuple(hosts)


def _ulimit(text: str) -> Ulimit:
    name, equals, limits = text.partition("=")
    soft, colon, hard = limits.partition(":")
    try:
        numbers = int(soft), int(hard if colon else soft)
    except ValueError:
        equals = ""
        numbers = 0, 0
    if not equals or name not in _ULIMITS:
        raise InvalidError(f"invalid ulimit {text!r}", hint="write NAME=SOFT:HARD, as in nofile=1024:4096")
    if min(numbers) < -1 or (numbers[1] != -1 and (numbers[0] == -1 or numbers[0] > numbers[1])):
        raise InvalidError(f"the ulimit {text!r} has a soft limit above the hard one", hint="-1 means unlimited")
    return Ulimit(name, *numbers)


def _number(options: Mapping[str, str], name: str, *, lowest: int = 1, unlimited: bool = False) -> int:
    text = options.get(name, "")
    if not text:
        return 0
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if (unlimited and number == -1) or lowest <= number < 2**63:
        return number
    raise InvalidError(f"invalid {name} {text!r}", hint=f"it is a number of at least {lowest}")


def _cpuset(options: Mapping[str, str], name: str) -> str:
    text = options.get(name, "")
    if text and _CPUSET.fullmatch(text) is None:
        raise InvalidError(f"invalid {name} {text!r}", hint="write numbers and ranges, as in 0-2,5")
    return text


def _resources(options: Mapping[str, str]) -> LinuxResources | None:
    limits = LinuxResources(
        memory=_number(options, "memory"),
        memory_swap=_number(options, "memswap", unlimited=True),
        cpu_shares=_number(options, "cpushares"),
        cpu_period=_number(options, "cpuperiod"),
        cpu_quota=_number(options, "cpuquota"),
        cpuset_cpus=_cpuset(options, "cpusetcpus"),
        cpuset_mems=_cpuset(options, "cpusetmems"),
    )
    return limits if limits != LinuxResources() else None
