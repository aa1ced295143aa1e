"""Remarks on a Dockerfile: the rules, their findings, and the report that filters them.

How the converter uses it:

    report = LintReport(check_options(dockerfile.directives.check, build_arguments.get("BUILDKIT_DOCKERFILE_CHECK")))
    report.extend(dockerfile.findings)              # what the parser saw in the text
    scope = report.scoped(instruction.comments)     # heeds a `# check=skip=...` right above an instruction
    scope.add(UNDEFINED_VAR, instruction.range, "...")
    for finding in report.findings: ...             # one warning each: code = rule.name, short = detail,
                                                    # detail = rule.description, url = rule.url
    if report.failed: ...                           # `error=true`, and there are findings

Rules that can be judged on the text alone are in `lint_text` and run by the parser. Those that need the stages,
variables or base images are functions in `lint_build`, for the converter to call at the right moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.directives import Directive, parse_comment
from boatyard.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Rule:
    """`description` is one sentence on the rule; a finding's `detail` says what is wrong in one place. `url` is ""
    when the rule has no page."""

    name: str
    description: str
    url: str
    experimental: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark on lines of the file. `comments` are those right above the place: they may hold a `check=` of their
    own."""

    rule: Rule
    detail: str
    range: Range
    comments: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What `# check=skip=A,B;error=true;experimental=C` says. "all" in place of names is `skip_all`,
    `experimental_all`."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False

    def wants(self, rule: Rule) -> bool:
        """An experimental rule has to be asked for and can't be skipped, the others are there unless they are
        skipped."""
        if rule.experimental:
            return self.experimental_all or rule.name in self.experimental
        return not self.skip_all and rule.name not in self.skip

    def merged(self, other: CheckOptions) -> CheckOptions:
        """These and the skipped and experimental rules of `other`."""
        return CheckOptions(
            self.skip | other.skip,
            self.skip_all or other.skip_all,
            self.experimental | other.experimental,
            self.experimental_all or other.experimental_all,
            self.error,
        )


def parse_check_options(text: str) -> CheckOptions:
    """InvalidError for an unknown option."""
    names: dict[str, frozenset[str]] = {"skip": frozenset(), "experimental": frozenset()}
    error = False
    for part in text.split(";") if text.strip() else ():
        key, given, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if given and key in names:
            names[key] = frozenset(name.strip() for name in value.split(","))
        elif given and key == "error" and value.lower() in _TRUTHS:
            error = _TRUTHS[value.lower()]
        else:
            raise InvalidError(
                f"invalid check option {part.strip()!r}",
                hint="check options look like skip=RuleA,RuleB;error=true;experimental=RuleC, without blanks",
            )
    return CheckOptions(
        names["skip"] - {"all"},
        "all" in names["skip"],
        names["experimental"] - {"all"},
        "all" in names["experimental"],
        error,
    )


_TRUTHS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def check_options(directive: Directive | None, build_argument: str | None = None) -> CheckOptions:
    """The options of a build: the build argument, when it is given, replaces the directive. InvalidError for an unknown
    option."""
    if build_argument is not None:
        return parse_check_options(build_argument)
    return parse_check_options(directive.word) if directive is not None else CheckOptions()


class LintReport:
    """The findings of one build. One a build, not shared between threads."""

    def __init__(self, options: CheckOptions | None = None) -> None:
        self.options = options or CheckOptions()
        self._findings: dict[Finding, None] = {}

    def scoped(self, comments: Sequence[str]) -> LintReport:
        """This report as it is below comments: one of them may skip further rules. Findings go to the same place.
        A malformed option in a comment is a comment."""
        for comment in comments:
            directive = parse_comment(comment)
            if directive is None or directive.name != "check":
                continue
            try:
                options = parse_check_options(directive.word)
            except InvalidError:
                return self
            scope = LintReport(self.options.merged(options))
            scope._findings = self._findings
            return scope
        return self

    def wants(self, rule: Rule) -> bool:
        """Whether a finding of the rule would be kept: to leave out work that only lint needs."""
        return self.options.wants(rule)

    def add(self, rule: Rule, range: Range, detail: str) -> None:
        """Keep a finding, unless its rule is skipped or it is known already."""
        if self.wants(rule):
            self._findings[Finding(rule, detail, range)] = None

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.scoped(finding.comments).add(finding.rule, finding.range, finding.detail)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In order of lines."""
        return tuple(
            sorted(self._findings, key=lambda finding: (finding.range.start, finding.rule.name, finding.detail))
        )

    @property
    def failed(self) -> bool:
        """Whether the build has to end in an error for its findings."""
        return self.options.error and bool(self._findings)


def _rule(name: str, description: str, *, experimental: bool = False, page: bool = True) -> Rule:
    url = f"https://docs.docker.com/go/dockerfile/rule/{_dashed(name)}/" if page else ""
    return Rule(name, description, url, experimental)


def _dashed(name: str) -> str:
    """`JSONArgsRecommended` as addresses have it: `json-args-recommended`."""
    out = ""
    for index, char in enumerate(name):
        following = name[index + 1 : index + 2]
        starts_word = char.isupper() and (not name[index - 1].isupper() or following.islower())
        out += ("-" if starts_word and index else "") + char.lower()
    return out


STAGE_NAME_CASING = _rule("StageNameCasing", "the name of a stage should be in lower case")
FROM_AS_CASING = _rule("FromAsCasing", "AS should be written in the same case as FROM")
NO_EMPTY_CONTINUATION = _rule(
    "NoEmptyContinuation", "an instruction should not have empty lines in it: a later syntax will not take them"
)
CONSISTENT_INSTRUCTION_CASING = _rule(
    "ConsistentInstructionCasing", "all instructions should be in the same case, upper or lower"
)
DUPLICATE_STAGE_NAME = _rule("DuplicateStageName", "two stages should not have the same name")
RESERVED_STAGE_NAME = _rule("ReservedStageName", "a stage should not have the name of something built in")
JSON_ARGS_RECOMMENDED = _rule(
    "JSONArgsRecommended",
    "CMD and ENTRYPOINT should be JSON arrays: a shell in between keeps signals from the program",
)
MAINTAINER_DEPRECATED = _rule("MaintainerDeprecated", "MAINTAINER is out of use: a label names the author")
UNDEFINED_ARG_IN_FROM = _rule("UndefinedArgInFrom", "FROM should use only arguments that are declared before it")
WORKDIR_RELATIVE_PATH = _rule(
    "WorkdirRelativePath", "the first WORKDIR of a build should be absolute: the base image's may change"
)
UNDEFINED_VAR = _rule("UndefinedVar", "a variable should be defined before it is used")
MULTIPLE_INSTRUCTIONS_DISALLOWED = _rule(
    "MultipleInstructionsDisallowed", "an instruction of which only the last one counts should stand once in a stage"
)
LEGACY_KEY_VALUE_FORMAT = _rule("LegacyKeyValueFormat", "a key and its value should be joined by =, not by a blank")
INVALID_BASE_IMAGE_PLATFORM = _rule(
    "InvalidBaseImagePlatform", "the base image should be for the platform that is built for", page=False
)
REDUNDANT_TARGET_PLATFORM = _rule(
    "RedundantTargetPlatform", "FROM needs no --platform=$TARGETPLATFORM: it is the default"
)
SECRETS_USED_IN_ARG_OR_ENV = _rule(
    "SecretsUsedInArgOrEnv", "ARG and ENV should not hold secrets: everybody who has the image can read them"
)
INVALID_DEFAULT_ARG_IN_FROM = _rule(
    "InvalidDefaultArgInFrom", "the defaults of arguments should make a valid image name in FROM"
)
FROM_PLATFORM_FLAG_CONST_DISALLOWED = _rule(
    "FromPlatformFlagConstDisallowed",
    "FROM --platform should not name one platform: the build could not be for another",
)
COPY_IGNORED_FILE = _rule("CopyIgnoredFile", "COPY and ADD should not name files that .dockerignore leaves out")
INVALID_DEFINITION_DESCRIPTION = _rule(
    "InvalidDefinitionDescription",
    "a comment right above a stage or argument should be its description: `# name description`. "
    "An empty line below a comment that is none sets it apart",
    experimental=True,
)
EXPOSE_PROTO_CASING = _rule("ExposeProtoCasing", "the protocol in EXPOSE should be in lower case")
EXPOSE_INVALID_FORMAT = _rule(
    "ExposeInvalidFormat",
    "EXPOSE should name ports of the container only, no address and no port of the host: "
    "a later syntax will not take them",
)

RULES = (
    STAGE_NAME_CASING,
    FROM_AS_CASING,
    NO_EMPTY_CONTINUATION,
    CONSISTENT_INSTRUCTION_CASING,
    DUPLICATE_STAGE_NAME,
    RESERVED_STAGE_NAME,
    JSON_ARGS_RECOMMENDED,
    MAINTAINER_DEPRECATED,
    UNDEFINED_ARG_IN_FROM,
    WORKDIR_RELATIVE_PATH,
    UNDEFINED_VAR,
    MULTIPLE_INSTRUCTIONS_DISALLOWED,
    LEGACY_KEY_VALUE_FORMAT,
    INVALID_BASE_IMAGE_PLATFORM,
    REDUNDANT_TARGET_PLATFORM,
    SECRETS_USED_IN_ARG_OR_ENV,
    INVALID_DEFAULT_ARG_IN_FROM,
    FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    COPY_IGNORED_FILE,
    INVALID_DEFINITION_DESCRIPTION,
    EXPOSE_PROTO_CASING,
    EXPOSE_INVALID_FORMAT,
)
"""All 22, under the names that BuildKit's documentation uses."""
