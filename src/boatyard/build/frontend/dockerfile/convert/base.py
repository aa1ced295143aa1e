"""What a stage starts from: the empty tree, an image, or a named context in the place of either."""

from __future__ import annotations

from collections.abc import Iterable

from boatyard.build.frontend.dockerfile import lint_build, sources
from boatyard.build.frontend.dockerfile.convert import image
from boatyard.build.frontend.dockerfile.convert.dispatch import located
from boatyard.build.frontend.dockerfile.convert.naming import number, step_name
from boatyard.build.frontend.dockerfile.convert.stage import Conversion, StageBuild
from boatyard.build.frontend.dockerfile.convert.stages import Stages
from boatyard.build.frontend.dockerfile.named import NamedContext
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.build.frontend.dockerfile.together import together
from boatyard.errors import BoatyardError, NotFoundError, UnavailableError
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.platform import Platform

_COMMON = ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")


async def resolve_bases(build: Conversion, stages: Stages, reachable: Iterable[StageBuild]) -> None:
    """Resolve what the stages start from that is not another stage; all images at once."""
    waiting = [stage for stage in reachable if stage.base is None and not stage.resolved]
    for stage in waiting:
        stage.resolved = True
    await together(_resolve_located(build, stages, stage) for stage in waiting)


async def _resolve_located(build: Conversion, stages: Stages, stage: StageBuild) -> None:
    try:
        await _resolve(build, stages, stage)
    except BoatyardError as error:
        failure = located(error, build, stage.stage.range)
        if build.missing is None or not isinstance(error, NotFoundError | UnavailableError):
            raise failure from error
        # Lint judges what it can without the image, and tells of it in the end.
        build.missing.append(failure)
    if not stage.registered:
        stage.converted = True


async def _resolve(build: Conversion, stages: Stages, stage: StageBuild) -> None:
    platform = stage.platform or build.target_platform
    if stage.named is not None:
        await _replace(build, stage, stage.named, platform)
        stage.converted = True
    elif stage.is_scratch:
        stage.platform = build.target_platform
        stage.image = image.empty(build.target_platform)
    elif (context := build.contexts.find(stage.base_name, platform)) is not None:
        await _replace(build, stage, context, platform)
    else:
        await _pull(build, stages, stage, platform)


async def _replace(build: Conversion, stage: StageBuild, context: NamedContext, platform: Platform) -> None:
    loaded = await build.contexts.load(context, platform, lambda: sources.narrowed(stage.paths))
    stage.output = loaded.output
    stage.platform = platform
    stage.base_digest, stage.base_reference = loaded.digest, loaded.reference
    if loaded.config is None:
        stage.image = image.empty(platform)
        return
    stage.image = image.of_config(loaded.config)
    if stage.named is not None:
        stage.platform = documents.config_platform(loaded.config)


async def _pull(build: Conversion, stages: Stages, stage: StageBuild, platform: Platform) -> None:
    name = str(references.parse(stage.base_name).with_default_tag())
    try:
        found = await build.bridge.resolve_image(name, platform, mode=build.options.resolve_mode)
    except NotFoundError as error:
        near = did_you_mean(stage.base_name, (*stages.names, *_COMMON))
        raise NotFoundError(f"{error.message}{near}", hint=error.hint) from error
    config = documents.parse_config(found.config)
    stage.image = image.of_config(config)
    stage.base_digest, stage.base_reference = found.digest, found.reference
    stage.platform = platform
    lint_build.base_image_platform(
        build.report.scoped(stage.stage.comments),
        stage.stage.range,
        stage.base_name,
        platform,
        documents.config_platform(config),
    )
    if not image.has_layers(config):
        return
    number(stage)
    stage.output = sources.image(
        found.reference,
        platform,
        mode=build.options.resolve_mode,
        metadata=sources.named(step_name(build, stage, f"FROM {found.reference}", platform, {}), stage.stage.text),
        locations=build.location(stage.stage.range),
    )
