"""What a frontend answered to `--call` and `--check`."""

from __future__ import annotations

import json

from boatyard.cli.build.plan import Plan
from boatyard.cli.console import Console
from boatyard.cli.failure import tell
from boatyard.client.documents.builds import BuildResult


def answer(console: Console, planned: Plan, result: BuildResult) -> int:
    """What a subrequest found; its status is the exit code."""
    form = "result.json" if planned.call_format == "json" else "result.txt"
    text = result.metadata.get(form, "").lstrip("\n")
    error = None
    if planned.call_format == "text" and planned.call in ("check", "lint"):
        from boatyard.cli.build import check

        error = check.build_error(result.metadata.get("result.json", ""))
        if not text and error is None:
            text = "Check complete, no warnings found."
    console.out(text if text.endswith("\n") or not text else text + "\n")
    if error is not None:
        return tell(console, error)
    return status(result)


def status(result: BuildResult) -> int:
    """The exit code that an answer means."""
    found = result.metadata.get("result.statuscode", "0")
    return int(found) if found.isdigit() else 1


def document(result: BuildResult) -> object:
    """An answer as JSON; its text where it is none."""
    text = result.metadata.get("result.json", "")
    try:
        return json.loads(text)
    except ValueError:
        return result.metadata.get("result.txt", text)
