"""The 22 rules, each with what it remarks on and what it doesn't; and how they are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from boatyard.build.frontend.dockerfile import lint, lint_build, shell
from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.directives import Directive
from boatyard.build.frontend.dockerfile.instructions import Dockerfile
from boatyard.build.frontend.dockerfile.lint import CheckOptions, LintReport, Rule, check_options, parse_check_options
from boatyard.build.frontend.dockerfile.parser import parse
from boatyard.build.frontend.dockerfile.ports import parse_port
from boatyard.errors import InvalidError
from boatyard.image.platform import Platform
from boatyard.paths.patterns import PatternMatcher

EVERYTHING = CheckOptions(experimental_all=True)
FIRST = Range(1, 1)


def file_of(text: str) -> Dockerfile:
    return parse(text.encode(), "Dockerfile")


def lines_of(report: LintReport, rule: Rule) -> list[int]:
    return [finding.range.start for finding in report.findings if finding.rule is rule]


def found_in_text(text: str, rule: Rule) -> list[int]:
    report = LintReport(EVERYTHING)
    report.extend(file_of(text).findings)
    return lines_of(report, rule)


def found_in_stages(text: str, rule: Rule, *, has_shell: bool = False) -> list[int]:
    """Each stage on its own, with no variable expanded."""
    report = LintReport(EVERYTHING)
    for stage in file_of(text).stages:
        checks = lint_build.StageChecks(report)
        for instruction in stage.instructions:
            checks.check(instruction, has_shell=has_shell)
    return lines_of(report, rule)


# -- rules on the text -----------------------------------------------------------------------------------------------

TEXT_RULES: list[tuple[Rule, str, list[int]]] = [
    (lint.STAGE_NAME_CASING, "FROM a AS Build", [1]),
    (lint.STAGE_NAME_CASING, "FROM a AS build-1\nFROM B\nFROM a as build", []),
    (lint.FROM_AS_CASING, "FROM a as b", [1]),
    (lint.FROM_AS_CASING, "from a AS b", [1]),
    (lint.FROM_AS_CASING, "FROM a As b", [1]),
    (lint.FROM_AS_CASING, "FROM a AS b\nfrom c as d\nFrom e as f\nFROM g", []),
    (lint.NO_EMPTY_CONTINUATION, "FROM a\nRUN b \\\n\n c", [4]),
    (lint.NO_EMPTY_CONTINUATION, "FROM a\n\nRUN b \\\n# comment\n c\n\nCOPY <<E /x\n\n\nE", []),
    (lint.CONSISTENT_INSTRUCTION_CASING, "FROM a\nRUN b\ncmd c\nRun d", [3, 4]),
    (lint.CONSISTENT_INSTRUCTION_CASING, "from a\nrun b\nRUN c", [3]),
    (lint.CONSISTENT_INSTRUCTION_CASING, "from a\nRUN b", [1]),
    (lint.CONSISTENT_INSTRUCTION_CASING, "From a\nfrom b", [1]),
    (lint.CONSISTENT_INSTRUCTION_CASING, "FROM a\nRUN b", []),
    (lint.CONSISTENT_INSTRUCTION_CASING, "arg X\nfrom a\nrun b", []),
    (lint.DUPLICATE_STAGE_NAME, "FROM a AS b\nFROM c AS B\nFROM d AS b", [2, 3]),
    (lint.DUPLICATE_STAGE_NAME, "FROM a AS b\nFROM a\nFROM a\nFROM c AS d", []),
    (lint.RESERVED_STAGE_NAME, "FROM a AS scratch\nFROM b AS Context", [1, 2]),
    (lint.RESERVED_STAGE_NAME, "FROM scratch AS b\nFROM context", []),
    (lint.MAINTAINER_DEPRECATED, "FROM a\nmaintainer b", [2]),
    (lint.MAINTAINER_DEPRECATED, "FROM a\nLABEL maintainer=b", []),
    (lint.INVALID_DEFINITION_DESCRIPTION, "# what\nARG X\n# ever\nFROM a AS b\n# y it is\nARG X Y", [2, 4, 6]),
    (lint.INVALID_DEFINITION_DESCRIPTION, "# a\n# X is this\nARG X\n# b is that\nFROM a AS B", []),
    (lint.INVALID_DEFINITION_DESCRIPTION, "# what\n\nARG X\n# ever\n#\nARG Z\n# c\nFROM a\n# d\nRUN e", []),
    (lint.INVALID_DEFINITION_DESCRIPTION, "ARG Y\n# check=skip=X\nARG X", []),
    (lint.INVALID_DEFINITION_DESCRIPTION, '# Y text\nARG X="a b" Y\n# b" text\nARG X="a b"\nFROM a', [4]),
]


@pytest.mark.parametrize(("rule", "text", "lines"), TEXT_RULES)
def test_rules_on_the_text(rule: Rule, text: str, lines: list[int]) -> None:
    assert found_in_text(text if "FROM" in text.upper() else text + "\nFROM a", rule) == lines


# -- rules on instructions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "body", "lines"),
    [
        (lint.JSON_ARGS_RECOMMENDED, "CMD a\nENTRYPOINT b", [2, 3]),
        (lint.JSON_ARGS_RECOMMENDED, 'CMD ["a"]\nENTRYPOINT ["b"]\nRUN c\nHEALTHCHECK CMD d', []),
        (lint.WORKDIR_RELATIVE_PATH, "WORKDIR a\nWORKDIR b", [2]),
        (lint.WORKDIR_RELATIVE_PATH, "WORKDIR /a\nWORKDIR b", []),
        (lint.WORKDIR_RELATIVE_PATH, "WORKDIR C:\\a\nWORKDIR b", []),
        (lint.MULTIPLE_INSTRUCTIONS_DISALLOWED, "CMD a\nCMD b\nCMD c\nHEALTHCHECK NONE\nHEALTHCHECK NONE", [2, 3, 5]),
        (lint.MULTIPLE_INSTRUCTIONS_DISALLOWED, "ENTRYPOINT a\nFROM b\nENTRYPOINT c\nCMD d\nUSER e\nUSER f", []),
        (lint.LEGACY_KEY_VALUE_FORMAT, "ENV a b\nLABEL c d e", [2, 3]),
        (lint.LEGACY_KEY_VALUE_FORMAT, "ENV a=b c=d\nLABEL e=f", []),
        (lint.SECRETS_USED_IN_ARG_OR_ENV, "ARG API_KEY\nENV DB_PASSWORD=x\nARG a GITHUB_TOKEN=b", [2, 3, 4]),
        (lint.SECRETS_USED_IN_ARG_OR_ENV, "ENV auth=1\nENV secret_MESSAGE=1\nARG apikey", [2, 3, 4]),
        (lint.SECRETS_USED_IN_ARG_OR_ENV, "ARG KEYBOARD\nENV PASSWORD_FILE=x TOKEN_VERSION=1 PUBLIC_KEY=x", []),
        (lint.SECRETS_USED_IN_ARG_OR_ENV, "LABEL password=x", []),
    ],
)
def test_rules_on_instructions(rule: Rule, body: str, lines: list[int]) -> None:
    assert found_in_stages("FROM a\n" + body, rule) == lines


def test_a_shell_of_ones_own_may_run_commands() -> None:
    assert found_in_stages("FROM a\nCMD b", lint.JSON_ARGS_RECOMMENDED, has_shell=True) == []


def test_a_stage_knows_whether_its_base_set_the_workdir() -> None:
    report = LintReport()
    (first, second) = file_of("FROM a\nWORKDIR /b\nFROM c\nWORKDIR d").stages
    base = lint_build.StageChecks(report)
    base.check(first.instructions[0], has_shell=False)
    lint_build.StageChecks(report, base).check(second.instructions[0], has_shell=False)
    assert report.findings == ()


# -- rules that need the build ---------------------------------------------------------------------------------------


def undefined_variables(report: LintReport, unmatched: Iterable[str]) -> None:
    lint_build.undefined_variables(report, FIRST, unmatched, ["DECLARED"], ["PATH", "VERSION"])


def undefined_arguments(report: LintReport, unmatched: Iterable[str]) -> None:
    lint_build.undefined_from_arguments(report, FIRST, unmatched, ["TARGETPLATFORM", "TAG"])


def platform_flag(report: LintReport, text: str) -> None:
    (stage,) = file_of(f"FROM --platform={text} a AS for-arm64").stages
    values = {"TARGETPLATFORM": "linux/amd64", "BUILDPLATFORM": "linux/arm64", "ARCH": "amd64"}
    lint_build.platform_flag(report, stage, shell.expand(stage.platform, values), values)


def base_platform(report: LintReport, architecture: str) -> None:
    expected = Platform(os="linux", architecture="arm64", variant="v8")
    actual = Platform(os="linux", architecture=architecture)
    lint_build.base_image_platform(report, FIRST, "a:1", expected, actual)


def default_arguments(report: LintReport, base: str) -> None:
    stages = file_of(f"FROM {base}").stages
    lint_build.invalid_default_arguments(report, stages, {"TAG": "1"}, lambda name: name.islower(), escape="\\")


def exposed_port(report: LintReport, port: str) -> None:
    lint_build.ports(report, FIRST, parse_port(port))


def copied_source(report: LintReport, source_and_patterns: str) -> None:
    source, _, patterns = source_and_patterns.partition(" < ")
    (stage,) = file_of("FROM a\nCOPY b /c").stages
    lint_build.ignored_source(report, stage.instructions[0], source, PatternMatcher(patterns.split()))


BUILD_RULES: list[tuple[Rule, Callable[..., None], object, int]] = [
    (lint.UNDEFINED_VAR, undefined_variables, ["VERSOIN", "X"], 2),
    (lint.UNDEFINED_VAR, undefined_variables, ["DECLARED"], 0),
    (lint.UNDEFINED_ARG_IN_FROM, undefined_arguments, ["TAGS"], 1),
    (lint.UNDEFINED_ARG_IN_FROM, undefined_arguments, ["TAG"], 0),
    (lint.REDUNDANT_TARGET_PLATFORM, platform_flag, "$TARGETPLATFORM", 1),
    (lint.REDUNDANT_TARGET_PLATFORM, platform_flag, "${TARGETPLATFORM:-linux/amd64}", 1),
    (lint.REDUNDANT_TARGET_PLATFORM, platform_flag, "$BUILDPLATFORM", 0),
    (lint.REDUNDANT_TARGET_PLATFORM, platform_flag, "$TARGETPLATFORM$NONE", 0),
    (lint.REDUNDANT_TARGET_PLATFORM, platform_flag, "${TARGETPLATFORM%amd64}arm64", 0),
    (lint.FROM_PLATFORM_FLAG_CONST_DISALLOWED, platform_flag, "linux/amd64", 1),
    (lint.FROM_PLATFORM_FLAG_CONST_DISALLOWED, platform_flag, "windows/amd64", 1),
    (lint.FROM_PLATFORM_FLAG_CONST_DISALLOWED, platform_flag, "linux/arm64", 0),
    (lint.FROM_PLATFORM_FLAG_CONST_DISALLOWED, platform_flag, "linux/$ARCH", 0),
    (lint.FROM_PLATFORM_FLAG_CONST_DISALLOWED, platform_flag, "a/b/c/d", 0),
    (lint.INVALID_BASE_IMAGE_PLATFORM, base_platform, "amd64", 1),
    (lint.INVALID_BASE_IMAGE_PLATFORM, base_platform, "arm64", 0),
    (lint.INVALID_DEFAULT_ARG_IN_FROM, default_arguments, "$IMAGE", 1),
    (lint.INVALID_DEFAULT_ARG_IN_FROM, default_arguments, "busybox:$TAG", 0),
    (lint.INVALID_DEFAULT_ARG_IN_FROM, default_arguments, "${IMAGE?}", 0),
    (lint.EXPOSE_PROTO_CASING, exposed_port, "80/TCP", 1),
    (lint.EXPOSE_PROTO_CASING, exposed_port, "80/tcp", 0),
    (lint.EXPOSE_INVALID_FORMAT, exposed_port, "8080:80", 1),
    (lint.EXPOSE_INVALID_FORMAT, exposed_port, "127.0.0.1::80", 1),
    (lint.EXPOSE_INVALID_FORMAT, exposed_port, "80-90/udp", 0),
    (lint.COPY_IGNORED_FILE, copied_source, "/a/./b < a", 1),
    (lint.COPY_IGNORED_FILE, copied_source, "a/b.log < **/*.log", 1),
    (lint.COPY_IGNORED_FILE, copied_source, ". < *", 1),
    (lint.COPY_IGNORED_FILE, copied_source, ". < .*", 0),
    (lint.COPY_IGNORED_FILE, copied_source, "a < b", 0),
    (lint.COPY_IGNORED_FILE, copied_source, "a/b < a !a/c", 0),
    (lint.COPY_IGNORED_FILE, copied_source, "a < ", 0),
]


@pytest.mark.parametrize(("rule", "judge", "subject", "count"), BUILD_RULES)
def test_rules_that_need_the_build(rule: Rule, judge: Callable[..., None], subject: object, count: int) -> None:
    report = LintReport()
    judge(report, subject)
    assert len(lines_of(report, rule)) == count


def test_guesses_are_part_of_the_finding() -> None:
    report = LintReport()
    undefined_variables(report, ["VERSOIN"])
    undefined_arguments(report, ["TAGS"])
    details = " ".join(finding.detail for finding in report.findings)
    assert "(did you mean $VERSION?)" in details
    assert "(did you mean TAG?)" in details


def test_every_rule_is_tested() -> None:
    tested = {rule.name for rule, *_ in TEXT_RULES} | {rule.name for rule, *_ in BUILD_RULES}
    tested |= {
        "JSONArgsRecommended",
        "WorkdirRelativePath",
        "MultipleInstructionsDisallowed",
        "LegacyKeyValueFormat",
        "SecretsUsedInArgOrEnv",
    }
    assert tested == {rule.name for rule in lint.RULES}
    assert len(lint.RULES) == 22


def test_rules_have_addresses() -> None:
    assert lint.JSON_ARGS_RECOMMENDED.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    assert lint.FROM_AS_CASING.url.endswith("/from-as-casing/")
    assert lint.SECRETS_USED_IN_ARG_OR_ENV.url.endswith("/secrets-used-in-arg-or-env/")
    assert lint.INVALID_BASE_IMAGE_PLATFORM.url == ""


# -- options and the report ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", CheckOptions()),
        ("skip=A,B", CheckOptions(skip=frozenset("AB"))),
        ("skip=all", CheckOptions(skip_all=True)),
        ("skip=A;error=true", CheckOptions(skip=frozenset("A"), error=True)),
        ("error=false", CheckOptions()),
        ("experimental=X", CheckOptions(experimental=frozenset("X"))),
        ("experimental=all;skip=A", CheckOptions(skip=frozenset("A"), experimental_all=True)),
        (" skip = A , B ; error = 1 ", CheckOptions(skip=frozenset("AB"), error=True)),
    ],
)
def test_check_options(text: str, options: CheckOptions) -> None:
    assert parse_check_options(text) == options


@pytest.mark.parametrize("text", ["skip", "skpi=A", "error=maybe", "skip=A;", "error", "a=b"])
def test_malformed_check_options_are_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="invalid check option"):
        parse_check_options(text)


def test_the_build_argument_replaces_the_directive() -> None:
    directive = Directive("check", "skip=A words after it", FIRST)
    assert check_options(directive) == CheckOptions(skip=frozenset("A"))
    assert check_options(directive, "error=true") == CheckOptions(error=True)
    assert check_options(None) == CheckOptions()


def test_skipped_rules_are_not_reported() -> None:
    report = LintReport(CheckOptions(skip=frozenset({"StageNameCasing"})))
    report.extend(file_of("FROM a as B").findings)
    assert [finding.rule.name for finding in report.findings] == ["FromAsCasing"]


def test_experimental_rules_are_reported_when_asked_for() -> None:
    findings = file_of("# text\nARG X\nFROM a").findings
    for options, count in [
        (CheckOptions(), 0),
        (CheckOptions(experimental=frozenset({"InvalidDefinitionDescription"})), 1),
        (CheckOptions(experimental_all=True, skip_all=True), 1),
    ]:
        report = LintReport(options)
        report.extend(findings)
        assert len(report.findings) == count


def test_a_comment_above_an_instruction_skips_rules_for_it() -> None:
    report = LintReport()
    report.extend(file_of("FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER b\nMAINTAINER c").findings)
    assert lines_of(report, lint.MAINTAINER_DEPRECATED) == [4]


def test_a_scope_reports_to_the_same_place() -> None:
    report = LintReport()
    scope = report.scoped(["text", "check=skip=UndefinedVar"])
    scope.add(lint.UNDEFINED_VAR, FIRST, "x")
    scope.add(lint.JSON_ARGS_RECOMMENDED, FIRST, "y")
    assert [finding.detail for finding in report.findings] == ["y"]
    assert report.scoped(["check=nonsense"]) is report


def test_findings_are_in_order_and_once() -> None:
    report = LintReport()
    for line in (3, 1, 3):
        report.add(lint.UNDEFINED_VAR, Range(line, line), "x")
    assert lines_of(report, lint.UNDEFINED_VAR) == [1, 3]


def test_findings_fail_the_build_only_when_asked_to() -> None:
    for options, fails in [(CheckOptions(), False), (CheckOptions(error=True), True)]:
        report = LintReport(options)
        assert not report.failed
        report.add(lint.UNDEFINED_VAR, FIRST, "x")
        assert report.failed is fails
