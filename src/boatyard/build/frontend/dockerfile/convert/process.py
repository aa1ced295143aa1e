"""CMD, ENTRYPOINT, SHELL, HEALTHCHECK, STOPSIGNAL, USER: how a container of the image runs."""

from __future__ import annotations

import re
import signal

from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step
from boatyard.build.frontend.dockerfile.convert.wording import duration, plain, quoted
from boatyard.build.frontend.dockerfile.instructions import (
    Cmd,
    CommandLine,
    Entrypoint,
    Healthcheck,
    Shell,
    Stopsignal,
    User,
)
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.errors import InvalidError
from boatyard.image import spec

_REAL_TIME = re.compile(r"RTM(IN(\+([0-9]|1[0-5]))?|AX(-([0-9]|1[0-4]))?)")
_SIGNALS = frozenset(item.name.removeprefix("SIG") for item in signal.Signals)
_HIGHEST_SIGNAL = 64


def cmd(build: Conversion, stage: StageBuild, step: Step, instruction: Cmd) -> None:
    stage.image.cmd = _words(stage, instruction.command)
    stage.image.args_escaped = True
    stage.cmd_set = True
    stage.image.record(f"CMD {quoted(stage.image.cmd)}", build.created)


def entrypoint(build: Conversion, stage: StageBuild, step: Step, instruction: Entrypoint) -> None:
    """A CMD of the base image was meant for its entrypoint; one of this stage is meant for this one."""
    stage.image.entrypoint = _words(stage, instruction.command)
    if not stage.cmd_set:
        stage.image.cmd = None
    stage.image.record(f"ENTRYPOINT {quoted(stage.image.entrypoint)}", build.created)


def _words(stage: StageBuild, command: CommandLine) -> tuple[str, ...]:
    return stage.image.in_shell(command.words) if command.shell else command.words


def shell(build: Conversion, stage: StageBuild, step: Step, instruction: Shell) -> None:
    stage.image.shell = instruction.words
    stage.image.record(f"SHELL {plain(instruction.words)}", build.created)


def healthcheck(build: Conversion, stage: StageBuild, step: Step, instruction: Healthcheck) -> None:
    check = spec.Healthcheck(
        test=instruction.test,
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )
    stage.image.healthcheck = check
    stage.image.record(
        f"HEALTHCHECK {{Test:{plain(check.test)} Interval:{duration(check.interval)} Timeout:{duration(check.timeout)}"
        f" StartPeriod:{duration(check.start_period)} StartInterval:{duration(check.start_interval)}"
        f" Retries:{check.retries}}}",
        build.created,
    )


def stopsignal(build: Conversion, stage: StageBuild, step: Step, instruction: Stopsignal) -> None:
    name = instruction.signal.upper().removeprefix("SIG")
    if instruction.signal.isascii() and instruction.signal.isdecimal():
        known = 0 < int(instruction.signal[:4]) <= _HIGHEST_SIGNAL
    else:
        known = name in _SIGNALS or _REAL_TIME.fullmatch(name) is not None
    if not known:
        raise InvalidError(f"unknown signal {instruction.signal!r}{did_you_mean(name, sorted(_SIGNALS))}")
    stage.image.stop_signal = instruction.signal
    stage.image.record(f"STOPSIGNAL {instruction.signal}", build.created)


def user(build: Conversion, stage: StageBuild, step: Step, instruction: User) -> None:
    stage.image.user = instruction.user
    stage.image.record(f"USER {instruction.user}", build.created)
