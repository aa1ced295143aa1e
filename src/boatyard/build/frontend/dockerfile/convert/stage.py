"""A stage while it is converted, and what all conversions of one build share."""

from __future__ import annotations

from dataclasses import dataclass, field

from boatyard.build.frontend.base import Bridge
from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.convert.image import ImageDraft
from boatyard.build.frontend.dockerfile.draft import Draft
from boatyard.build.frontend.dockerfile.instructions import Add, Copy, Dockerfile, Instruction, Run, Stage, Workdir
from boatyard.build.frontend.dockerfile.lint import LintReport
from boatyard.build.frontend.dockerfile.lint_build import StageChecks
from boatyard.build.frontend.dockerfile.named import NamedContext, NamedContexts
from boatyard.build.frontend.dockerfile.options import BuildOptions
from boatyard.build.frontend.dockerfile.outline import OutlineRecord
from boatyard.build.frontend.dockerfile.variables import Environment
from boatyard.build.llb.graph import ProxyEnv, SourceLocation
from boatyard.errors import BoatyardError
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.paths.patterns import PatternMatcher

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Conversion:
    """What converting for one platform needs. `global_arguments` are the predefined ones and those before the first
    FROM.

    `implicit_target`: no platform was asked for, so the base images' counts. `created` is SOURCE_DATE_EPOCH as RFC
    3339, "" without one. `all_stages`: also those that the target doesn't need, for lint."""

    dockerfile: Dockerfile
    options: BuildOptions
    bridge: Bridge
    contexts: NamedContexts
    report: LintReport
    build_platform: Platform
    target_platform: Platform
    implicit_target: bool
    arguments: dict[str, str]
    """`--build-arg`s, SOURCE_DATE_EPOCH resolved."""
    global_arguments: dict[str, str]
    proxies: ProxyEnv | None
    ignore: PatternMatcher | None
    context_draft: Draft | None
    """The build context. What of it is used, `context_paths` says in the end."""
    context_paths: set[str] = field(default_factory=set)
    epoch: int | None = None
    created: str = ""
    all_stages: bool = False
    missing: list[BoatyardError] | None = None
    """Takes the errors of base images that can't be had, where these are not to end the conversion."""

    @property
    def escape(self) -> str:
        return self.dockerfile.directives.escape

    def location(self, range: Range) -> tuple[SourceLocation, ...]:
        return (SourceLocation(self.dockerfile.filename, range.start, range.end),)

    @property
    def timestamp(self) -> int:
        """Of what steps create: nanoseconds, -1 for the time at which they run."""
        return -1 if self.epoch is None else self.epoch * 1_000_000_000


@dataclass(eq=False, slots=True)
class Step:
    """An instruction of a stage with the stages it takes files from: one of COPY --from, one a mount of RUN (None: the
    build context). `trigger`: it is the ONBUILD of a base."""

    instruction: Instruction
    sources: tuple[StageBuild | None, ...] = ()
    trigger: bool = False


@dataclass(eq=False, slots=True)
class StageBuild:
    """A stage of the file, or (`registered` False) an image or context that is only copied from. Owned by one
    conversion.

    `output` None is the empty tree. `paths` are those of its files that others read, shared with the stages built on
    it: a context that stands for the stage is narrowed to them."""

    stage: Stage
    base_name: str
    label: str
    """Its name in progress; "" when it needs none."""
    platform: Platform | None
    image: ImageDraft
    checks: StageChecks
    outline: OutlineRecord
    registered: bool = True
    named: NamedContext | None = None
    base: StageBuild | None = None
    steps: list[Step] = field(default_factory=list)
    sources: dict[StageBuild, Range] = field(default_factory=dict)
    """The stages it takes files from, with the place of the first instruction that does."""

    output: Draft | None = None
    env: Environment = field(default_factory=Environment)
    directory: str = "/"
    arguments: dict[str, str | None] = field(default_factory=dict)
    """The ARGs seen so far: history tells them."""
    cmd_set: bool = False
    paths: set[str] = field(default_factory=set)
    base_digest: Digest | None = None
    base_reference: str = ""

    resolved: bool = False
    converted: bool = False
    triggers_added: bool = False
    ignore_cache: bool = False
    total: int = 0
    """Steps that progress counts."""
    done: int = 0
    in_trigger: bool = False

    @property
    def is_scratch(self) -> bool:
        return self.base_name == SCRATCH and self.named is None

    def inherit(self) -> None:
        """Start from where the base stage has come to."""
        if (base := self.base) is None:
            return
        self.output = base.output
        self.platform = base.platform
        self.image = base.image.copy()
        self.image.on_build = []
        self.base_digest, self.base_reference = base.base_digest, base.base_reference
        self.paths = base.paths
        self.arguments = {**self.arguments, **base.arguments}

    def count(self, step: Step) -> None:
        self.steps.append(step)
        self.total += counts(step.instruction)


def counts(instruction: Instruction) -> bool:
    """Whether progress counts it as a step."""
    return isinstance(instruction, Add | Copy | Run | Workdir)
