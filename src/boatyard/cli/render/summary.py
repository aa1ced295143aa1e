"""What is left to say when a build is over: warnings, and with `--explain` why steps were not cached."""

from __future__ import annotations

from collections.abc import Iterator

from boatyard.cli.render.lines import harmless, one_line
from boatyard.cli.render.steps import Steps
from boatyard.cli.style import Style
from boatyard.progress import ExplainEvent, WarningEvent


def lines(steps: Steps, style: Style, *, details: bool = False) -> Iterator[str]:
    """`details` adds a warning's explanation and address to its one line."""
    if steps.explanations:
        yield from explanations(steps.explanations, style)
    if steps.warnings:
        yield from warnings(steps.warnings, style, details=details)


def warnings(found: list[WarningEvent], style: Style, *, details: bool) -> Iterator[str]:
    """The same remark made twice (by two platforms, say) is shown once."""
    unique = list(dict.fromkeys(found))
    hint = "" if details or not any(warning.detail for warning in unique) else " (use --debug to expand)"
    yield ""
    yield style.caution(f"{len(unique)} warning{'s' if len(unique) != 1 else ''}{hint}:")
    for warning in unique:
        code = f"{harmless(warning.code)}: " if warning.code else ""
        yield f" - {style.strong(code)}{harmless(warning.short)}{_place(warning)}"
        if details:
            for text in (*warning.detail.splitlines(), warning.url):
                if text:
                    yield f"   {harmless(text)}"


def _place(warning: WarningEvent) -> str:
    if not warning.filename:
        return f" (line {warning.range.start})" if warning.range else ""
    line = f":{warning.range.start}" if warning.range else ""
    return f" ({harmless(warning.filename)}{line})"


def explanations(found: list[ExplainEvent], style: Style) -> Iterator[str]:
    yield ""
    yield style.strong("Not cached, because:")
    for explanation in found:
        yield f" {style.note(one_line(explanation.name))}"
        for reason in explanation.reasons:
            for text in reason.splitlines():
                yield f"   {harmless(text)}"
