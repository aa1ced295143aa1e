"""buildkitd's configuration and flags as the daemon's own configuration.

Pure. Flags win over the environment, that over the file. What has no counterpart here is refused where it would change
what builds do (a containerd worker, AppArmor), and told in a warning where it would not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from boatyard.daemon import config as configuration
from boatyard.daemon import tables
from boatyard.daemon.buildkitd.document import BuildkitSpace, Document, GcPolicy, OciWorker, Registry, Worker
from boatyard.daemon.config import Config
from boatyard.errors import InvalidError, UnsupportedError

ROOT = "/var/lib/buildkit"
ADDRESS = "unix:///run/buildkit/buildkitd.sock"
FILE = "/etc/buildkit/buildkitd.toml"
HISTORY_AGE = 48 * 3600
HISTORY_ENTRIES = 50

_LEVELS = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "fatal": "error",
    "panic": "error",
}
_NETWORKS = ("auto", "bridge", "host", "none")
_CONTAINERD = "leave it out, or say --containerd-worker=false: the OCI worker is always there"


def translate(
    document: Document, flags: Mapping[str, Any], environ: Mapping[str, str], *, file: str = ""
) -> tuple[Config, list[str]]:
    """The configuration, and warnings about what has no effect. `file` is where the document was read, "" if nowhere.
    InvalidError, UnsupportedError."""
    translation = _Translation(document, flags, environ)
    return translation.config(file), list(translation.without_effect())


class _Translation:
    def __init__(self, document: Document, flags: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._document = document
        self._flags = flags
        self._environ = environ
        self._worker: OciWorker = document.worker.oci

    def config(self, file: str) -> Config:
        self._refuse()
        root = os.path.abspath(self._text("root", self._document.root) or ROOT)
        grpc = self._document.grpc
        raw: dict[str, Any] = {
            "root": root,
            "run": f"{root}/run",
            "listen": self._addresses(),
            "group": self._text("group", "" if grpc.gid is None else str(grpc.gid)),
            "owner": grpc.uid,
            "tls": {
                "cert": self._text("tlscert", grpc.tls.cert),
                "key": self._text("tlskey", grpc.tls.key),
                "ca": self._text("tlscacert", grpc.tls.ca),
                "allow_unauthenticated": True,  # as buildkitd does: whoever gives it a TCP address has chosen
            },
            "debug_address": self._text("debugaddr", self._environ.get("BUILDKITD_DEBUGADDR") or grpc.debug_address),
            "entitlements": self._entitlements(),
            "platforms": list(self._list("oci-worker-platform", self._worker.platforms)),
            "labels": {**self._worker.labels, **dict(self._labels())},
            "snapshotter": self._snapshotter(),
            "cgroup_parent": self._worker.default_cgroup_parent,
            "max_parallelism": self._flags.get("oci-max-parallelism", self._worker.max_parallelism),
            "log": self._log(),
            "network": self._network(),
            "gc": self._gc(),
            "history": self._history(),
            "runtime": {"name": self._text("oci-worker-binary", self._worker.binary) or "auto"},
            "cdi": self._cdi(),
            "registry": {name: _registry(name, each) for name, each in self._document.registry.items()},
            "frontend": {
                "dockerfile": self._document.frontend.dockerfile.enabled,
                "gateway": self._document.frontend.gateway.enabled,
                "gateway_repositories": list(self._document.frontend.gateway.allowed_repositories),
            },
        }
        return configuration.made(raw, file)

    def _text(self, flag: str, otherwise: str) -> str:
        value: str = self._flags.get(flag, otherwise)
        return value

    def _list(self, flag: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
        value: tuple[str, ...] = self._flags.get(flag, otherwise)
        return value

    # -- what can't be done here ---------------------------------------------------------------------------------

    def _refuse(self) -> None:
        worker = self._worker
        enabled = _true_false_or_auto("oci-worker", self._text("oci-worker", ""), worker.enabled)
        if enabled is False:
            raise UnsupportedError("there is no worker without the OCI worker", hint="leave out --oci-worker=false")
        containerd = self._document.worker.containerd.enabled
        if _true_false_or_auto("containerd-worker", self._text("containerd-worker", ""), containerd):
            raise UnsupportedError("a containerd worker is not supported", hint=_CONTAINERD)
        self._refuse_if("rootless mode", "rootless", worker.rootless or self._flags.get("oci-worker-rootless", False))
        self._refuse_if("SELinux labelling", "oci-worker-selinux", worker.selinux)
        self._refuse_if("running steps without a sandbox", "oci-worker-no-process-sandbox", worker.no_process_sandbox)
        self._refuse_if("enforcing a proxy network", "proxy-network", self._document.proxy_network)
        self._refuse_if("an AppArmor profile", "oci-worker-apparmor-profile", bool(worker.apparmor_profile))
        self._refuse_if("a proxy snapshotter", "oci-worker-proxy-snapshotter-path", bool(worker.proxy_snapshotter_path))
        self._refuse_if("remapping users", "userRemapUnsupported", bool(worker.user_remap_unsupported))
        self._refuse_if("the stargz snapshotter", "stargzSnapshotter", bool(worker.stargz_snapshotter))

    def _refuse_if(self, what: str, name: str, configured: bool) -> None:
        if self._flags.get(name, configured):
            raise UnsupportedError(f"{what} is not supported yet ({name})", hint="leave it out")

    def without_effect(self) -> Iterator[str]:
        document, worker = self._document, self._worker
        for key, old in (("debug", document.debug), ("trace", document.trace)):
            if old:
                yield f"the key {key!r} is deprecated: use log.level = {key!r}"
        cni = (worker.cni_config_path, worker.cni_binary_path, worker.cni_pool_size)
        if any(cni) or any(name.startswith("oci-cni-") for name in self._flags):
            yield "CNI is not supported yet: its settings have no effect"
        if worker.bridge_name:
            yield f"the bridge gets a name of its own, not {worker.bridge_name!r}"
        if document.provenance_env_dir:
            yield "provenance is not supported yet: provenanceEnvDir has no effect"
        if document.ghacache or document.cache.gha:
            yield "GitHub's cache is not supported yet: its settings have no effect"
        if document.system.max_registry_concurrency is not None:
            yield "system.maxRegistryConcurrency has no effect: how much is fetched at once has bounds of its own"
        if document.otel.socket_path or "otel-socket-path" in self._flags:
            yield "steps are not traced yet: the socket for their traces has no effect"
        if document.grpc.security_descriptor:
            yield "grpc.securityDescriptor is for Windows"

    def _addresses(self) -> list[str]:
        found = list(self._list("addr", self._document.grpc.address)) or [ADDRESS]
        passed = [address for address in found if address.startswith("fd://")]
        if not passed:
            return found
        if passed != ["fd://"] or found != passed:
            raise UnsupportedError(
                f"can't listen at {', '.join(found)}: fd:// stands alone, for all the sockets that systemd passes",
                hint="write --addr fd://, and the other addresses in the socket unit",
            )
        if not self._environ.get("LISTEN_FDS"):
            raise InvalidError("systemd passed no sockets, which fd:// is for", hint="start it by a socket unit")
        return []

    # -- tables --------------------------------------------------------------------------------------------------

    def _entitlements(self) -> list[str]:
        found = list(self._list("allow-insecure-entitlement", self._document.insecure_entitlements))
        if not self._flags.get("cdi-disabled", self._document.cdi.disabled):
            found.append("device")
        return list(dict.fromkeys(found))

    def _cdi(self) -> dict[str, Any]:
        cdi = self._document.cdi
        directories = self._list("cdi-spec-dir", cdi.spec_dirs)
        return {
            "enabled": not self._flags.get("cdi-disabled", cdi.disabled),
            "auto_allowed": list(cdi.auto_allowed),
            **({"spec_dirs": list(directories)} if directories else {}),
        }

    def _labels(self) -> Iterator[tuple[str, str]]:
        for text in self._list("oci-worker-labels", ()):
            name, equals, value = text.partition("=")
            if not equals or not name:
                raise InvalidError(f"--oci-worker-labels {text!r} is malformed", hint="write NAME=VALUE")
            yield name, value

    def _snapshotter(self) -> str:
        name = self._text("oci-worker-snapshotter", self._worker.snapshotter) or "auto"
        known = ("auto", "overlayfs", "native")
        if name in ("stargz", "fuse-overlayfs"):
            raise UnsupportedError(f"the snapshotter {name} is not supported", hint=f"there are: {', '.join(known)}")
        if name not in known:
            raise InvalidError(f"there is no snapshotter {name!r}", hint=tables.suggest(name, known))
        return name

    def _log(self) -> dict[str, Any]:
        level = self._document.log.level
        if not level and (self._document.debug or self._document.trace):
            level = "debug"
        if name := self._flags.get("log-level", self._environ.get("BUILDKITD_LOG_LEVEL")):
            level = name
        elif self._flags.get("debug") or self._flags.get("trace"):
            level = "debug"
        level = level.lower() or "info"
        if level not in _LEVELS:
            raise InvalidError(f"there is no log level {level!r}", hint=tables.suggest(level, _LEVELS))
        form = self._text("log-format", self._document.log.format) or "text"
        if form not in ("text", "json"):
            raise InvalidError(f"there is no log format {form!r}", hint="it is text or json")
        return {
            "level": _LEVELS[level],
            "format": form,
            "step_output": self._environ.get("BUILDKIT_DEBUG_EXEC_OUTPUT") == "1",
        }

    def _network(self) -> dict[str, Any]:
        mode = self._text("oci-worker-net", self._worker.network_mode) or "auto"
        if mode == "cni":
            raise UnsupportedError("CNI networks are not supported yet", hint="use auto, bridge or host")
        if mode not in _NETWORKS:
            raise InvalidError(f"there is no network mode {mode!r}", hint=tables.suggest(mode, _NETWORKS))
        dns = self._document.dns
        return {
            "mode": mode,
            "subnet": self._worker.bridge_subnet,
            "dns": list(dns.nameservers),
            "dns_search": list(dns.search_domains),
            "dns_options": list(dns.options),
        }

    def _gc(self) -> dict[str, Any]:
        worker = self._worker
        enabled = self._flags.get("oci-worker-gc", True if worker.gc is None else worker.gc)
        if worker.gc_policy:
            return {"enabled": enabled, "policies": [_policy(policy) for policy in worker.gc_policy]}
        if (text := self._text("oci-worker-gc-keepstorage", "")) != "":
            reserved, free, most = _keep_storage(text)
        else:
            reserved, free, most = _bounds(worker)
        if reserved is free is most is None:
            return {"enabled": enabled}
        # One that is set stands for all: the others are no bounds then.
        zero = BuildkitSpace(0)
        return {
            "enabled": enabled,
            "reserved_space": reserved or zero,
            "min_free_space": free or zero,
            "max_used_space": most or zero,
        }

    def _history(self) -> dict[str, Any]:
        history = self._document.history
        return {
            "max_age": HISTORY_AGE if history.max_age is None else float(history.max_age),
            "max_entries": HISTORY_ENTRIES if history.max_entries is None else history.max_entries,
        }


def _true_false_or_auto(flag: str, text: str, otherwise: bool | None) -> bool | None:
    """None is auto."""
    if text == "":
        return otherwise
    match text.lower():
        case "auto":
            return None
        case "true" | "1" | "t":
            return True
        case "false" | "0" | "f":
            return False
    raise InvalidError(f"--{flag} {text!r} is neither true, false nor auto")


def _bounds(worker: Worker) -> tuple[BuildkitSpace | None, BuildkitSpace | None, BuildkitSpace | None]:
    reserved, free, most = worker.reserved_space, worker.min_free_space, worker.max_used_space
    if reserved is free is most is None:
        reserved = worker.gc_keep_storage
    return reserved, free, most


def _keep_storage(text: str) -> tuple[BuildkitSpace | None, ...]:
    """`RESERVED[,FREE[,MAXIMUM]]` in megabytes."""
    parts = text.split(",")
    if len(parts) > 3 or not all(part.strip().isdecimal() for part in parts):
        raise InvalidError(
            f"--oci-worker-gc-keepstorage {text!r} is malformed", hint="write RESERVED[,FREE[,MAXIMUM]], in MB"
        )
    found = [BuildkitSpace(int(part) * 1_000_000) for part in parts]
    return (*found, *[None] * (3 - len(found)))


def _policy(policy: GcPolicy) -> dict[str, Any]:
    spaces = {
        "reserved_space": policy.keep_bytes if policy.reserved_space is None else policy.reserved_space,
        "max_used_space": policy.max_used_space,
        "min_free_space": policy.min_free_space,
    }
    return {
        "all": policy.all,
        "filters": list(policy.filters),
        "keep_duration": float(policy.keep_duration),
        **{name: value for name, value in spaces.items() if value is not None},
    }


def _registry(name: str, registry: Registry) -> dict[str, Any]:
    for pair in registry.keypair:
        if not (pair.key and pair.cert):
            raise InvalidError(f"the registry {name!r} has a keypair without a key or a cert")
    return {
        "mirrors": list(registry.mirrors),
        "http": registry.http,
        "insecure": registry.insecure,
        "ca": list(registry.ca),
        "keypair": [{"key": pair.key, "cert": pair.cert} for pair in registry.keypair],
        "tls_directories": list(registry.tls_config_dir),
    }
