"""Protobuf messages as ops: one function a kind of op. Each checks what `graph` promises and raises InvalidError.

The messages come from clients and external frontends: nothing in them is trusted, least of all indexes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeVar

from boatyard._pb import ops_pb2 as pb
from boatyard.build.llb import graph
from boatyard.errors import InvalidError, UnsupportedError
from boatyard.image.platform import Platform

_Enum = TypeVar("_Enum", bound=IntEnum)


def _enum(kind: type[_Enum], number: int) -> _Enum:
    try:
        return kind(number)
    except ValueError:
        raise InvalidError(f"{number} is no {kind.__name__} of a build graph") from None


def _index(number: int, count: int, what: str, *, none: bool = True) -> int:
    if (-1 if none else 0) <= number < count:
        return number
    raise InvalidError(f"{what} names input {number}, but the step has {count}")


def exec_op(message: pb.ExecOp, inputs: int) -> graph.ExecOp:
    if not message.HasField("meta") or not message.meta.args:
        raise InvalidError("an exec step has no arguments")
    if not any(mount.dest == "/" for mount in message.mounts):
        raise InvalidError("an exec step has no root file system")
    mounts = tuple(mount(item, inputs) for item in message.mounts)
    outputs = [
        mount.output
        for mount in mounts
        if mount.output >= 0 and mount.type not in _WITHOUT_OUTPUT and not mount.readonly
    ]
    if len(set(outputs)) != len(outputs) or any(output >= len(mounts) for output in outputs):
        raise InvalidError("the outputs of an exec step are not numbered one by one")
    return graph.ExecOp(
        meta=_meta(message.meta),
        mounts=mounts,
        network=_enum(graph.NetMode, message.network),
        security=_enum(graph.SecurityMode, message.security),
        secret_env=tuple(graph.SecretEnv(item.ID, item.name, item.optional) for item in message.secretenv),
        cdi_devices=tuple(graph.CDIDevice(item.name, item.optional) for item in message.cdiDevices),
    )


_WITHOUT_OUTPUT = frozenset({graph.MountType.SECRET, graph.MountType.SSH, graph.MountType.TMPFS})


def _meta(message: pb.Meta) -> graph.Meta:
    proxy = message.proxy_env
    return graph.Meta(
        args=tuple(message.args),
        env=tuple(message.env),
        cwd=message.cwd or "/",
        user=message.user,
        proxy_env=graph.ProxyEnv(proxy.http_proxy, proxy.https_proxy, proxy.ftp_proxy, proxy.no_proxy, proxy.all_proxy)
        if message.HasField("proxy_env")
        else None,
        extra_hosts=tuple(graph.HostIP(item.Host, item.IP) for item in message.extraHosts),
        hostname=message.hostname,
        ulimits=tuple(graph.Ulimit(item.Name, item.Soft, item.Hard) for item in message.ulimit),
        cgroup_parent=message.cgroupParent,
        remove_mount_stubs_recursive=message.removeMountStubsRecursive,
        valid_exit_codes=tuple(message.validExitCodes),
    )


def mount(message: pb.Mount, inputs: int) -> graph.Mount:
    if not message.dest:
        raise InvalidError("a mount of an exec step has no destination")
    kind = _enum(graph.MountType, message.mountType)
    for wanted, field in _MOUNT_OPTIONS.items():
        if kind is wanted and not message.HasField(field):
            raise InvalidError(f"the {kind.name.lower()} mount at {message.dest!r} has no options")
    secret, ssh = message.secretOpt, message.SSHOpt
    return graph.Mount(
        dest=message.dest,
        input=_index(message.input, inputs, f"the mount at {message.dest!r}"),
        selector=message.selector,
        output=max(message.output, -1),
        readonly=message.readonly,
        type=kind,
        tmpfs_size=message.TmpfsOpt.size,
        cache=graph.CacheOpt(message.cacheOpt.ID, _enum(graph.CacheSharing, message.cacheOpt.sharing))
        if message.HasField("cacheOpt")
        else None,
        secret=graph.SecretOpt(secret.ID, secret.uid, secret.gid, secret.mode, secret.optional)
        if message.HasField("secretOpt")
        else None,
        ssh=graph.SSHOpt(ssh.ID, ssh.uid, ssh.gid, ssh.mode, ssh.optional) if message.HasField("SSHOpt") else None,
        result_id=message.resultID,
        content_cache=_enum(graph.ContentCache, message.contentCache),
    )


_MOUNT_OPTIONS = {
    graph.MountType.CACHE: "cacheOpt",
    graph.MountType.SECRET: "secretOpt",
    graph.MountType.SSH: "SSHOpt",
}


def source_op(message: pb.SourceOp, inputs: int) -> graph.SourceOp:
    if "://" not in message.identifier:
        raise InvalidError(f"{message.identifier[:200]!r} is no identifier of a source")
    return graph.SourceOp(message.identifier, dict(message.attrs))


def file_op(message: pb.FileOp, inputs: int) -> graph.FileOp:
    if not message.actions:
        raise InvalidError("a file step has no actions")
    actions = []
    outputs: set[int] = set()
    for number, item in enumerate(message.actions):
        actions.append(_file_action(item, inputs + number))
        output = actions[-1].output
        if output >= 0 and (output in outputs or output >= len(message.actions)):
            raise InvalidError("the outputs of a file step are not numbered one by one")
        outputs.add(output)
    return graph.FileOp(tuple(actions))


def _file_action(message: pb.FileAction, known: int) -> graph.FileAction:
    """`known`: how many inputs and results of earlier actions there are."""
    kind = message.WhichOneof("action")
    if kind is None:
        raise InvalidError("an action of a file step is of a kind that is not known here")
    return graph.FileAction(
        input=_index(message.input, known, f"a {kind} action"),
        action=_ACTIONS[kind](getattr(message, kind), known),
        secondary_input=_index(message.secondaryInput, known, f"a {kind} action") if kind == "copy" else -1,
        output=max(message.output, -1),
    )


def _copy(message: pb.FileActionCopy, known: int) -> graph.Copy:
    return graph.Copy(
        src=message.src,
        dest=message.dest,
        owner=_owner(message, known),
        mode=message.mode,
        mode_str=message.modeStr,
        follow_symlink=message.followSymlink,
        dir_copy_contents=message.dirCopyContents,
        attempt_unpack=message.attemptUnpackDockerCompatibility,
        create_dest_path=message.createDestPath,
        allow_wildcard=message.allowWildcard,
        allow_empty_wildcard=message.allowEmptyWildcard,
        timestamp=message.timestamp,
        include_patterns=tuple(message.include_patterns),
        exclude_patterns=tuple(message.exclude_patterns),
        always_replace_existing=message.alwaysReplaceExistingDestPaths,
        required_paths=tuple(message.required_paths),
    )


def _mkfile(message: pb.FileActionMkFile, known: int) -> graph.MkFile:
    return graph.MkFile(message.path, message.data, message.mode, _owner(message, known), message.timestamp)


def _mkdir(message: pb.FileActionMkDir, known: int) -> graph.MkDir:
    return graph.MkDir(message.path, message.mode, message.makeParents, _owner(message, known), message.timestamp)


def _rm(message: pb.FileActionRm, known: int) -> graph.Rm:
    return graph.Rm(message.path, message.allowNotFound, message.allowWildcard)


def _symlink(message: pb.FileActionSymlink, known: int) -> graph.Symlink:
    return graph.Symlink(message.oldpath, message.newpath, _owner(message, known), message.timestamp)


_ACTIONS: dict[str, Any] = {"copy": _copy, "mkfile": _mkfile, "mkdir": _mkdir, "rm": _rm, "symlink": _symlink}


def _owner(message: Any, known: int) -> graph.Chown | None:
    if not message.HasField("owner"):
        return None
    owner = message.owner
    return graph.Chown(
        _user(owner.user, known) if owner.HasField("user") else None,
        _user(owner.group, known) if owner.HasField("group") else None,
    )


def _user(message: pb.UserOpt, known: int) -> graph.User | None:
    match message.WhichOneof("user"):
        case "byID":
            return graph.User(id=message.byID)
        case "byName":
            return graph.User(message.byName.name, None, _index(message.byName.input, known, "an owner"))
        case _:
            return None


def merge_op(message: pb.MergeOp, inputs: int) -> graph.MergeOp:
    if not message.inputs:
        raise InvalidError("a merge step has no inputs")
    return graph.MergeOp(tuple(_index(item.input, inputs, "a merge step") for item in message.inputs))


def diff_op(message: pb.DiffOp, inputs: int) -> graph.DiffOp:
    if not message.HasField("lower") or not message.HasField("upper"):
        raise InvalidError("a diff step needs a lower and an upper tree")
    return graph.DiffOp(
        _index(message.lower.input, inputs, "a diff step"), _index(message.upper.input, inputs, "a diff step")
    )


def build_op(message: pb.BuildOp, inputs: int) -> graph.BuildOp:
    definition = getattr(message, "def")
    return graph.BuildOp(
        builder=_index(message.builder, inputs, "a build step"),
        inputs={name: _index(item.input, inputs, "a build step") for name, item in sorted(message.inputs.items())},
        definition=definition.SerializeToString(deterministic=True) if message.HasField("def") else b"",
        attrs=dict(message.attrs),
    )


def passthrough_op(message: pb.PassthroughOp, inputs: int) -> graph.PassthroughOp:
    if not message.id or not message.outputs:
        raise InvalidError("a passthrough step needs an id and an output")
    outputs = tuple(_index(index, inputs, "a passthrough step", none=False) for index in message.outputs)
    return graph.PassthroughOp(message.id, outputs)


_OPS: dict[str, Any] = {
    "exec": exec_op,
    "source": source_op,
    "file": file_op,
    "build": build_op,
    "merge": merge_op,
    "diff": diff_op,
    "passthrough": passthrough_op,
}


def op(message: pb.Op) -> graph.Op:
    """Raises UnsupportedError for constraints on workers: there is one here, which can't be chosen."""
    kind = message.WhichOneof("op")
    if kind is None:
        raise InvalidError("a step of the build graph is of a kind that is not known here")
    if message.constraints.filter:
        raise UnsupportedError(
            f"constraints on workers are not supported: {', '.join(message.constraints.filter)[:200]}"
        )
    converted: graph.Op = _OPS[kind](getattr(message, kind), len(message.inputs))
    return converted


def outputs(op: graph.Op) -> frozenset[int] | range:
    """The output indexes that an edge may name."""
    match op:
        case graph.ExecOp():
            return frozenset(mount.output for mount in op.mounts if mount.type not in _WITHOUT_OUTPUT)
        case graph.FileOp():
            return frozenset(action.output for action in op.actions)
        case graph.PassthroughOp():
            return range(len(op.outputs))
        case _:
            return range(1)


def platform(message: pb.Platform) -> Platform:
    return Platform(
        architecture=message.Architecture,
        os=message.OS,
        variant=message.Variant,
        os_version=message.OSVersion,
        os_features=tuple(message.OSFeatures),
    )


def metadata(message: pb.OpMetadata) -> graph.OpMetadata:
    group, limits = message.progress_group, message.linux_resources
    return graph.OpMetadata(
        ignore_cache=message.ignore_cache,
        description=dict(message.description),
        export_cache=message.export_cache.Value if message.HasField("export_cache") else None,
        caps=dict(message.caps),
        progress_group=graph.ProgressGroup(group.id, group.name, group.weak)
        if message.HasField("progress_group")
        else None,
        linux_resources=graph.LinuxResources(
            limits.memory,
            limits.memorySwap,
            limits.cpuShares,
            limits.cpuPeriod,
            limits.cpuQuota,
            limits.cpusetCpus,
            limits.cpusetMems,
        )
        if message.HasField("linux_resources")
        else None,
    )
