"""Remarks on a Dockerfile: the rules' names and addresses, findings, and the report that filters them.

How the converter uses it:

    report = LintReport(options)            # options: `CheckOptions` from `# check=` or BUILDKIT_DOCKERFILE_CHECK
    report.extend(dockerfile.findings)      # what the parser saw in the text
    report.add(UNDEFINED_VAR, range, "usage of undefined variable '$FOO' (did you mean $FOOD?)")
    for finding in report.findings: bridge.warn(...)
    if report.failed: ...                   # `error=true` and there are findings

Rules that can be judged on a single instruction or on the text are found by the parser. Those that need the stages,
variables or base images are small functions in `lint_stages`, for the converter to call at the right moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from boatyard.build.frontend.dockerfile.ast import Range


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. `description` is one sentence on what is wrong in general; a finding's `detail` says what is wrong
    here."""

    name: str
    description: str
    experimental: bool = False

    @property
    def url(self) -> str:
        return f"https://docs.docker.com/go/dockerfile/rule/{_dashed(self.name)}/"


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark on lines of the file."""

    rule: Rule
    detail: str
    range: Range


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """`skip=A,B;error=true;experimental=C`. `all` is kept as a flag."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False


class LintReport:
    """The findings of one build. One a build, not shared between threads."""

    def __init__(self, options: CheckOptions | None = None) -> None:
        self.options = options or CheckOptions()
        self._findings: dict[Finding, None] = {}

    def wants(self, rule: Rule) -> bool:
        """Whether a finding of the rule would be kept: to leave out work that only lint needs."""
        options = self.options
        if rule.experimental:
            return options.experimental_all or rule.name in options.experimental
        return not options.skip_all and rule.name not in options.skip

    def add(self, rule: Rule, range: Range, detail: str) -> None:
        """Keep a finding, unless its rule is skipped or it is known already."""
        if self.wants(rule):
            self._findings[Finding(rule, detail, range)] = None

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.add(finding.rule, finding.range, finding.detail)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In order of lines."""
        return tuple(sorted(self._findings, key=lambda finding: (finding.range.start, finding.rule.name)))

    @property
    def failed(self) -> bool:
        return self.options.error and bool(self._findings)


def _dashed(name: str) -> str:
    out: list[str] = []
    for index, char in enumerate(name):
        starts_word = char.isupper() and (
            index == 0 or not name[index - 1].isupper() or (index + 1 < len(name) and name[index + 1].islower())
        )
        if starts_word and index:
            out.append("-")
        out.append(char.lower())
    return "".join(out)
