"""A Dockerfile for one platform: stages, bases, instructions, the result. Read this page first.

make_stages -> link_sources -> find_target -> resolve bases and triggers -> convert the needed stages in order ->
finish
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from boatyard.build.frontend.base import Bridge, PlatformResult
from boatyard.build.frontend.dockerfile import draft as drafts
from boatyard.build.frontend.dockerfile import lint_build, sources, variables
from boatyard.build.frontend.dockerfile.ast import Source as SourceText
from boatyard.build.frontend.dockerfile.context import BuildContext
from boatyard.build.frontend.dockerfile.convert import dispatch
from boatyard.build.frontend.dockerfile.convert.arguments import global_arguments
from boatyard.build.frontend.dockerfile.convert.base import resolve_bases
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild
from boatyard.build.frontend.dockerfile.convert.stages import Stages, find_target, link_sources, make_stages, needed
from boatyard.build.frontend.dockerfile.convert.triggers import add_triggers
from boatyard.build.frontend.dockerfile.convert.workdir import enter
from boatyard.build.frontend.dockerfile.epoch import Epochs, timestamp
from boatyard.build.frontend.dockerfile.instructions import Dockerfile
from boatyard.build.frontend.dockerfile.lint import LintReport
from boatyard.build.frontend.dockerfile.lint_build import StageChecks
from boatyard.build.frontend.dockerfile.named import NamedContexts
from boatyard.build.frontend.dockerfile.options import BuildOptions
from boatyard.build.frontend.dockerfile.outline import OutlineRecord
from boatyard.errors import BoatyardError, InvalidError
from boatyard.image import platform as platforms
from boatyard.image import reference as references
from boatyard.image.platform import Platform
from boatyard.paths.patterns import PatternMatcher

_EPOCH = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True, slots=True)
class Source:
    """What all platforms of a request have in common."""

    bridge: Bridge
    dockerfile: Dockerfile
    options: BuildOptions
    context: BuildContext
    contexts: NamedContexts
    report: LintReport


@dataclass(frozen=True, slots=True)
class Converted:
    """`stages`: the target, and the stages it needs."""

    result: PlatformResult
    epoch: int | None
    stages: tuple[StageBuild, ...]


async def convert(
    source: Source,
    platform: Platform | None,
    *,
    all_stages: bool = False,
    missing: list[BoatyardError] | None = None,
) -> Converted:
    """For `platform`, or the builder's own and whatever the base images are for.

    DockerfileError, with the place, for what is wrong with the file; NotFoundError for a target that isn't there.
    `all_stages`: also those that the target doesn't need. `missing` takes the errors of base images that can't be had:
    the conversion goes on without them."""
    build, outline = await _begin(source, platform, all_stages, missing)
    stages = make_stages(build, outline)
    target = find_target(build, stages)
    link_sources(build, stages)
    await _resolve(build, stages, target)
    reachable = set(_chosen(build, stages, target))
    for stage in stages.all:
        if stage in reachable and not stage.converted:
            _convert_stage(build, stage)
    # The result is looked at as a whole, whatever a context in its place would be narrowed to.
    target.paths.add("/")
    return Converted(_finish(build, target), build.epoch, tuple(needed(target)))


async def _begin(
    source: Source, platform: Platform | None, all_stages: bool, missing: list[BoatyardError] | None
) -> tuple[Conversion, OutlineRecord]:
    dockerfile, options = source.dockerfile, source.options
    target_platform = platform or source.bridge.platform
    stage = options.target or dockerfile.stages[-1].stage_name
    predefined = variables.predefined(source.bridge.platform, target_platform, stage, options.arguments)
    values, records = _global_arguments(source, predefined)
    arguments = dict(options.arguments)
    epoch = await _epoch(source, arguments, values)
    context_paths: set[str] = set()
    build = Conversion(
        dockerfile=dockerfile,
        options=options,
        bridge=source.bridge,
        contexts=source.contexts,
        report=source.report,
        build_platform=source.bridge.platform,
        target_platform=target_platform,
        implicit_target=platform is None,
        arguments=arguments,
        global_arguments=values,
        proxies=variables.proxies(options.arguments),
        ignore=PatternMatcher(source.context.ignored) if source.context.ignored else None,
        context_draft=source.context.draft(lambda: sources.narrowed(context_paths)),
        context_paths=context_paths,
        epoch=epoch,
        created=timestamp(epoch),
        all_stages=all_stages,
        missing=missing,
    )
    _check_defaults(source, predefined)
    return build, records


def _check_defaults(source: Source, predefined: Mapping[str, str]) -> None:
    """What FROM would name if no build argument were given."""
    escape = source.dockerfile.directives.escape
    try:
        defaults, _ = global_arguments(source.dockerfile.arguments, predefined, {}, escape)
    except BoatyardError:
        return  # the file asks for arguments with ${NAME:?}: there is no default to judge
    stages = source.dockerfile.stages
    lint_build.invalid_default_arguments(source.report, stages, defaults, _is_image_name, escape=escape)


def _global_arguments(source: Source, predefined: Mapping[str, str]) -> tuple[dict[str, str], OutlineRecord]:
    dockerfile = source.dockerfile
    values, record = dict(predefined), OutlineRecord()
    for instruction in dockerfile.arguments:
        try:
            values, records = global_arguments(
                [instruction], values, source.options.arguments, dockerfile.directives.escape, record.arguments
            )
        except InvalidError as error:
            text = SourceText(dockerfile.filename, dockerfile.source)
            raise text.error(error.message, instruction.range, hint=error.hint) from error
        record.arguments.update(records)
    return values, record


def _is_image_name(text: str) -> bool:
    try:
        references.parse(text)
    except InvalidError:
        return False
    return True


async def _epoch(source: Source, arguments: dict[str, str], values: dict[str, str]) -> int | None:
    """SOURCE_DATE_EPOCH as a number; steps and FROM see it as one too."""
    text = arguments.get(_EPOCH, values.get(_EPOCH, ""))
    epoch = await Epochs(source.bridge, source.dockerfile, source.context, source.contexts).resolve(
        text, arguments, {name: value for name, value in values.items() if name != _EPOCH}
    )
    for known in (arguments, values):
        if _EPOCH in known:
            del known[_EPOCH]
            if epoch is not None:
                known[_EPOCH] = str(epoch)
    return epoch


def _chosen(build: Conversion, stages: Stages, target: StageBuild) -> list[StageBuild]:
    return list(stages.all) if build.all_stages else needed(target)


async def _resolve(build: Conversion, stages: Stages, target: StageBuild) -> None:
    """Bases bring triggers, which may bring other bases."""
    more = True
    while more:
        chosen = _chosen(build, stages, target)
        await resolve_bases(build, stages, chosen)
        more = False
        for stage in chosen:
            more = add_triggers(build, stages, stage) or more


def _convert_stage(build: Conversion, stage: StageBuild) -> None:
    stage.inherit()
    if stage.base is not None:
        stage.env = stage.base.env.copy()
        stage.checks = StageChecks(build.report, stage.base.checks)
    stage.platform = stage.platform or build.target_platform
    stage.image.env.setdefault("PATH", variables.DEFAULT_PATH)
    for name, value in stage.image.env.items():
        stage.env.set(name, value)
    if stage.image.working_dir:
        enter(stage, stage.image.working_dir)
    for step in stage.steps:
        dispatch.convert(build, stage, step)
    stage.converted = True


def _finish(build: Conversion, target: StageBuild) -> PlatformResult:
    image = target.image
    image.labels.update(build.options.labels)
    if not build.implicit_target:
        image.set_platform(build.target_platform)
    platform = platforms.normalise(image.os, image.architecture, image.variant, image.os_version, image.os_features)
    image.architecture, image.variant, image.os = platform.architecture, platform.variant, platform.os
    try:
        edge = drafts.finish(target.output)
    except BoatyardError as error:
        raise dispatch.located(error, build, target.stage.range) from error
    return PlatformResult(
        platform=build.target_platform if not build.implicit_target else platform,
        edge=edge,
        config=image.finish(),
        base=target.base_digest,
        base_name=target.base_reference,
    )
