"""Lint rules that need more than the text: variables, stages, base images, the ignore file.

The converter calls these at the place where it has what they need. Each adds to the report it is given; that should be
`report.scoped(comments)` of the instruction or stage at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from boatyard.build.frontend.dockerfile import shell
from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.instructions import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Healthcheck,
    Instruction,
    Label,
    Stage,
    Workdir,
)
from boatyard.build.frontend.dockerfile.lint import (
    COPY_IGNORED_FILE,
    EXPOSE_INVALID_FORMAT,
    EXPOSE_PROTO_CASING,
    FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    INVALID_BASE_IMAGE_PLATFORM,
    INVALID_DEFAULT_ARG_IN_FROM,
    JSON_ARGS_RECOMMENDED,
    LEGACY_KEY_VALUE_FORMAT,
    MULTIPLE_INSTRUCTIONS_DISALLOWED,
    REDUNDANT_TARGET_PLATFORM,
    SECRETS_USED_IN_ARG_OR_ENV,
    UNDEFINED_ARG_IN_FROM,
    UNDEFINED_VAR,
    WORKDIR_RELATIVE_PATH,
    LintReport,
)
from boatyard.build.frontend.dockerfile.ports import PortRange
from boatyard.build.frontend.dockerfile.suggest import did_you_mean
from boatyard.errors import BoatyardError
from boatyard.image import platform as platforms
from boatyard.image.platform import Platform
from boatyard.paths.patterns import PatternMatcher

_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:^|_)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_EVERYTHING = ("*", "**", "**/*")
"""Patterns that leave nothing of a context."""
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|[\\/]")


# -- FROM ------------------------------------------------------------------------------------------------------------


def undefined_from_arguments(report: LintReport, range: Range, unmatched: Iterable[str], known: Iterable[str]) -> None:
    """`unmatched` are the variables of FROM (base or platform) that had no value, `known` all that are declared
    before the first FROM or built in, with a value or not."""
    declared = tuple(known)
    for name in unmatched:
        if name not in declared:
            detail = f"the argument {name!r} in FROM is not declared{did_you_mean(name, declared)}"
            report.add(UNDEFINED_ARG_IN_FROM, range, detail)


def invalid_default_arguments(
    report: LintReport,
    stages: Sequence[Stage],
    defaults: Mapping[str, str],
    is_image_name: Callable[[str], bool],
    *,
    escape: str,
) -> None:
    """`defaults` are the values of the arguments before the first FROM when no build argument is given. A base without
    variables, and the name of a stage above, which may be in any case, are not their doing."""
    above: set[str] = set()
    for stage in stages:
        try:
            base = shell.expand_word(stage.base, defaults, escape=escape)
        except BoatyardError:
            # A base that can't be expanded fails the build, with a better message than this one.
            continue
        known = base.lower() in above
        above.add(stage.stage_name)
        if base != stage.base and not known and not is_image_name(base):
            detail = f"with the arguments' defaults, {stage.base!r} becomes {base!r}, which is no image name"
            report.scoped(stage.comments).add(INVALID_DEFAULT_ARG_IN_FROM, stage.range, detail)


def platform_flag(report: LintReport, stage: Stage, expansion: shell.Expansion, variables: Mapping[str, str]) -> None:
    """`expansion` is what became of `stage.platform`: two rules look at it."""
    if expansion.matched == ("TARGETPLATFORM",) and not expansion.unmatched:
        if expansion.text == variables.get("TARGETPLATFORM"):
            detail = f"--platform={stage.platform} can be left out: it is the default"
            report.add(REDUNDANT_TARGET_PLATFORM, stage.range, detail)
    elif not expansion.matched and not expansion.unmatched:
        _constant_platform(report, stage, expansion.text)


def _constant_platform(report: LintReport, stage: Stage, text: str) -> None:
    try:
        platform = platforms.parse(text)
    except BoatyardError:
        return
    # A stage called after its platform is meant to be for that one.
    if platform.os not in stage.stage_name and platform.architecture not in stage.stage_name:
        detail = f"--platform={text} holds for every build; $BUILDPLATFORM or $TARGETPLATFORM would follow it"
        report.add(FROM_PLATFORM_FLAG_CONST_DISALLOWED, stage.range, detail)


def base_image_platform(report: LintReport, range: Range, image: str, expected: Platform, actual: Platform) -> None:
    """`actual` is what the image's config says."""
    if (expected.os, expected.architecture) != (actual.os, actual.architecture):
        detail = f"the base image {image} is for {actual}, but the build is for {expected}"
        report.add(INVALID_BASE_IMAGE_PLATFORM, range, detail)


# -- instructions ----------------------------------------------------------------------------------------------------


def undefined_variables(
    report: LintReport, range: Range, unmatched: Iterable[str], declared: Iterable[str], known: Iterable[str]
) -> None:
    """`unmatched` are the variables of an instruction that had no value; `declared` the stage's ARGs, with a value or
    not; `known` the names to guess from: the environment."""
    arguments = frozenset(declared)
    options = tuple(known)
    for name in unmatched:
        if name not in arguments:
            guess = did_you_mean(name, options).replace("mean ", "mean $")
            report.add(UNDEFINED_VAR, range, f"the variable '${name}' is used but not defined{guess}")


def ports(report: LintReport, range: Range, port: PortRange) -> None:
    """One word of EXPOSE."""
    if port.protocol != port.protocol.lower():
        report.add(EXPOSE_PROTO_CASING, range, f"the protocol in '{port.text}' should be in lower case")
    if port.address or port.host:
        detail = f"'{port.text}' has an address or a port of the host: EXPOSE takes only the container's"
        report.add(EXPOSE_INVALID_FORMAT, range, detail)


def ignored_source(report: LintReport, instruction: Instruction, source: str, ignore: PatternMatcher | None) -> None:
    """A path that COPY or ADD takes from the build context, and what its ignore file says. With exceptions (`!`) in
    it, what is left of a directory is not known here."""
    if ignore is None or ignore.has_exceptions:
        return
    path = _cleaned(source)
    if path in (".", ""):
        ignored = any(pattern.text in _EVERYTHING for pattern in ignore.patterns)
    else:
        ignored = ignore.matches(path)
    if ignored:
        detail = f"{instruction.name} names {path or '.'!r}, which .dockerignore leaves out"
        report.add(COPY_IGNORED_FILE, instruction.range, detail)


def _cleaned(source: str) -> str:
    parts: list[str] = []
    for part in source.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


class StageChecks:
    """What lint remembers of a stage while its instructions are converted. One a stage.

    `base` is that of the stage it is built on, when it is one of the same file."""

    def __init__(self, report: LintReport, base: StageChecks | None = None) -> None:
        self._report = report
        self._workdir_set: bool = base is not None and base._workdir_set
        self._used: dict[str, Range] = {}

    def check(self, instruction: Instruction, *, has_shell: bool) -> None:
        """Call it with each instruction, expanded, before it takes effect. `has_shell`: the image so far names a
        SHELL of its own."""
        report = self._report.scoped(instruction.comments)
        match instruction:
            case Env():
                _legacy_pairs(report, instruction)
                _secret_names(report, instruction, (pair.key for pair in instruction.pairs))
            case Label():
                _legacy_pairs(report, instruction)
            case Arg():
                _secret_names(report, instruction, (argument.key for argument in instruction.arguments))
            case Cmd() | Entrypoint():
                self._used_once(report, instruction)
                _json_arguments(report, instruction, has_shell)
            case Healthcheck():
                self._used_once(report, instruction)
            case Workdir():
                self._absolute_workdir(report, instruction)

    def _used_once(self, report: LintReport, instruction: Instruction) -> None:
        """The earlier one is remarked on: it is the one without effect."""
        earlier = self._used.get(instruction.name)
        if earlier is not None:
            detail = f"this {instruction.name} has no effect: line {instruction.range.start} has another one"
            report.add(MULTIPLE_INSTRUCTIONS_DISALLOWED, earlier, detail)
        self._used[instruction.name] = instruction.range

    def _absolute_workdir(self, report: LintReport, instruction: Workdir) -> None:
        if not self._workdir_set and _DRIVE.match(instruction.path) is None:
            detail = f"the relative path {instruction.path!r} begins where the base image's WORKDIR happens to be"
            report.add(WORKDIR_RELATIVE_PATH, instruction.range, detail)
        self._workdir_set = True


def _legacy_pairs(report: LintReport, instruction: Env | Label) -> None:
    for pair in instruction.pairs:
        if pair.legacy:
            detail = (
                f"'{instruction.name} {pair.key}=...' should be written in place of '{instruction.name} {pair.key} ...'"
            )
            report.add(LEGACY_KEY_VALUE_FORMAT, instruction.range, detail)


def _secret_names(report: LintReport, instruction: Instruction, names: Iterable[str]) -> None:
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            detail = f"{instruction.name} {name} looks like a secret: use RUN --mount=type=secret"
            report.add(SECRETS_USED_IN_ARG_OR_ENV, instruction.range, detail)


def _json_arguments(report: LintReport, instruction: Cmd | Entrypoint, has_shell: bool) -> None:
    if instruction.command.shell and not has_shell:
        detail = f'{instruction.name} should be a JSON array, ["program", "argument"]: signals reach the program then'
        report.add(JSON_ARGS_RECOMMENDED, instruction.range, detail)
