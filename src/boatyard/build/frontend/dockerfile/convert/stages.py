"""The stages of a file and what they take from each other.

make_stages    FROM lines, expanded, become stages; names and numbers are found
link_sources   COPY --from and RUN --mount from= become edges between stages
find_target    the stage to build
needed         the stages that one needs
"""

from __future__ import annotations

from collections.abc import Iterator

from boatyard.build.frontend.dockerfile import lint_build, shell
from boatyard.build.frontend.dockerfile.convert import image
from boatyard.build.frontend.dockerfile.convert.dispatch import located
from boatyard.build.frontend.dockerfile.convert.stage import SCRATCH, Conversion, StageBuild, Step, counts
from boatyard.build.frontend.dockerfile.instructions import Copy, Instruction, MountFlag, Run, Stage
from boatyard.build.frontend.dockerfile.lint_build import StageChecks
from boatyard.build.frontend.dockerfile.options import check_platform
from boatyard.build.frontend.dockerfile.outline import OutlineRecord
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.errors import BoatyardError, InvalidError, NotFoundError
from boatyard.image import platform as platforms
from boatyard.image.platform import Platform


class Stages:
    """All stages of one conversion, those of the file first and in its order."""

    def __init__(self) -> None:
        self.all: list[StageBuild] = []
        self._by_name: dict[str, StageBuild] = {}
        self._others: dict[str, StageBuild] = {}

    def add(self, stage: StageBuild) -> None:
        self.all.append(stage)
        if not stage.registered:
            self._others[stage.base_name] = stage
        elif stage.stage.stage_name:
            self._by_name[stage.stage.stage_name] = stage

    def other(self, name: str) -> StageBuild | None:
        """An image or context that is copied from already."""
        return self._others.get(name)

    def find(self, name: str) -> StageBuild | None:
        """The last one of that name so far."""
        return self._by_name.get(name.lower())

    def numbered(self, number: int) -> StageBuild:
        """Of the file's, by number. InvalidError."""
        if number < len(self.all) and self.all[number].registered:
            return self.all[number]
        count = sum(stage.registered for stage in self.all)
        raise InvalidError(f"there is no stage number {number}", hint=f"the file has {count}, numbered from 0")

    @property
    def names(self) -> list[str]:
        return list(self._by_name)


def make_stages(build: Conversion, outline: OutlineRecord) -> Stages:
    """`outline` is what is known of the arguments before the first FROM."""
    stages = Stages()
    for stage in build.dockerfile.stages:
        try:
            stages.add(_make_stage(build, stages, stage, outline))
        except BoatyardError as error:
            raise located(error, build, stage.range) from error
    return stages


def _make_stage(build: Conversion, stages: Stages, stage: Stage, outline: OutlineRecord) -> StageBuild:
    report = build.report.scoped(stage.comments)
    known = (*build.global_arguments, *outline.arguments)
    expansion = shell.expand(stage.base, build.global_arguments, escape=build.escape)
    lint_build.undefined_from_arguments(report, stage.range, expansion.unmatched, known)
    if not expansion.text:
        raise InvalidError(
            f"the base image of FROM is empty: {stage.base!r} has no value{_guess(expansion.unmatched, known)}",
            hint="give the argument a default: ARG NAME=value, above the first FROM",
        )
    used = set(expansion.matched)
    platform = None
    if stage.platform:
        platform, expanded = _platform(build, stage, known)
        used.update(expanded.matched)
        lint_build.undefined_from_arguments(report, stage.range, expanded.unmatched, known)
        lint_build.platform_flag(report, stage, expanded, build.global_arguments)
    named = build.contexts.find(stage.stage_name, platform or build.target_platform) if stage.stage_name else None
    base = stages.find(expansion.text) if named is None else None
    made = StageBuild(
        stage=stage,
        base_name=expansion.text,
        label=stage.stage_name or f"stage-{stage.index}",
        platform=platform,
        image=image.empty(platform or build.target_platform),
        checks=StageChecks(build.report),
        outline=(base.outline if base else outline).copy(),
        named=named,
        base=base,
        ignore_cache=build.options.ignores_cache(stage.stage_name),
    )
    if named is None:
        made.outline.used |= used
        fetched = base is None and made.base_name != SCRATCH
        made.total = fetched + sum(counts(instruction) for instruction in stage.instructions)
    return made


def _platform(build: Conversion, stage: Stage, known: tuple[str, ...]) -> tuple[Platform, shell.Expansion]:
    expansion = shell.expand(stage.platform, build.global_arguments, escape=build.escape)
    guess = _guess(expansion.unmatched, known)
    if not expansion.text:
        raise InvalidError(f"the platform of FROM is empty: {stage.platform!r} has no value{guess}")
    try:
        platform = platforms.parse(expansion.text)
    except InvalidError as error:
        raise InvalidError(f"{error.message}{guess}", hint=error.hint) from error
    check_platform(platform)
    return platform, expansion


def _guess(unmatched: tuple[str, ...], known: tuple[str, ...]) -> str:
    return next(filter(None, (did_you_mean(name, known) for name in unmatched)), "")


# -- edges -----------------------------------------------------------------------------------------------------------


def link_sources(build: Conversion, stages: Stages) -> None:
    """Give every stage its steps. DockerfileError when stages need each other in a circle."""
    for stage in list(stages.all):
        if stage.named is None:
            for instruction in stage.stage.instructions:
                stage.steps.append(make_step(build, stages, stage, instruction))
    _check_circles(build, stages)
    if len(stages.all) == 1:
        stages.all[0].label = ""


def make_step(
    build: Conversion, stages: Stages, stage: StageBuild, instruction: Instruction, *, trigger: bool = False
) -> Step:
    try:
        sources = tuple(_sources(build, stages, instruction))
    except BoatyardError as error:
        raise located(error, build, instruction.range) from error
    for source in sources:
        if source is not None:
            stage.sources.setdefault(source, instruction.range)
    return Step(instruction, sources, trigger)


def _sources(build: Conversion, stages: Stages, instruction: Instruction) -> Iterator[StageBuild | None]:
    if isinstance(instruction, Copy) and instruction.from_:
        if shell.expand(instruction.from_, {}, escape=build.escape).text != instruction.from_:
            raise InvalidError(
                f"variables are not expanded in --from={instruction.from_}",
                hint="name a stage with FROM $VARIABLE AS name, and copy from that",
            )
        yield _source(build, stages, instruction.from_, instruction)
    elif isinstance(instruction, Run):
        for mount in instruction.mounts:
            yield _mounted(build, stages, mount, instruction)


def _mounted(build: Conversion, stages: Stages, mount: MountFlag, instruction: Run) -> StageBuild | None:
    return _source(build, stages, mount.from_, instruction) if mount.from_ else None


def _source(build: Conversion, stages: Stages, name: str, instruction: Instruction) -> StageBuild:
    """A stage of the file by name or number, else an image or context, which becomes a stage of its own."""
    if (found := stages.find(name)) is not None:
        return found
    if isinstance(instruction, Copy) and name.isascii() and name.isdecimal():
        return stages.numbered(int(name[:6]))
    if (found := stages.other(name)) is not None:
        return found
    placeholder = Stage(
        index=-1,
        base=name,
        stage_name="",
        written_name="",
        platform="",
        instructions=(),
        keyword="FROM",
        text=f"FROM {name}",
        range=instruction.range,
    )
    made = StageBuild(
        stage=placeholder,
        base_name=name,
        label="",
        platform=None,
        image=image.empty(build.target_platform),
        checks=StageChecks(build.report),
        outline=OutlineRecord(),
        registered=False,
    )
    stages.add(made)
    return made


def _check_circles(build: Conversion, stages: Stages) -> None:
    done: set[StageBuild] = set()
    for start in stages.all:
        path = {start: iter(_needs(start))} if start not in done else {}
        while path:
            stage, remaining = next(reversed(path.items()))
            source = next((item for item in remaining if item not in done), None)
            if source is None:
                done.add(stage)
                del path[stage]
            elif source in path:
                stages_in_path = list(path)
                raise _circle(build, stages_in_path[stages_in_path.index(source) :])
            else:
                path[source] = iter(_needs(source))


def _needs(stage: StageBuild) -> list[StageBuild]:
    return [*([stage.base] if stage.base else []), *stage.sources]


def _circle(build: Conversion, path: list[StageBuild]) -> BoatyardError:
    names = [stage.stage.written_name or f"stage {stage.stage.index}" for stage in path]
    first = path[0]
    needed = path[1] if len(path) > 1 else first
    error = InvalidError(
        f"the stages need each other in a circle: {' -> '.join([*names, names[0]])}",
        hint="a stage can take files only from stages above it",
    )
    return located(error, build, first.sources.get(needed, first.stage.range))


# -- target ----------------------------------------------------------------------------------------------------------


def find_target(build: Conversion, stages: Stages) -> StageBuild:
    """By name or number; the last stage of the file when none is named."""
    of_file = [stage for stage in stages.all if stage.registered]
    name = build.options.target
    if not name:
        return of_file[-1]
    if (found := stages.find(name)) is not None:
        return found
    if name.isascii() and name.isdecimal() and int(name[:6]) < len(of_file):
        return of_file[int(name)]
    raise NotFoundError(
        f"there is no stage {name!r} to build{did_you_mean(name, stages.names, ignore_case=True)}",
        hint=f"the stages are: {', '.join(stages.names)}" if stages.names else "no stage of the file has a name",
    )


def needed(target: StageBuild) -> list[StageBuild]:
    """The target and the stages it needs, the target first."""
    found: dict[StageBuild, None] = {}
    stack = [target]
    while stack:
        stage = stack.pop()
        if stage not in found:
            found[stage] = None
            if stage.base is not None:
                stack.append(stage.base)
            stack.extend(stage.sources)
    return list(found)
