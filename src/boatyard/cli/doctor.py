"""`boat doctor`: what works on this host, what is missing, and the command that brings it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.render.lines import harmless
from boatyard.cli.style import Style
from boatyard.client.calls import system
from boatyard.client.documents.system import Check
from boatyard.client.places import Places, places
from boatyard.errors import BoatyardError

ANSWER_SECONDS = 60.0


@click.command("doctor", context_settings=SETTINGS)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="text or json.")
@click.pass_obj
def doctor(console: Console, form: str) -> int:
    """Say what works on this host, what is missing, and what brings it.

    The exit code is 1 when something that boatyard needs is missing.
    """
    checks = _checks(console)
    if form == "json":
        console.out(json.dumps([_document(check) for check in checks], ensure_ascii=False) + "\n")
    else:
        console.out("".join(line + "\n" for line in _lines(checks, console.out_style)))
    return 1 if any(check.status == "failed" for check in checks) else 0


def _checks(console: Console) -> Sequence[Check]:
    """The daemon's own findings: it runs the steps, so what counts is what it can do. Without it, what can be seen
    from here.
    """
    try:
        found = daemon(console).call(system.doctor(), timeout=ANSWER_SECONDS)
    except BoatyardError as error:
        failed = Check(name="daemon", status="failed", detail=error.message, hint=error.hint or "")
        return [failed, *host_checks(places(console.environment, os.geteuid()))]
    return [Check(name="daemon", status="ok", detail="answers"), *found.checks]


def host_checks(here: Places) -> Sequence[Check]:
    """What can be seen without the daemon, as its documents tell it."""
    from boatyard.runtime import capabilities, cgroups
    from boatyard.runtime import doctor as host

    root = Path(here.root)
    root = next((path for path in (root, *root.parents) if path.exists()), root)
    found = [
        host.control_groups(cgroups.detect()),
        host.system_calls(),
        host.privileges(capabilities.bounding()),
        host.open_files(),
        *host.tools(),
        host.emulators(),
        host.user_namespaces(),
        host.fuse(),
        host.certificates(),
        host.space(root),
    ]
    words = {host.Status.OK: "ok", host.Status.WARN: "warning", host.Status.FAIL: "failed"}
    return [Check(name=seen.name, status=words[seen.status], detail=seen.detail, hint=seen.fix) for seen in found]


def _document(check: Check) -> dict[str, str]:
    return {"name": check.name, "status": check.status, "detail": check.detail, "hint": check.hint}


def _lines(checks: Sequence[Check], style: Style) -> Iterator[str]:
    marks = {"ok": style.good("ok     "), "warning": style.caution("warning"), "failed": style.bad("failed ")}
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        first, *rest = harmless_lines(check.detail)
        yield f"{marks.get(check.status, check.status.ljust(7))}  {check.name.ljust(width)}  {first}".rstrip()
        indent = " " * (11 + width)
        yield from (indent + line for line in rest)
        if check.hint and check.status != "ok":
            yield from (f"{indent}{style.dim('fix:')} {line}" for line in harmless_lines(check.hint))
    wrong = sum(check.status == "failed" for check in checks)
    odd = sum(check.status == "warning" for check in checks)
    yield ""
    verdict = "everything needed is here" if not wrong else f"{wrong} thing{'s' if wrong > 1 else ''} missing"
    yield style.strong(f"{verdict}, {odd} warning{'s' if odd != 1 else ''}")


def harmless_lines(text: str) -> list[str]:
    return [harmless(line) for line in text.splitlines()] or [""]
