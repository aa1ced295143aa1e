"""Ops as protobuf messages: one function a kind of op, each the inverse of its namesake in `values`.

What Go's client leaves out or sets is left out or set here too, since the bytes make the digest: an absent message and
an empty one differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from boatyard._pb import ops_pb2 as pb
from boatyard.build.llb import graph
from boatyard.image.platform import Platform


def exec_op(op: graph.ExecOp) -> pb.ExecOp:
    return pb.ExecOp(
        meta=_meta(op.meta),
        mounts=[_mount(mount) for mount in op.mounts],
        network=int(op.network),  # type: ignore[arg-type]
        security=int(op.security),  # type: ignore[arg-type]
        secretenv=[pb.SecretEnv(ID=item.id, name=item.name, optional=item.optional) for item in op.secret_env],
        cdiDevices=[pb.CDIDevice(name=item.name, optional=item.optional) for item in op.cdi_devices],
    )


def _meta(meta: graph.Meta) -> pb.Meta:
    message = pb.Meta(
        args=meta.args,
        env=meta.env,
        cwd=meta.cwd,
        user=meta.user,
        extraHosts=[pb.HostIP(Host=item.host, IP=item.ip) for item in meta.extra_hosts],
        hostname=meta.hostname,
        ulimit=[pb.Ulimit(Name=item.name, Soft=item.soft, Hard=item.hard) for item in meta.ulimits],
        cgroupParent=meta.cgroup_parent,
        removeMountStubsRecursive=meta.remove_mount_stubs_recursive,
        validExitCodes=meta.valid_exit_codes,
    )
    if (proxy := meta.proxy_env) is not None:
        message.proxy_env.SetInParent()
        message.proxy_env.http_proxy = proxy.http_proxy
        message.proxy_env.https_proxy = proxy.https_proxy
        message.proxy_env.ftp_proxy = proxy.ftp_proxy
        message.proxy_env.no_proxy = proxy.no_proxy
        message.proxy_env.all_proxy = proxy.all_proxy
    return message


def _mount(mount: graph.Mount) -> pb.Mount:
    message = pb.Mount(
        input=mount.input,
        selector=mount.selector,
        dest=mount.dest,
        output=mount.output,
        readonly=mount.readonly,
        mountType=int(mount.type),  # type: ignore[arg-type]
        resultID=mount.result_id,
        contentCache=int(mount.content_cache),  # type: ignore[arg-type]
    )
    if mount.type is graph.MountType.TMPFS:
        message.TmpfsOpt.SetInParent()
        message.TmpfsOpt.size = mount.tmpfs_size
    if mount.cache is not None:
        message.cacheOpt.SetInParent()
        message.cacheOpt.ID = mount.cache.id
        message.cacheOpt.sharing = int(mount.cache.sharing)  # type: ignore[assignment]
    if (secret := mount.secret) is not None:
        message.secretOpt.CopyFrom(
            pb.SecretOpt(ID=secret.id, uid=secret.uid, gid=secret.gid, mode=secret.mode, optional=secret.optional)
        )
        message.secretOpt.SetInParent()
    if (ssh := mount.ssh) is not None:
        message.SSHOpt.CopyFrom(pb.SSHOpt(ID=ssh.id, uid=ssh.uid, gid=ssh.gid, mode=ssh.mode, optional=ssh.optional))
        message.SSHOpt.SetInParent()
    return message


def source_op(op: graph.SourceOp) -> pb.SourceOp:
    return pb.SourceOp(identifier=op.identifier, attrs=op.attrs)


def file_op(op: graph.FileOp) -> pb.FileOp:
    return pb.FileOp(actions=[_file_action(action) for action in op.actions])


def _file_action(item: graph.FileAction) -> pb.FileAction:
    message = pb.FileAction(input=item.input, secondaryInput=item.secondary_input, output=item.output)
    match item.action:
        case graph.Copy() as action:
            message.copy.CopyFrom(_copy(action))
            message.copy.SetInParent()
        case graph.MkFile() as action:
            message.mkfile.CopyFrom(
                pb.FileActionMkFile(
                    path=action.path,
                    mode=action.mode,
                    data=action.data,
                    owner=_owner(action.owner),
                    timestamp=action.timestamp,
                )
            )
        case graph.MkDir() as action:
            message.mkdir.CopyFrom(
                pb.FileActionMkDir(
                    path=action.path,
                    mode=action.mode,
                    makeParents=action.make_parents,
                    owner=_owner(action.owner),
                    timestamp=action.timestamp,
                )
            )
        case graph.Rm() as action:
            message.rm.CopyFrom(
                pb.FileActionRm(
                    path=action.path, allowNotFound=action.allow_not_found, allowWildcard=action.allow_wildcard
                )
            )
            message.rm.SetInParent()
        case graph.Symlink() as action:
            message.symlink.CopyFrom(
                pb.FileActionSymlink(
                    oldpath=action.oldpath,
                    newpath=action.newpath,
                    owner=_owner(action.owner),
                    timestamp=action.timestamp,
                )
            )
    return message


def _copy(action: graph.Copy) -> pb.FileActionCopy:
    return pb.FileActionCopy(
        src=action.src,
        dest=action.dest,
        owner=_owner(action.owner),
        mode=action.mode,
        modeStr=action.mode_str,
        followSymlink=action.follow_symlink,
        dirCopyContents=action.dir_copy_contents,
        attemptUnpackDockerCompatibility=action.attempt_unpack,
        createDestPath=action.create_dest_path,
        allowWildcard=action.allow_wildcard,
        allowEmptyWildcard=action.allow_empty_wildcard,
        timestamp=action.timestamp,
        include_patterns=action.include_patterns,
        exclude_patterns=action.exclude_patterns,
        alwaysReplaceExistingDestPaths=action.always_replace_existing,
        required_paths=action.required_paths,
    )


def _owner(owner: graph.Chown | None) -> pb.ChownOpt | None:
    if owner is None:
        return None
    return pb.ChownOpt(user=_user(owner.user), group=_user(owner.group))


def _user(user: graph.User | None) -> pb.UserOpt | None:
    if user is None:
        return None
    if user.id is not None:
        return pb.UserOpt(byID=user.id)
    return pb.UserOpt(byName=pb.NamedUserOpt(name=user.name, input=user.input))


def merge_op(op: graph.MergeOp) -> pb.MergeOp:
    return pb.MergeOp(inputs=[pb.MergeInput(input=index) for index in op.inputs])


def diff_op(op: graph.DiffOp) -> pb.DiffOp:
    return pb.DiffOp(lower=pb.LowerDiffInput(input=op.lower), upper=pb.UpperDiffInput(input=op.upper))


def build_op(op: graph.BuildOp) -> pb.BuildOp:
    message = pb.BuildOp(
        builder=op.builder,
        inputs={name: pb.BuildInput(input=index) for name, index in op.inputs.items()},
        attrs=op.attrs,
    )
    if op.definition:
        getattr(message, "def").ParseFromString(op.definition)
    return message


def passthrough_op(op: graph.PassthroughOp) -> pb.PassthroughOp:
    return pb.PassthroughOp(id=op.id, outputs=op.outputs)


def _platform(value: Platform) -> pb.Platform:
    return pb.Platform(
        Architecture=value.architecture,
        OS=value.os,
        Variant=value.variant,
        OSVersion=value.os_version,
        OSFeatures=value.os_features,
    )


_FIELDS: dict[type[Any], tuple[str, Callable[[Any], Any]]] = {
    graph.ExecOp: ("exec", exec_op),
    graph.SourceOp: ("source", source_op),
    graph.FileOp: ("file", file_op),
    graph.BuildOp: ("build", build_op),
    graph.MergeOp: ("merge", merge_op),
    graph.DiffOp: ("diff", diff_op),
    graph.PassthroughOp: ("passthrough", passthrough_op),
}


def op(value: graph.Op) -> pb.Op:
    """An Op with nothing but its `op`."""
    field, convert = _FIELDS[type(value)]
    return pb.Op(**{field: convert(value)})


def frame(inputs: Sequence[graph.Edge], platform: Platform | None) -> pb.Op:
    """An Op with everything but its `op`. `constraints` is there and empty, as every Go client sends it."""
    message = pb.Op(inputs=[pb.Input(digest=edge.vertex.digest, index=edge.index) for edge in inputs])
    if platform is not None:
        message.platform.CopyFrom(_platform(platform))
        message.platform.SetInParent()
    message.constraints.SetInParent()
    return message


def metadata(value: graph.OpMetadata) -> pb.OpMetadata:
    message = pb.OpMetadata(ignore_cache=value.ignore_cache, description=value.description, caps=value.caps)
    if value.export_cache is not None:
        message.export_cache.SetInParent()
        message.export_cache.Value = value.export_cache
    if (group := value.progress_group) is not None:
        message.progress_group.CopyFrom(pb.ProgressGroup(id=group.id, name=group.name, weak=group.weak))
        message.progress_group.SetInParent()
    if (limits := value.linux_resources) is not None:
        message.linux_resources.CopyFrom(
            pb.LinuxResources(
                memory=limits.memory,
                memorySwap=limits.memory_swap,
                cpuShares=limits.cpu_shares,
                cpuPeriod=limits.cpu_period,
                cpuQuota=limits.cpu_quota,
                cpusetCpus=limits.cpuset_cpus,
                cpusetMems=limits.cpuset_mems,
            )
        )
        message.linux_resources.SetInParent()
    return message
