"""What works on this host, what is missing, and the command that brings it.

Every check is a function that gives one `Check`; `report` runs them all. Nothing is changed on the host.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from boatyard.errors import BoatyardError
from boatyard.runtime import capabilities, cgroups, emulation, host, kernel, probe, seccomp, trust
from boatyard.runtime.executor import NetworkChoice, OciExecutor
from boatyard.runtime.network import Mode

LOW_SPACE = 5 << 30
NO_SPACE = 500 << 20


TOOLS = (
    ("git", "git", "git repositories as contexts and in ADD"),
    ("mmdebstrap", "mmdebstrap", "`boat bootstrap debian`"),
    ("ssh-agent", "openssh-client", "`boat build --ssh ID=KEYFILE`"),
)
"""Program, Debian package, what it is for."""


class Status(Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    status: Status
    detail: str
    fix: str = ""
    """A command or a sentence; "" when there is nothing to do."""


async def report(executor: OciExecutor, root: Path) -> list[Check]:
    """All checks. `root` is where images and layers are kept. Starts the executor when it isn't."""
    checks = []
    try:
        runtime, attempts = await executor.runtime()
        checks += runtimes(attempts, str(runtime.program.path))
    except BoatyardError as error:
        checks.append(Check("runtime", Status.FAIL, error.message, error.hint or ""))
        checks += runtimes(executor.attempts, "")
    checks.append(isolation(executor.contained))
    checks.append(control_groups(cgroups.detect()))
    try:
        checks.append(overlay(await executor.call(try_overlay, executor.scratch)))
    except BoatyardError as error:
        checks.append(Check("overlayfs", Status.WARN, f"could not be tried: {error.message}"))
    checks += [system_calls(), privileges(capabilities.bounding()), open_files()]
    try:
        checks.append(network(await executor.network()))
    except BoatyardError as error:
        checks.append(Check("network", Status.FAIL, error.message, error.hint or ""))
    checks += [*tools(), emulators(), user_namespaces(), fuse(), certificates(), space(root)]
    return checks


def runtimes(attempts: Iterable[probe.Attempt], used: str) -> list[Check]:
    """One check for each program that was tried."""
    checks = []
    failures: dict[str, str] = {}
    for attempt in attempts:
        path = str(attempt.runtime.program.path)
        if attempt.failure:
            failures[path] = attempt.failure
        else:
            failures.pop(path, None)
            detail = f"{path} {version(path)} runs containers"
            if attempt.runtime.compiled_filter:
                detail += ", with a ready-made system call filter"
            fix = ""
            if attempt.runtime.program.kind == "runc":
                fix = "apt-get install crun (starts containers several times faster)"
            checks.append(Check("runtime", Status.OK, detail, fix))
    for path, failure in failures.items():
        status = Status.WARN if used else Status.FAIL
        checks.append(Check("runtime", status, f"{path} {version(path)} does not work: {failure}"))
    return checks


def version(path: str) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "(of unknown version)"
    return probe.parse_version(done.stdout) or "(of unknown version)"


def isolation(contained: bool) -> Check:
    if contained:
        return Check("isolation", Status.OK, "containers live in namespaces that end with the daemon, however it ends")
    return Check(
        "isolation",
        Status.WARN,
        "the daemon has no namespaces of its own: what a killed daemon leaves is removed only when it starts again",
        "run the daemon as root, with CAP_SYS_ADMIN",
    )


def control_groups(found: cgroups.Hierarchies) -> Check:
    names = ", ".join(sorted(found.controllers)) or "no controllers"
    if found.layout is cgroups.Layout.NONE or not found.writable:
        return Check(
            "cgroups",
            Status.WARN,
            f"{found.layout.value}, not writable: containers have no limits and can't make device nodes",
            "mount -t cgroup2 none /sys/fs/cgroup (in a container: --cgroupns=host and a writable /sys/fs/cgroup)",
        )
    lacking = [name for name in ("memory", "cpu", "pids") if name not in found.controllers]
    if lacking:
        return Check("cgroups", Status.WARN, f"{found.layout.value} with {names}: no limits of {', '.join(lacking)}")
    return Check("cgroups", Status.OK, f"{found.layout.value} with {names}")


def try_overlay(scratch: Path) -> str:
    """Mount an overlay and take it away again; "" when it worked. In a spawner's thread."""
    base = scratch / f"overlay-check-{os.urandom(4).hex()}"
    layers = [base / name for name in ("lower", "upper", "work", "merged")]
    try:
        for directory in layers:
            directory.mkdir(parents=True)
        lower, upper, work, merged = map(str, layers)
        kernel.mount("overlay", merged, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
        kernel.unmount(merged)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return ""


def overlay(failure: str) -> Check:
    if not failure:
        return Check("overlayfs", Status.OK, "layers are stacked, not copied")
    return Check(
        "overlayfs", Status.WARN, f"can't be mounted ({failure}): layers are copied, which is slow", "modprobe overlay"
    )


def system_calls() -> Check:
    if not host.has_seccomp():
        return Check("seccomp", Status.WARN, "this kernel has no system call filters: containers run without one")
    if seccomp.compile_filter(seccomp.section(capabilities.DEFAULT)) is None:
        return Check(
            "seccomp",
            Status.WARN,
            "libseccomp is missing or too old: every container compiles its filter, which takes some 10 ms",
            "apt-get install libseccomp2",
        )
    return Check("seccomp", Status.OK, "Docker's default filter is applied")


def privileges(available: frozenset[str]) -> Check:
    refused = capabilities.intersect(capabilities.DEFAULT, available)[1]
    if refused:
        return Check(
            "capabilities", Status.WARN, f"containers go without {', '.join(refused)}: the daemon lacks it too"
        )
    missing = capabilities.intersect(capabilities.NAMES, available)[1]
    if missing:
        return Check("capabilities", Status.OK, f"all but {', '.join(missing)} (only insecure steps would have it)")
    return Check("capabilities", Status.OK, "all")


def open_files() -> Check:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 4096:
        return Check(
            "open files", Status.WARN, f"at most {hard}", "raise it: LimitNOFILE= in the service, or `ulimit -Hn`"
        )
    return Check("open files", Status.OK, f"up to {'any number' if hard == resource.RLIM_INFINITY else hard}")


def network(choice: NetworkChoice) -> Check:
    if choice.mode is Mode.BRIDGE:
        return Check("network", Status.OK, "containers have a network of their own behind a bridge")
    if choice.reason:
        fix = choice.reason.partition("(")[2].rstrip(")") if "apt-get" in choice.reason else ""
        return Check("network", Status.WARN, f"containers use the {choice.mode.value}'s network: {choice.reason}", fix)
    return Check("network", Status.OK, f"mode {choice.mode.value}, as configured")


def tools(path: str | None = None) -> list[Check]:
    """Programs that single features need. `path` stands for PATH."""
    checks = []
    for program, package, purpose in TOOLS:
        if shutil.which(program, path=path):
            checks.append(Check(program, Status.OK, purpose))
        else:
            checks.append(Check(program, Status.WARN, f"not there: no {purpose}", f"apt-get install {package}"))
    return checks


def emulators(directory: Path = emulation.BINFMT) -> Check:
    found = emulation.platforms(directory)
    if found:
        return Check("emulation", Status.OK, f"programs for {', '.join(found)} run here")
    fix = "boat platform install"
    loose = [one.name for one in emulation.handlers(directory) if one.platform]
    if loose:
        return Check("emulation", Status.WARN, f"{', '.join(loose)} without the flag F don't work in containers", fix)
    if not emulation.is_mounted(directory):
        return Check("emulation", Status.WARN, "binfmt_misc is not mounted, or this kernel has none", fix)
    return Check("emulation", Status.WARN, "only programs of this machine's architecture run here", fix)


def user_namespaces(sysctl: Path = Path("/proc/sys")) -> Check:
    try:
        most = int((sysctl / "user/max_user_namespaces").read_text())
    except (OSError, ValueError):
        return Check("user namespaces", Status.WARN, "this kernel has none")
    if most == 0:
        return Check("user namespaces", Status.WARN, "switched off", "sysctl -w user.max_user_namespaces=15000")
    return Check("user namespaces", Status.OK, "available")


def fuse(device: Path = Path("/dev/fuse")) -> Check:
    if not device.exists():
        return Check("/dev/fuse", Status.WARN, "not there: no file sharing through FUSE", "modprobe fuse")
    return Check("/dev/fuse", Status.OK, "available")


def certificates() -> Check:
    try:
        bundle = trust.host_bundle()
    except BoatyardError as error:
        return Check("certificates", Status.WARN, error.message, error.hint or "")
    count = bundle.count(b"-----BEGIN CERTIFICATE-----")
    return Check("certificates", Status.OK, f"{count} certificate authorities to share with steps that ask for it")


def space(root: Path) -> Check:
    existing = next(parent for parent in (root, *root.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / (1 << 30):.1f} GB free at {existing}"
    if free < NO_SPACE:
        return Check("disk space", Status.FAIL, detail, "boat builder prune")
    if free < LOW_SPACE:
        return Check("disk space", Status.WARN, detail, "boat builder prune")
    return Check("disk space", Status.OK, detail)
