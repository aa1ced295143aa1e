"""The answer to `--check`: what lint found, and what would fail the build."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.excerpt import excerpt
from boatyard.build.frontend.dockerfile.outline import Location, location
from boatyard.errors import BoatyardError, BuildError

if TYPE_CHECKING:
    from boatyard.build.frontend.dockerfile.lint import Finding


class CheckWarning(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    rule_name: str
    description: str = ""
    url: str = ""
    detail: str = ""
    location: Location | None = None


class CheckError(msgspec.Struct, frozen=True, omit_defaults=True):
    """`hint` is ours: BuildKit's document has none."""

    message: str
    location: Location
    hint: str = ""


class SourceInfo(msgspec.Struct, frozen=True):
    filename: str
    language: str
    data: bytes


class CheckResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """BuildKit's answer to `frontend.lint`."""

    warnings: tuple[CheckWarning, ...] | None
    sources: tuple[SourceInfo, ...]
    build_error: CheckError | None = msgspec.field(default=None, name="buildError")

    @property
    def status(self) -> int:
        """Of a command that shows it."""
        return 1 if self.warnings or self.build_error else 0


def check_result(
    filename: str, source: bytes, findings: Iterable[Finding], error: BoatyardError | None = None
) -> CheckResult:
    warnings = tuple(
        CheckWarning(
            rule_name=finding.rule.name,
            description=finding.rule.description,
            url=finding.rule.url,
            detail=finding.detail,
            location=location(finding.range),
        )
        for finding in findings
    )
    return told(filename, source, warnings, error, language="Dockerfile")


def told(
    filename: str,
    source: bytes,
    warnings: tuple[CheckWarning, ...],
    error: BoatyardError | None = None,
    *,
    language: str = "",
) -> CheckResult:
    return CheckResult(warnings or None, (SourceInfo(filename, language, source),), _error(error) if error else None)


def _error(error: BoatyardError) -> CheckError:
    place = error.source if isinstance(error, BuildError) else None
    found = location(Range(place.start, place.end)) if place else Location(())
    return CheckError(error.message, found, error.hint or "")


def as_text(result: CheckResult) -> str:
    """For people: each finding with its lines. The error isn't among them: clients print it themselves."""
    info = result.sources[0]
    text = info.data.decode("utf-8", "replace")
    blocks = []
    for warning in result.warnings or ():
        title = f"WARNING: {warning.rule_name}" + (f" - {warning.url}" if warning.url else "")
        lines = ""
        if warning.location is not None and warning.location.ranges:
            place = warning.location.ranges[0]
            lines = excerpt(info.filename, text, place.start.line, place.end.line)
        blocks.append(f"\n{title}\n{warning.detail}\n\n{lines}")
    return "".join(blocks)
