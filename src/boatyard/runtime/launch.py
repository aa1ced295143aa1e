"""Starting one container and clearing up after it: everything of a run that blocks.

Called in the spawner's threads. What is made is recorded in `Launched` at once, so that `finish` undoes whatever was
reached.
"""

from __future__ import annotations

import logging
import os
import posixpath
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from boatyard.errors import BoatyardError, InvalidError, StorageError
from boatyard.runtime import (
    cgroups,
    edits,
    failure,
    hosts,
    init,
    isolation,
    leftovers,
    mounts,
    rootfs,
    terminal,
    trust,
    users,
)
from boatyard.runtime import spec as oci
from boatyard.runtime.container import BindMount, ContainerSpec, Mount, Network, OciMount, ProcessSpec
from boatyard.runtime.program import Program
from boatyard.runtime.spawn import spawn

log = logging.getLogger(__name__)

CONSOLE = "console"
MADE = {"crun": "status", "runc": "state.json"}
"""What a runtime writes below its state directory when it has made a container."""
RUNTIME_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime program, ready to be started."""

    program: Program
    executable: str
    """What is started: the program, or a read-only view of it (crun then spares the copy of itself that protects it
    from its containers).
    """
    compiled_filter: bool = False
    """Takes the system call filter in compiled form."""
    inherits_cgroup: bool = False
    """A container without limits stays in the cgroup of the thread that starts it."""
    device_rules: bool = True
    """Something keeps containers from the host's devices. If not, they may not make device nodes."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """The network of one container, resolved from its spec's wish."""

    network: Network
    namespace: str = ""
    """Path of the namespace to join."""
    address: str = ""
    """The container's own, for /etc/hosts."""
    gateway: str = hosts.LOOPBACK
    """Where the container reaches the host; "" when it can't."""


@dataclass(slots=True)
class Launched:
    run_id: str
    bundle: Path
    program: str
    pid: int = 0
    """Of the runtime: a child of this process."""
    cgroup: str = ""
    points: rootfs.MountPoints | None = None
    prepared: mounts.Prepared = field(default_factory=mounts.Prepared)
    console: socket.socket | None = None
    """Where the runtime will send the terminal."""
    master: int = -1
    """The terminal, where it was made here; whoever takes it puts -1."""
    warnings: list[str] = field(default_factory=list)
    spec: ContainerSpec | None = None
    place: oci.Placement | None = None
    """As it was started: for processes that join it."""
    joined: int = 0


@dataclass(slots=True)
class Joined:
    """One more process of a running container, started through the runtime."""

    file: Path
    log: Path
    program: str
    pid: int = 0
    """Of the runtime: a child of this process."""
    console: socket.socket | None = None
    console_path: Path | None = None
    master: int = -1


class Launcher:
    """For one runtime on one host. `group` is the control group that containers get theirs beneath; what `resolver`
    says stands before the host's own name servers and the rest."""

    def __init__(
        self,
        runtime: Runtime,
        host: oci.Host,
        scratch: Path,
        group: str,
        environ: Mapping[str, str],
        resolver: hosts.Resolver,
    ) -> None:
        self.runtime = runtime
        self._host = host if runtime.device_rules else replace(host, device_rules=False)
        self._scratch = scratch
        self._state = scratch / "state"
        self._group = group
        self._environ = environ
        self._resolver = resolver

    def launch(
        self, spec: ContainerSpec, run_id: str, stdio: tuple[int, int, int] | None, attachment: Attachment
    ) -> Launched:
        """Start it; with `stdio` None it gets a terminal. Raises what `Executor.run` does; then nothing is left."""
        if not spec.args or not spec.args[0]:
            raise InvalidError(
                "no program to run: the command is empty", hint="give a command, or set CMD in the image"
            )
        launched = Launched(run_id, self._scratch / run_id, spec.args[0])
        try:
            self._launch(spec, launched, stdio, attachment)
        except BaseException as error:
            self.finish(launched, 0)
            if isinstance(error, OSError):
                raise _storage_error(error) from error
            raise
        return launched

    def _launch(
        self, spec: ContainerSpec, launched: Launched, stdio: tuple[int, int, int] | None, attachment: Attachment
    ) -> None:
        root = os.path.realpath(spec.root)
        os.mkdir(launched.bundle, 0o700)
        user = users.lookup(root, spec.user)
        launched.points = rootfs.MountPoints(root)
        cwd = posixpath.normpath("/" + spec.cwd.lstrip("/"))
        if not any(cwd == mount.target or cwd.startswith(mount.target.rstrip("/") + "/") for mount in spec.mounts):
            rootfs.make_directories(root, cwd, user.uid, user.gid)
        files = self._name_files(spec, attachment)
        env: tuple[str, ...] = ()
        if spec.trust_host_ca:
            env = trust.variables(spec.env, trust.NEUTRAL_BUNDLE)
            files |= self._bundles(spec, root)
        wanted: tuple[Mount, ...] = _with_edits(spec)
        program = ""
        if spec.init:
            wanted = (*wanted, BindMount(init.find(), init.TARGET, readonly=True))
            program = init.TARGET
        launched.prepared = mounts.prepare(wanted, files, launched.bundle, launched.points)
        devices = [oci.parse_device(text, _node) for text in spec.devices]
        nodes = [edits.device(node, user.uid, user.gid) for node in spec.edits.nodes]
        replaced = {node["path"] for node in nodes}
        devices = [device for device in devices if device["path"] not in replaced] + nodes
        resources, missing = cgroups.applicable(spec.resources, self._host.controllers)
        if missing:
            launched.warnings.append(f"no limits of {', '.join(missing)} are set: this host's cgroups have none")
            spec = replace(spec, resources=resources)
        unconfined = spec.insecure and self._host.device_rules
        limited = bool(unconfined or devices or spec.cgroup_parent or cgroups.resources_section(resources))
        if limited or not self.runtime.inherits_cgroup:
            if self._host.layout is cgroups.Layout.NONE:
                if limited:
                    launched.warnings.append(
                        "limits and device rules are not applied: this host has no writable cgroups"
                    )
            else:
                launched.cgroup = f"/{self._group}/{launched.run_id}"
                if spec.cgroup_parent:
                    launched.cgroup = posixpath.join("/", spec.cgroup_parent, f"{self._group}-{launched.run_id}")
        launched.spec = spec
        launched.place = oci.Placement(
            user=user,
            root=root,
            cwd=cwd,
            mounts=launched.prepared.entries,
            network=attachment.network,
            network_namespace=attachment.namespace,
            cgroup=launched.cgroup,
            terminal=stdio is None,
            env=env,
            init=program,
            devices=devices,
            compiled_filter=self.runtime.compiled_filter,
        )
        document, warnings = oci.configuration(spec, self._host, launched.place)
        launched.warnings += warnings
        _write(launched.bundle / "config.json", msgspec.json.encode(document))
        if stdio is None and self.runtime.program.kind == "crun":
            launched.console = _listen(launched.bundle / CONSOLE)
        launched.pid = self._spawn(launched, stdio)

    def _runtime(self, launched: Launched, log: Path) -> list[str]:
        args = [self.runtime.executable, "--root", str(self._state), "--log", str(log)]
        if self.runtime.program.kind == "runc":
            return [*args, "--log-format", "json"]
        # Its JSON would also go to the container's standard error.
        return [*args, f"--cgroup-manager={'cgroupfs' if launched.cgroup else 'disabled'}"]

    def _spawn(self, launched: Launched, stdio: tuple[int, int, int] | None) -> int:
        args = [*self._runtime(launched, launched.bundle / "log"), "run", "--bundle", str(launched.bundle)]
        if stdio is not None:
            return spawn([*args, launched.run_id], RUNTIME_ENVIRONMENT, stdio)
        if launched.console is None:
            launched.master, path = terminal.open_pair()
            return spawn([*args, launched.run_id], RUNTIME_ENVIRONMENT, path)
        args += ["--console-socket", str(launched.bundle / CONSOLE)]
        return spawn([*args, launched.run_id], RUNTIME_ENVIRONMENT, os.devnull)

    def made(self, launched: Launched) -> bool:
        """Whether the runtime has made the container, so that others can join it."""
        return (self._state / launched.run_id / MADE[self.runtime.program.kind]).exists()

    def join(self, process: ProcessSpec, launched: Launched, stdio: tuple[int, int, int] | None) -> Joined:
        """Start one more process in a container; with `stdio` None it gets a terminal. Raises what `launch` does."""
        assert launched.spec is not None and launched.place is not None
        if not process.args or not process.args[0]:
            raise InvalidError("no program to run: the command is empty", hint="give a command")
        launched.joined += 1
        name = f"{launched.joined}"
        joined = Joined(launched.bundle / f"process-{name}.json", launched.bundle / f"log-{name}", process.args[0])
        try:
            spec = replace(
                launched.spec, args=process.args, env=process.env, insecure=process.insecure, user=process.user
            )
            place = replace(
                launched.place,
                user=users.lookup(launched.place.root, process.user),
                cwd=posixpath.normpath("/" + process.cwd.lstrip("/")),
                terminal=stdio is None,
                init="",
            )
            document, _ = oci.joining(spec, self._host, place)
            _write(joined.file, msgspec.json.encode(document))
            args = [*self._runtime(launched, joined.log), "exec", "--process", str(joined.file)]
            if stdio is not None:
                joined.pid = spawn([*args, launched.run_id], RUNTIME_ENVIRONMENT, stdio)
            elif self.runtime.program.kind == "crun":
                joined.console_path = launched.bundle / f"{CONSOLE}-{name}"
                joined.console = _listen(joined.console_path)
                args += ["--console-socket", str(joined.console_path)]
                joined.pid = spawn([*args, launched.run_id], RUNTIME_ENVIRONMENT, os.devnull)
            else:
                joined.master, path = terminal.open_pair()
                joined.pid = spawn([*args, launched.run_id], RUNTIME_ENVIRONMENT, path)
        except BaseException as error:
            self.leave(joined, 0)
            if isinstance(error, OSError):
                raise _storage_error(error) from error
            raise
        return joined

    def leave(self, joined: Joined, code: int) -> BoatyardError | None:
        """Undo everything, after the runtime ended with `code`. The error when it was the runtime that failed."""
        if joined.console is not None:
            joined.console.close()
        if joined.master >= 0:
            os.close(joined.master)
        # crun ends with the program's own code where there is one.
        message = failure.last_error(_read(joined.log)) if code else ""
        for path in (joined.file, joined.log, joined.console_path):
            if path is not None:
                path.unlink(missing_ok=True)
        return failure.explain(message, joined.program) if message else None

    def finish(self, launched: Launched, code: int) -> BoatyardError | None:
        """Undo everything, after the runtime ended with `code`. The error when it was the runtime that failed, not
        the program.
        """
        error: BoatyardError | None = None
        launched.prepared.close()
        if launched.console is not None:
            launched.console.close()
        if launched.master >= 0:
            os.close(launched.master)
        if code == failure.RUNTIME_FAILED:
            message = failure.last_error(_read(launched.bundle / "log"))
            if message:
                error = failure.explain(message, launched.program)
        if launched.points is not None:
            launched.points.remove()
        state = self._state / launched.run_id
        abandoned = state.exists()
        if abandoned:
            # The runtime was killed before it could clean up, and its container is on its own.
            leftovers.kill_recorded(state)
            leftovers.remove_state(state)
        if launched.cgroup:
            if abandoned or error is not None:
                cgroups.remove_groups(launched.cgroup)
            # What crun took for a hierarchy (see isolation.drop_hybrid_hierarchy).
            shutil.rmtree(isolation.HYBRID_HIERARCHY + launched.cgroup, ignore_errors=True)
        _remove_flat(launched.bundle)
        return error

    def _name_files(self, spec: ContainerSpec, attachment: Attachment) -> dict[str, bytes]:
        own = attachment.network is Network.DEFAULT and attachment.namespace
        resolver = hosts.host_resolver()
        if own or not resolver.nameservers:
            resolver, _ = hosts.sandbox_resolver()
        resolver = self._resolver.over(resolver)
        files = {
            "/etc/hosts": hosts.hosts_file(
                spec.hostname, spec.extra_hosts, attachment.address, attachment.gateway
            ).encode(),
            "/etc/resolv.conf": resolver.render().encode(),
        }
        if spec.hostname_file:
            files["/etc/hostname"] = f"{spec.hostname}\n".encode()
        return files

    def _bundles(self, spec: ContainerSpec, root: str) -> dict[str, bytes]:
        added = trust.host_bundle(self._environ)
        own = trust.image_bundles(root)
        files = {trust.NEUTRAL_BUNDLE: trust.combine(own[0][1] if own else b"", added)}
        if trust.covers_system_bundle(spec.args):
            files |= {path: trust.combine(data, added) for path, data in own}
        return files


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.bind(str(path))
    listener.listen(1)
    return listener


def _with_edits(spec: ContainerSpec) -> tuple[Mount, ...]:
    """The mounts, those that devices need in the place of others at the same targets."""
    added = tuple(OciMount(each.source, each.target, each.options, each.type) for each in spec.edits.mounts)
    targets = {posixpath.normpath(each.target) for each in added}
    return (*(mount for mount in spec.mounts if posixpath.normpath(mount.target) not in targets), *added)


def _node(path: str) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_mode, status.st_rdev, status.st_gid


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _remove_flat(bundle: Path) -> None:
    """A bundle holds files only."""
    try:
        with os.scandir(bundle) as entries:
            for entry in entries:
                os.unlink(entry.path)
        os.rmdir(bundle)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("the bundle %s can't be removed: %s", bundle, error)


def _storage_error(error: OSError) -> StorageError:
    place = f" ({error.filename})" if error.filename else ""
    return StorageError(f"the container can't be made ready: {error.strerror}{place}")
