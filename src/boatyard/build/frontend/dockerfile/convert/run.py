"""RUN: a process in a container, in its shell, JSON and heredoc forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from boatyard.build.frontend.dockerfile import sources
from boatyard.build.frontend.dockerfile.convert.arguments import told_command
from boatyard.build.frontend.dockerfile.convert.mounts import RunMounts, add_mounts
from boatyard.build.frontend.dockerfile.convert.naming import expanded, number, step_name
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step
from boatyard.build.frontend.dockerfile.convert.wording import heredoc_summary
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.frontend.dockerfile.heredoc import parse_heredoc
from boatyard.build.frontend.dockerfile.instructions import Network, Run, Security
from boatyard.build.llb import graph
from boatyard.build.llb.graph import (
    CDIDevice,
    ExecOp,
    FileAction,
    FileOp,
    Meta,
    MkFile,
    NetMode,
    SecurityMode,
    SourceLocation,
)
from boatyard.errors import InvalidError

_NETWORKS = {Network.NONE: NetMode.NONE, Network.HOST: NetMode.HOST}
_SECURITY = {Security.SANDBOX: SecurityMode.SANDBOX, Security.INSECURE: SecurityMode.INSECURE}
_SCRIPTS = "/dev/pipes/"
"""Where a script with a `#!` line is mounted."""


def run(build: Conversion, stage: StageBuild, step: Step, instruction: Run, word: Callable[[str], str]) -> None:
    stage.paths.add("/")
    if not instruction.command.words:
        raise InvalidError("RUN has no command", hint='write RUN COMMAND or RUN ["PROGRAM", "ARGUMENT"]')
    mounts = RunMounts([(graph.Mount("/", output=0), stage.output)])
    words, summary = _command(build, instruction, mounts)
    if instruction.command.shell:
        words = stage.image.in_shell(words)
    add_mounts(build, stage, step, instruction, word, mounts)
    if size := build.options.shm_size:
        mounts.files.append((graph.Mount("/dev/shm", type=graph.MountType.TMPFS, tmpfs_size=size), None))
    meta = _meta(build, stage, words, mounts)
    name = _name(build, stage, instruction, summary, mounts)
    ordered, inputs = mounts.finish()
    stage.output = Draft(
        ExecOp(
            meta=meta,
            mounts=ordered,
            network=_NETWORKS.get(instruction.network, build.options.network),
            security=_SECURITY[instruction.security],
            secret_env=tuple(mounts.secret_env),
            cdi_devices=tuple(CDIDevice(device.name, not device.required) for device in instruction.devices),
        ),
        inputs,
        stage.platform,
        sources.named(
            name,
            instruction.text,
            ignore_cache=stage.ignore_cache,
            linux_resources=build.options.resources,
        ),
        build.location(instruction.range),
    )
    stage.image.record(f"RUN {told_command(stage, words)} # buildkit", build.created, layer=True)


def _command(build: Conversion, instruction: Run, mounts: RunMounts) -> tuple[tuple[str, ...], str]:
    """The words to run (the shell not yet in front), and the first line of a script for the step's name.

    A lone heredoc is the script itself: for the shell, or with a `#!` line for the program it names. Otherwise the
    shell reads the heredocs, as it would."""
    command = instruction.command
    if not command.files:
        return command.words, ""
    line = command.words[0]
    first = command.files[0]
    if parse_heredoc(line) is None:
        return ("\n".join([line, *(file.content + file.name for file in command.files)]),), ""
    script = first.chomped()
    if script.startswith("#!"):
        mounts.files.append(_script_mount(first.name, script, build.location(instruction.range)))
        script = _SCRIPTS + first.name
    return (script,), f" ({heredoc_summary(first.content)})"


def _script_mount(name: str, script: str, locations: tuple[SourceLocation, ...]) -> tuple[graph.Mount, Draft]:
    action = MkFile(f"/{name}", script.encode(), mode=0o755)
    file = Draft(
        FileOp((FileAction(-1, action, -1, 0),)),
        metadata=sources.internal("preparing inline document"),
        locations=locations,
    )
    return graph.Mount(_SCRIPTS, selector="/", readonly=True), file


def _meta(build: Conversion, stage: StageBuild, words: tuple[str, ...], mounts: RunMounts) -> Meta:
    env = stage.env.pairs
    if mounts.agents and "SSH_AUTH_SOCK" not in stage.env:
        env = (*env, f"SSH_AUTH_SOCK={mounts.agents[0].dest}")
    options = build.options
    return Meta(
        args=words,
        env=env,
        cwd=stage.directory,
        user=stage.image.user,
        proxy_env=build.proxies,
        extra_hosts=options.extra_hosts,
        hostname=options.hostname,
        ulimits=options.ulimits,
        cgroup_parent=options.cgroup_parent,
        remove_mount_stubs_recursive=True,
    )


def _name(build: Conversion, stage: StageBuild, instruction: Run, summary: str, mounts: RunMounts) -> str:
    variables: Mapping[str, str] = stage.env
    if mounts.secret_env:
        variables = {**stage.env, **{secret.name: "****" for secret in mounts.secret_env}}
    number(stage)
    text = expanded(instruction.text + summary, variables, build.escape, keep=True)
    return step_name(build, stage, text, stage.platform, variables)
