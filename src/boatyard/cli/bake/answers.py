"""What frontends answered for several targets: one after the other as texts, or all as one JSON document.

Specification: docker/buildx, commands/bake.go (the forms of `bake --call`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boatyard.bake import printed
from boatyard.bake.resolution import Resolved
from boatyard.cli.bake.targets import Planned
from boatyard.cli.build.answer import answer, document, status
from boatyard.cli.console import Console
from boatyard.client.documents.builds import BuildResult


def show(console: Console, resolved: Resolved, asked: Sequence[Planned], results: Mapping[str, BuildResult]) -> int:
    """The exit code: the first that isn't zero."""
    ordered = sorted(asked, key=lambda each: each.target.name)
    if any(each.plan.call_format == "json" for each in ordered):
        return _as_json(console, resolved, ordered, results)
    code = 0
    for place, each in enumerate(ordered):
        console.out("\n" if place else "")
        console.out(f"{each.target.name}\n{each.target.description + chr(10) if each.target.description else ''}\n")
        code = answer(console, each.plan, results[each.target.name]) or code
    return code


def _as_json(console: Console, resolved: Resolved, asked: Sequence[Planned], results: Mapping[str, BuildResult]) -> int:
    whole = printed.resolved(resolved)
    answers = {each.target.name: each for each in asked}
    targets: dict[str, object] = {}
    code = 0
    for name, target in sorted(resolved.targets.items()):
        shown: dict[str, object] = {"build": printed.target_document(target)}
        if name in answers:
            call = answers[name].plan.call
            shown["check" if call == "lint" else call] = document(results[name])
            code = code or status(results[name])
        targets[name] = shown
    console.out(printed.written({**whole, "target": targets}))
    return code
