"""A process on a state's files, as an op of the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from boatyard.build.frontend.dockerfile.convert.paths import absolute
from boatyard.build.llb import graph
from boatyard.build.llb.graph import Edge, ExecOp, Meta, MountType, NetMode, SecretEnv
from boatyard.errors import InvalidError
from boatyard.frontend.mount import Mount

S = TypeVar("S")

_NETWORKS = {"default": NetMode.UNSET, "none": NetMode.NONE, "host": NetMode.HOST}
_VARIABLE = re.compile(r"[^=\0]+")


@dataclass(frozen=True, slots=True)
class Execution(Generic[S]):
    """What a process leaves: the root file system, and the writable mounts by their targets."""

    root: S
    outputs: Mapping[str, S] = field(default_factory=dict)


def exec_op(
    root: Edge | None,
    words: Sequence[str],
    mounts: Sequence[tuple[Mount[S], Edge | None]],
    *,
    environment: Mapping[str, str],
    directory: str,
    user: str,
    secrets: Mapping[str, str],
    network: str,
    valid_exit_codes: tuple[int, ...] = (),
) -> tuple[ExecOp, list[Edge], list[tuple[str, int]]]:
    """The op, its inputs, and the outputs beside the root's: their targets and numbers. Mounts come in the order in
    which Go's client sends them, since it is part of the digest."""
    if not words or not words[0]:
        raise InvalidError("the step has no command", hint="give a text for the shell, or a program and its arguments")
    if network not in _NETWORKS:
        raise InvalidError(f"unknown network {network!r}", hint=f"it is {', '.join(_NETWORKS)}")
    for name in (*environment, *secrets):
        if not _VARIABLE.fullmatch(name):
            raise InvalidError(f"{name!r} can't be the name of an environment variable")
    inputs: list[Edge] = []
    outputs: list[tuple[str, int]] = []
    files = [(graph.Mount("/", output=0), root)]
    others = []
    for item, edge in mounts:
        mount = replace(item.mount, dest=_target(item.mount.dest, directory))
        if item.writable_output:
            mount = replace(mount, output=len(outputs) + 1)
            outputs.append((item.mount.dest, mount.output))
        if mount.type in (MountType.SECRET, MountType.SSH):
            others.append(mount)
        else:
            files.append((mount, edge))
    ordered = []
    for mount, edge in sorted(files, key=lambda pair: pair[0].dest.encode()):
        if edge is not None and edge not in inputs:
            inputs.append(edge)
        ordered.append(replace(mount, input=inputs.index(edge) if edge is not None else -1))
    variables = dict(environment)
    agent = next((mount for mount in others if mount.type is MountType.SSH), None)
    if agent is not None:
        variables.setdefault("SSH_AUTH_SOCK", agent.dest)
    op = ExecOp(
        meta=Meta(
            args=tuple(words),
            env=tuple(f"{name}={value}" for name, value in variables.items()),
            cwd=directory,
            user=user,
            remove_mount_stubs_recursive=True,
            valid_exit_codes=valid_exit_codes,
        ),
        mounts=(*ordered, *sorted(others, key=lambda mount: mount.type)),
        network=_NETWORKS[network],
        secret_env=tuple(SecretEnv(id, name) for name, id in secrets.items()),
    )
    return op, inputs, outputs


def _target(path: str, directory: str) -> str:
    target = absolute(path, directory)
    if target == "/":
        raise InvalidError("a mount needs a target other than the root directory")
    return target
