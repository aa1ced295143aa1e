"""ONBUILD: instructions that a base keeps for those who build on it. They run before the stage's own, once."""

from __future__ import annotations

from boatyard.build.frontend.dockerfile.convert.dispatch import located
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step, counts
from boatyard.build.frontend.dockerfile.convert.stages import Stages, make_step
from boatyard.build.frontend.dockerfile.instructions import Onbuild
from boatyard.build.frontend.dockerfile.parser import parse_trigger
from boatyard.errors import BuildError, InvalidError


def add_triggers(build: Conversion, stages: Stages, stage: StageBuild) -> bool:
    """Put the triggers of the stage's base before its steps. Whether they take files from somewhere."""
    if stage.triggers_added or stage.named is not None or not stage.registered:
        return False
    stage.triggers_added = True
    if stage.base is not None:
        expressions = [
            step.instruction.expression for step in stage.base.steps if isinstance(step.instruction, Onbuild)
        ]
    else:
        expressions = list(stage.image.on_build)
        stage.image.on_build = []
    steps = [_step(build, stages, stage, expression) for expression in expressions]
    stage.steps[:0] = steps
    stage.total += sum(counts(step.instruction) for step in steps)
    return any(source is not None for step in steps for source in step.sources)


def _step(build: Conversion, stages: Stages, stage: StageBuild, expression: str) -> Step:
    try:
        instruction = parse_trigger(expression, stage.stage.range)
    except BuildError as error:
        shown = f"the base image has a trigger that can't be read: ONBUILD {expression}: {error.message}"
        raise located(InvalidError(shown, hint=error.hint), build, stage.stage.range) from error
    return make_step(build, stages, stage, instruction, trigger=True)
