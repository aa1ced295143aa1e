"""The Dockerfile frontend, from request to result. Read this page first.

    options -> context and Dockerfile -> syntax check -> parse -> (a question? answer it) -> convert for each platform

`build` is what the service calls; it is a `frontend.base.Frontend`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from boatyard.build.frontend.base import Bridge, FrontendRequest, FrontendResult, SourceStep
from boatyard.build.frontend.dockerfile import context as contexts
from boatyard.build.frontend.dockerfile import options as options_
from boatyard.build.frontend.dockerfile import subrequests, syntax
from boatyard.build.frontend.dockerfile.ast import Source as SourceText
from boatyard.build.frontend.dockerfile.context import BuildContext
from boatyard.build.frontend.dockerfile.convert.converter import Source, convert
from boatyard.build.frontend.dockerfile.convert.stage import StageBuild
from boatyard.build.frontend.dockerfile.lint import LintReport, check_options
from boatyard.build.frontend.dockerfile.named import NamedContexts
from boatyard.build.frontend.dockerfile.options import BuildOptions
from boatyard.build.frontend.dockerfile.parser import parse
from boatyard.build.frontend.dockerfile.together import together
from boatyard.build.frontend.dockerfile.unused import unused_arguments
from boatyard.build.llb.graph import SourceLocation
from boatyard.errors import BoatyardError, MissingCapabilityError, NotFoundError, UnsupportedError
from boatyard.image.platform import Platform
from boatyard.progress import Range, WarningEvent

_CAPABILITIES = frozenset(
    {"inputs", "subrequests", "contexts", "gitquerystring"}  # of moby.buildkit.frontend.
)


async def build(bridge: Bridge, request: FrontendRequest, *, insist_on_syntax_image: bool = False) -> FrontendResult:
    """Raises DockerfileError for what is wrong with the file, InvalidError for the request, and what the bridge
    raises."""
    missing = _missing_capability(request.options)
    question = request.options.get("requestid")
    options = options_.parse(request.options)
    try:
        context = await contexts.load(bridge, request)
    except NotFoundError:
        if question == subrequests.DESCRIBE:
            return FrontendResult(metadata=subrequests.describe())
        raise
    choice = syntax.choose(options, context, insist=insist_on_syntax_image)
    if choice is not None:
        return await syntax.forward(bridge, request, context, choice)
    if missing is not None:
        raise missing
    if question is not None:
        subrequests.check_known(question)
    if question == subrequests.DESCRIBE:
        return FrontendResult(metadata=subrequests.describe())
    if question == subrequests.LINT:
        return await _check(bridge, request, options, context)
    source = _source(bridge, request, options, context)
    if question is not None:
        return FrontendResult(metadata=await _answer(question, source, context.dockerfile))
    return await _build(source)


def _source(bridge: Bridge, request: FrontendRequest, options: BuildOptions, context: BuildContext) -> Source:
    dockerfile = parse(context.dockerfile, context.filename)
    report = LintReport(check_options(dockerfile.directives.check, options.arguments.get("BUILDKIT_DOCKERFILE_CHECK")))
    report.extend(dockerfile.findings)
    named = NamedContexts(request.options, request.inputs, bridge, options.resolve_mode)
    return Source(bridge, dockerfile, options, context, named, report)


# -- building --------------------------------------------------------------------------------------------------------


async def _build(source: Source) -> FrontendResult:
    """All platforms at once. Findings are told even when the build fails, and once, whatever the number of
    platforms."""
    wanted: tuple[Platform | None, ...] = source.options.platforms or (None,)
    try:
        converted = await together(convert(source, platform) for platform in wanted)
    finally:
        _warn(source)
    _fail_on_findings(source)
    triggers = (step.instruction for item in converted for stage in item.stages for step in stage.steps if step.trigger)
    for warning in unused_arguments(source.dockerfile, triggers, source.options.arguments):
        source.bridge.warn(warning)
    return FrontendResult(
        images=tuple(item.result for item in converted),
        files={source.dockerfile.filename: source.dockerfile.source},
        steps=tuple(_steps(source, converted[0].stages)),
        multi_platform=source.options.multi_platform,
        epoch=converted[0].epoch,
    )


def _steps(source: Source, stages: Sequence[StageBuild]) -> Iterator[SourceStep]:
    """In the order of the file. What triggers of a base brought in stands at its FROM."""
    filename = source.dockerfile.filename
    for argument in source.dockerfile.arguments:
        yield SourceStep(argument.text, SourceLocation(filename, argument.range.start, argument.range.end))
    for build in sorted(stages, key=lambda build: build.stage.index):
        if not build.registered:
            continue
        yield SourceStep(build.stage.text, SourceLocation(filename, build.stage.range.start, build.stage.range.end))
        for step in build.steps:
            place = step.instruction.range
            if not step.trigger:
                yield SourceStep(step.instruction.text, SourceLocation(filename, place.start, place.end))


def _warn(source: Source) -> None:
    source.bridge.learn({source.dockerfile.filename: source.dockerfile.source})
    for finding in source.report.findings:
        source.bridge.warn(
            WarningEvent(
                vertex=source.context.dockerfile_vertex,
                code=finding.rule.name,
                short=finding.detail,
                detail=finding.rule.description,
                url=finding.rule.url,
                filename=source.dockerfile.filename,
                range=Range(finding.range.start, finding.range.end),
            )
        )


def _fail_on_findings(source: Source) -> None:
    if not source.report.failed:
        return
    findings = source.report.findings
    rules = sorted({finding.rule.name for finding in findings})
    text = SourceText(source.dockerfile.filename, source.dockerfile.source)
    raise text.error(
        f"lint found violations of {', '.join(rules)}, and `check=error=true` makes them errors",
        findings[0].range,
        hint="mend them, or skip rules with `# check=skip=RULE;error=true`",
    )


# -- questions -------------------------------------------------------------------------------------------------------


async def _answer(question: str, source: Source, data: bytes) -> Mapping[str, bytes]:
    if question == subrequests.TARGETS:
        return subrequests.list_targets(source.dockerfile, data)
    if question == subrequests.OUTLINE:
        return await subrequests.make_outline(source, data)
    return await subrequests.convert_graph(source)


async def _check(
    bridge: Bridge, request: FrontendRequest, options: BuildOptions, context: BuildContext
) -> FrontendResult:
    """A file that can't be parsed is an answer here, not an error."""
    try:
        source = _source(bridge, request, options, context)
    except BoatyardError as error:
        return FrontendResult(metadata=subrequests.checked(context.filename, context.dockerfile, None, error))
    return FrontendResult(metadata=await subrequests.check(source, context.dockerfile))


# -- what the request asks for ---------------------------------------------------------------------------------------


def _missing_capability(options: Mapping[str, str]) -> UnsupportedError | None:
    """What the request needs and this frontend can't do. It is raised at once, unless another frontend may do
    (`+forward`)."""
    missing = None
    for name in filter(None, options.get("frontend.caps", "").split(",")):
        wanted, _, extra = name.partition("+")
        if wanted.removeprefix("moby.buildkit.frontend.") in _CAPABILITIES:
            continue
        missing = MissingCapabilityError(
            f"the frontend hasn't the capability {wanted!r}, which the client needs", name=wanted
        )
        if extra != "forward":
            raise missing
    return missing
