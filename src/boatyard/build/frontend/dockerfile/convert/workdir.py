"""WORKDIR: the directory is made, as the stage's user's, and what follows starts from it."""

from __future__ import annotations

import posixpath

from boatyard.build.frontend.dockerfile import sources
from boatyard.build.frontend.dockerfile.convert.naming import expanded, number, step_name
from boatyard.build.frontend.dockerfile.convert.owner import accounts_read, parse_owner
from boatyard.build.frontend.dockerfile.convert.paths import absolute
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild, Step
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.frontend.dockerfile.instructions import Workdir
from boatyard.build.llb.graph import FileAction, FileOp, MkDir


def enter(stage: StageBuild, path: str) -> str:
    """Set the working directory; a relative one is below the one before."""
    current = stage.image.working_dir or "/"
    chosen = path if path.startswith("/") else posixpath.normpath(posixpath.join("/", current, path))
    stage.image.working_dir = stage.directory = chosen
    return chosen


def workdir(build: Conversion, stage: StageBuild, step: Step, instruction: Workdir) -> None:
    directory = enter(stage, instruction.path)
    number(stage)
    if directory == "/":
        stage.image.record("WORKDIR /", build.created)
        return
    inputs = [stage.output] if stage.output else []
    base = len(inputs) - 1
    owner = parse_owner(stage.image.user, base) if stage.image.user else None
    stage.paths.update(accounts_read(owner))
    action = MkDir(absolute(directory), mode=0o755, make_parents=True, owner=owner, timestamp=build.timestamp)
    name = step_name(build, stage, expanded(instruction.text, stage.env, build.escape), stage.platform, stage.env)
    stage.output = Draft(
        FileOp((FileAction(base, action, -1, 0),)),
        inputs,
        metadata=sources.named(name, ignore_cache=stage.ignore_cache),
        locations=build.location(instruction.range),
    )
    stage.image.record(f"WORKDIR {directory}", build.created, layer=True)
