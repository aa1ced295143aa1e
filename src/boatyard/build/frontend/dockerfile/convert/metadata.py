"""ENV, LABEL, MAINTAINER, EXPOSE, VOLUME, ONBUILD: instructions that only describe the image."""

from __future__ import annotations

from collections.abc import Iterable

from boatyard.build.frontend.dockerfile import lint_build
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step
from boatyard.build.frontend.dockerfile.convert.wording import plain
from boatyard.build.frontend.dockerfile.instructions import (
    Env,
    Expose,
    KeyValue,
    Label,
    Maintainer,
    Onbuild,
    Volume,
)
from boatyard.build.frontend.dockerfile.ports import parse_port
from boatyard.errors import InvalidError


def env(build: Conversion, stage: StageBuild, step: Step, instruction: Env) -> None:
    for pair in instruction.pairs:
        stage.env.set(pair.key, pair.value)
        stage.image.env[pair.key] = pair.value
    stage.image.record(f"ENV {_pairs(instruction.pairs)}", build.created)


def label(build: Conversion, stage: StageBuild, step: Step, instruction: Label) -> None:
    stage.image.labels.update((pair.key, pair.value) for pair in instruction.pairs)
    stage.image.record(f"LABEL {_pairs(instruction.pairs)}", build.created)


def _pairs(pairs: Iterable[KeyValue]) -> str:
    return " ".join(f"{pair.key}={pair.value}" for pair in pairs)


def maintainer(build: Conversion, stage: StageBuild, step: Step, instruction: Maintainer) -> None:
    stage.image.author = instruction.maintainer
    stage.image.record(f"MAINTAINER {instruction.maintainer}", build.created)


def expose(build: Conversion, stage: StageBuild, step: Step, instruction: Expose) -> None:
    report = build.report.scoped(instruction.comments)
    names: list[str] = []
    for text in instruction.ports:
        port = parse_port(text)
        lint_build.ports(report, instruction.range, port)
        names += port.names()
    stage.image.exposed_ports.update((name, {}) for name in names)
    stage.image.record(f"EXPOSE {plain(names)}", build.created)


def volume(build: Conversion, stage: StageBuild, step: Step, instruction: Volume) -> None:
    if "" in instruction.paths:
        raise InvalidError("a path of VOLUME is empty once its variables are expanded")
    stage.image.volumes.update((path, {}) for path in instruction.paths)
    stage.image.record(f"VOLUME {plain(instruction.paths)}", build.created)


def onbuild(build: Conversion, stage: StageBuild, step: Step, instruction: Onbuild) -> None:
    stage.image.on_build.append(instruction.expression)
