"""`RUN --mount`: bind, cache, tmpfs, secret, ssh.

Specification: the Dockerfile reference, "RUN --mount"; reference/builder.md 5.2.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from boatyard.build.frontend.dockerfile import sources
from boatyard.build.frontend.dockerfile.convert.paths import absolute
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step
from boatyard.build.frontend.dockerfile.draft import Draft, Inputs
from boatyard.build.frontend.dockerfile.instructions import Mount, MountType, Run, Sharing
from boatyard.build.frontend.dockerfile.mounts import parse_mount
from boatyard.build.frontend.dockerfile.outline import AccessRecord
from boatyard.build.llb import graph
from boatyard.build.llb.graph import Chown, FileAction, FileOp, MkDir, SecretEnv, User
from boatyard.errors import InvalidError

_SHARING = {
    Sharing.SHARED: graph.CacheSharing.SHARED,
    Sharing.PRIVATE: graph.CacheSharing.PRIVATE,
    Sharing.LOCKED: graph.CacheSharing.LOCKED,
}
_CACHE_DIRECTORY = "/cache"


@dataclass(slots=True)
class RunMounts:
    """What the mounts of one RUN come to. Those of `files` come with what they mount, and get their input number
    last."""

    files: list[tuple[graph.Mount, Draft | None]] = field(default_factory=list)
    secrets: list[graph.Mount] = field(default_factory=list)
    agents: list[graph.Mount] = field(default_factory=list)
    secret_env: list[SecretEnv] = field(default_factory=list)

    def finish(self) -> tuple[tuple[graph.Mount, ...], list[Draft]]:
        """Mounts and inputs, in the order in which Go's client sends them: it is part of the digest."""
        inputs = Inputs()
        ordered = sorted(self.files, key=lambda item: item[0].dest.encode())
        files = [replace(mount, input=inputs.index(source)) for mount, source in ordered]
        return (*files, *self.secrets, *self.agents), inputs.drafts


def add_mounts(
    build: Conversion, stage: StageBuild, step: Step, run: Run, word: Callable[[str], str], into: RunMounts
) -> None:
    for flag, source in zip(run.mounts, step.sources, strict=True):
        mount = parse_mount(flag, word)
        if mount.type is MountType.SECRET:
            _add_secret(stage, run, mount, into)
        elif mount.type is MountType.SSH:
            _add_agent(stage, run, mount, into)
        else:
            into.files.append(_file_mount(build, stage, mount, source))


def _file_mount(
    build: Conversion, stage: StageBuild, mount: Mount, source: StageBuild | None
) -> tuple[graph.Mount, Draft | None]:
    target = mount.target
    if not target.startswith("/"):
        target = absolute(target, stage.directory)
    if absolute(target) == "/":
        raise InvalidError(
            f"a {mount.type} mount needs a target other than the root directory", hint="add target=/path to --mount"
        )
    if mount.type is MountType.TMPFS:
        tmpfs = graph.Mount(target, readonly=mount.readonly, type=graph.MountType.TMPFS, tmpfs_size=mount.size)
        return tmpfs, None
    files, selector = _source(build, mount, source)
    if mount.type is MountType.CACHE:
        id = mount.id or posixpath.normpath(mount.target)
        cache = graph.CacheOpt(f"{build.options.cache_namespace}/{id}", _SHARING[mount.sharing])
        kind = graph.MountType.CACHE
        return graph.Mount(target, selector=selector, readonly=mount.readonly, type=kind, cache=cache), files
    return graph.Mount(target, selector=selector, readonly=mount.readonly), files


def _source(build: Conversion, mount: Mount, source: StageBuild | None) -> tuple[Draft | None, str]:
    """What is mounted, and which directory of it."""
    path = absolute(mount.source)
    selector = "" if path == "/" else path
    if source is not None:
        if not source.converted:
            raise InvalidError(
                f"can't mount from stage {mount.from_!r}: it is not built yet",
                hint="a stage can take files only from stages above it",
            )
        source.paths.add(path)
        files = source.output
    elif mount.type is MountType.CACHE:
        files = None
    else:
        build.context_paths.add(path)
        files = build.context_draft
    if not selector and (mount.uid, mount.gid, mount.mode) != (None, None, None):
        return _owned_directory(mount, files), _CACHE_DIRECTORY
    return files, selector


def _owned_directory(mount: Mount, below: Draft | None) -> Draft:
    """What a new cache starts with: a directory of that owner and mode."""
    action = MkDir(
        _CACHE_DIRECTORY,
        mode=0o755 if mount.mode is None else mount.mode & 0o777,
        owner=Chown(User(id=mount.uid or 0), User(id=mount.gid or 0)),
    )
    inputs = [below] if below is not None else []
    return Draft(
        FileOp((FileAction(len(inputs) - 1, action, -1, 0),)),
        inputs,
        metadata=sources.internal("setting cache mount permissions"),
    )


def _add_secret(stage: StageBuild, run: Run, mount: Mount, into: RunMounts) -> None:
    id = mount.source or mount.id or posixpath.basename(mount.target)
    stage.outline.secrets.setdefault(id, AccessRecord(id, mount.required, run.range))
    if mount.env is not None:
        into.secret_env.append(SecretEnv(id, mount.env or posixpath.basename(id), not mount.required))
        if not mount.target:
            return
    target = mount.target or f"/run/secrets/{posixpath.basename(id)}"
    secret = graph.SecretOpt(
        id, mount.uid or 0, mount.gid or 0, 0o400 if mount.mode is None else mount.mode, not mount.required
    )
    into.secrets.append(graph.Mount(target, output=0, type=graph.MountType.SECRET, secret=secret))


def _add_agent(stage: StageBuild, run: Run, mount: Mount, into: RunMounts) -> None:
    if mount.source:
        raise InvalidError("an ssh mount has no source", hint="id= names the agent, target= the path of its socket")
    id = mount.id or "default"
    stage.outline.ssh.setdefault(id, AccessRecord(id, mount.required, run.range))
    target = mount.target or f"/run/buildkit/ssh_agent.{len(into.agents)}"
    agent = graph.SSHOpt(
        id, mount.uid or 0, mount.gid or 0, 0o600 if mount.mode is None else mount.mode, not mount.required
    )
    into.agents.append(graph.Mount(target, output=0, type=graph.MountType.SSH, ssh=agent))
