"""What is left to say when a build is over: warnings, and with `--explain` why steps were not cached."""

from __future__ import annotations

from collections.abc import Iterator

from boatyard.cli.render.lines import LogTail, harmless, one_line
from boatyard.cli.render.steps import Steps
from boatyard.cli.style import Style
from boatyard.progress import ExplainEvent, WarningEvent

LOG_LINES = 20
"""Of a failed step's output."""


def lines(steps: Steps, style: Style, *, details: bool = False) -> Iterator[str]:
    """`details` adds a warning's explanation and address to its one line."""
    if steps.explanations:
        yield from explanations(steps.explanations, style)
    if steps.warnings:
        yield from warnings(steps.warnings, style, details=details)


def failure(steps: Steps, style: Style) -> list[str]:
    """The step that failed last, with its last output. A shell may open before its step is told to have failed: then
    it is the one that runs.
    """
    failed = [step for step in steps if step.error and not step.cancelled]
    if not failed and len(steps.running) == 1:
        failed = steps.running
    return list(output(failed[-1].log, failed[-1].name, style)) if failed else []


def output(log: LogTail, step: str, style: Style) -> Iterator[str]:
    """A step's name and the last lines it printed; how many there were before them is said."""
    shown = log.last(LOG_LINES)
    yield style.strong(f"> {one_line(step)}:" if step else "> last output:")
    hidden = log.seen - len(shown)
    if hidden > 0:
        yield style.dim(
            f"  … {hidden} earlier line{'s' if hidden != 1 else ''} not shown (`boat builder logs` has all)"
        )
    yield from (f"  {style.dim('|')} {harmless(line, colour=style.colour)}" for line in shown)


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
