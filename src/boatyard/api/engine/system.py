"""The daemon itself: whether it answers, which version it is, what it has."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import time
from functools import partial
from typing import Any

from boatyard.api.engine import version
from boatyard.api.engine.call import Answer, Call, json
from boatyard.api.engine.routes import Route
from boatyard.api.engine.services import Services
from boatyard.client.documents.system import Component, DaemonInfo
from boatyard.image.platform import host_platform
from boatyard.image.timestamp import rfc3339
from boatyard.runtime import cgroups
from boatyard.runtime.host import has_seccomp

_OS_RELEASE = "/etc/os-release"
_MACHINE_ID = "/etc/machine-id"
_FORWARDING = "/proc/sys/net/ipv4/ip_forward"
_WORKERS = "org.mobyproject.buildkit.worker."
"""Labels that the builder has for its own clients begin so."""
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def routes(services: Services) -> tuple[Route, ...]:
    return (
        Route("HEAD", "/_ping", partial(_ping, services)),
        Route("GET", "/_ping", partial(_ping, services)),
        Route("GET", "/version", partial(_version, services)),
        Route("GET", "/info", partial(_info, services)),
    )


async def _ping(services: Services, call: Call) -> Answer:
    headers = (
        (b"builder-version", b"2" if services.speaks_buildkit else b"1"),
        (b"cache-control", b"no-cache, no-store, must-revalidate"),
        (b"pragma", b"no-cache"),
        (b"swarm", b"inactive"),
    )
    body = b"" if call.scope["method"] == "HEAD" else b"OK"
    return Answer(body=body, content_type="text/plain; charset=utf-8", headers=headers)


async def _version(services: Services, call: Call) -> Answer:
    info = await services.system.info()
    details = {
        "ApiVersion": version.text(version.MAXIMUM),
        "MinAPIVersion": version.text(version.MINIMUM),
        "GitCommit": "",
        "GoVersion": f"none (Python {platform.python_version()})",
        "Os": "linux",
        "Arch": host_platform().architecture,
        "KernelVersion": info.kernel,
        "BuildTime": "",
    }
    components: list[dict[str, Any]] = [
        {"Name": "Engine", "Version": info.version, "Details": {**details, "Experimental": "false"}}
    ]
    components += [
        {
            "Name": component.name,
            "Version": component.version,
            "Details": {"Detail": component.detail} if component.detail else {},
        }
        for component in info.components
        if component.version
    ]
    return json(
        {
            "Platform": {"Name": "Boatyard"},
            "Components": components,
            "Version": info.version,
            **details,
            "Experimental": False,
        }
    )


async def _info(services: Services, call: Call) -> Answer:
    info, images = await asyncio.gather(services.system.info(), services.images.list_images(()))
    document = await asyncio.to_thread(_described, info)
    document["Images"] = len(images)
    document["NEventsListener"] = services.events.listeners
    document["NGoroutines"] = len(asyncio.all_tasks())
    for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
        if not call.since(1, 49):
            document[name]["Expected"] = document[name]["ID"]
    if not call.since(1, 50):
        document |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    return json(document)


def _described(info: DaemonInfo) -> dict[str, Any]:
    """All but what only the event loop knows. Everything here is as it is; what doesn't exist is empty."""
    found = {component.name: component for component in info.components}
    runtime = found.get("runtime") or Component(name="runtime")
    runtime_name = os.path.basename(runtime.detail) if runtime.version else ""
    hierarchies = cgroups.detect()
    limits = hierarchies.controllers if hierarchies.writable else {}
    cgroup_version = {cgroups.Layout.V2: "2", cgroups.Layout.NONE: ""}.get(hierarchies.layout, "1")
    return {
        "ID": _identity(info.root),
        "Name": os.uname().nodename,
        "ServerVersion": info.version,
        "DockerRootDir": info.root,
        "Containers": 0,
        "ContainersRunning": 0,
        "ContainersPaused": 0,
        "ContainersStopped": 0,
        "Driver": found["snapshotter"].version if "snapshotter" in found else "",
        "DriverStatus": [],
        "Plugins": {"Volume": [], "Network": [], "Authorization": None, "Log": []},
        "MemoryLimit": "memory" in limits,
        "SwapLimit": "memory" in limits,
        "CpuCfsPeriod": "cpu" in limits,
        "CpuCfsQuota": "cpu" in limits,
        "CPUShares": "cpu" in limits,
        "CPUSet": "cpuset" in limits,
        "PidsLimit": "pids" in limits,
        "OomKillDisable": False,
        "IPv4Forwarding": _read(_FORWARDING) == "1",
        "Debug": False,
        "NFd": len(os.listdir("/proc/self/fd")),
        "SystemTime": rfc3339(time.time()),
        "LoggingDriver": "",
        "CgroupDriver": "cgroupfs" if hierarchies.writable else "none",
        "CgroupVersion": cgroup_version,
        "KernelVersion": info.kernel,
        "OperatingSystem": _release("PRETTY_NAME"),
        "OSVersion": _release("VERSION_ID"),
        "OSType": "linux",
        "Architecture": _MACHINES.get(host_platform().architecture, host_platform().architecture),
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {"InsecureRegistryCIDRs": [], "IndexConfigs": {}, "Mirrors": []},
        "GenericResources": None,
        "HttpProxy": info.proxy.get("HTTP_PROXY", ""),
        "HttpsProxy": info.proxy.get("HTTPS_PROXY", ""),
        "NoProxy": info.proxy.get("NO_PROXY", ""),
        "Labels": [f"{name}={value}" for name, value in info.labels.items() if not name.startswith(_WORKERS)],
        "ExperimentalBuild": False,
        "Runtimes": {runtime_name: {"path": runtime.detail}} if runtime_name else {},
        "DefaultRuntime": runtime_name,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": False,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": runtime.version},
        "InitCommit": {"ID": ""},
        "SecurityOptions": [
            *(["name=seccomp,profile=builtin"] if has_seccomp() else []),
            *(["name=rootless"] if info.rootless else []),
        ],
        "CDISpecDirs": [],
        "Warnings": list(info.warnings),
    }


def _identity(root: str) -> str:
    """The same for the same store on the same machine."""
    digest = hashlib.sha256(f"{_read(_MACHINE_ID)} {os.uname().nodename} {root}".encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _release(name: str) -> str:
    for line in _read(_OS_RELEASE).splitlines():
        key, _, value = line.partition("=")
        if key == name:
            return value.strip('"')
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
