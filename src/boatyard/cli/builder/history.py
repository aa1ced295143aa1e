"""`boat builder history`, `logs` and `cancel`: builds of the past, and those running now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from boatyard.cli import units
from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.image.names import moment
from boatyard.cli.listing import each, format_option, quiet_option, show
from boatyard.cli.render.lines import one_line
from boatyard.cli.table import table
from boatyard.client.calls import builds
from boatyard.client.documents.builds import BuildDelete, BuildDetail, BuildStep, BuildSummary
from boatyard.errors import InvalidError

_HEADERS = {
    "ID": "BUILD ID",
    "Name": "NAME",
    "Status": "STATUS",
    "CreatedSince": "CREATED",
    "Duration": "DURATION",
    "Steps": "STEPS",
}
STATES = ("running", "completed", "failed", "cancelled")


@click.command("history", context_settings=SETTINGS)
@click.argument("refs", nargs=-1, metavar="[BUILD...]")
@click.option("-n", "--limit", type=click.IntRange(min=0), default=0, metavar="N", help="Only the newest N.")
@click.option("--status", type=click.Choice(STATES), default=None, help="Only builds in this state.")
@click.option("--rm", "remove", is_flag=True, help="Remove the builds named, with their logs.")
@click.option("--all", "everything", is_flag=True, help="With --rm: every build of the past.")
@click.option("--no-trunc", is_flag=True, help="Show IDs in full.")
@quiet_option("IDs")
@format_option
@click.pass_obj
def history(
    console: Console,
    refs: tuple[str, ...],
    limit: int,
    status: str | None,
    remove: bool,
    everything: bool,
    no_trunc: bool,
    quiet: bool,
    form: str,
) -> None:
    """List past builds; with BUILD (an ID, its beginning, or `latest`), show all that is known of it."""
    if remove or everything:
        _remove(console, refs, remove=remove, everything=everything)
        return
    client = daemon(console)
    now = time.time()
    if refs and not quiet:
        details = [client.call(builds.inspect_build(ref)) for ref in refs]
        if form == "table":
            each(console, (line for detail in details for line in _details(detail, now)))
        else:
            show(console, [_detail_row(detail, now) for detail in details], _HEADERS, form)
        return
    found = client.call(builds.list_builds(limit=limit, status=status or "")).builds
    rows = [_row(build, now, full=no_trunc) for build in found]
    show(console, rows, _HEADERS, form, quiet="ID" if quiet else "")


@click.command("logs", context_settings=SETTINGS)
@click.argument("ref", default="latest", metavar="[BUILD]")
@click.option("-f", "--follow", is_flag=True, help="Go on until a running build ends.")
@click.option(
    "--progress", type=click.Choice(["plain", "rawjson"]), default="plain", help="How it is shown (default: plain)."
)
@click.pass_obj
def logs(console: Console, ref: str, follow: bool, progress: str) -> None:
    """Show the log of a build: an ID, its beginning, or `latest` (the default)."""
    from boatyard.cli.render.plain import PlainRenderer
    from boatyard.cli.render.rawjson import RawJsonRenderer
    from boatyard.cli.render.renderer import Renderer
    from boatyard.client.documents.envelope import StartedEvent, TerminalEvent

    shown: Renderer
    if progress == "rawjson":
        shown = RawJsonRenderer(console.out)
    else:
        shown = PlainRenderer(console.out, console.out_style, raw=not console.out_terminal, details=console.debug)
    with daemon(console).stream(builds.build_logs(ref, follow=follow)) as stream:
        for event in stream:
            if not isinstance(event, TerminalEvent | StartedEvent):
                shown.event(event)
    shown.close()


@click.command("cancel", context_settings=SETTINGS)
@click.argument("refs", nargs=-1, required=True, metavar="BUILD...")
@click.pass_obj
def cancel(console: Console, refs: tuple[str, ...]) -> None:
    """End running builds."""
    client = daemon(console)
    for ref in refs:
        console.out(f"{client.call(builds.cancel_build(ref)).ref}\n")


def _remove(console: Console, refs: tuple[str, ...], *, remove: bool, everything: bool) -> None:
    if not remove:
        raise InvalidError("--all goes with --rm only", hint="all builds are listed without it")
    if bool(refs) == everything:
        raise InvalidError("--rm needs the builds to remove, or --all", hint="`boat builder history` lists them")
    deleted = daemon(console).call(builds.delete_builds(BuildDelete(refs=refs, all=everything)))
    each(console, deleted.refs)


def _row(build: BuildSummary, now: float, *, full: bool) -> dict[str, Any]:
    return {
        "ID": build.ref if full else build.ref[:12],
        "Ref": build.ref,
        "Name": one_line(build.name),
        "Status": build.status.capitalize(),
        "CreatedSince": units.age(build.started, now),
        "CreatedAt": moment(build.started),
        "CompletedAt": moment(build.completed),
        "Duration": units.seconds((build.completed or now) - build.started),
        "Steps": f"{build.completed_steps}/{build.steps} ({build.cached_steps} cached)",
        "CachedSteps": build.cached_steps,
        "CompletedSteps": build.completed_steps,
        "TotalSteps": build.steps,
        "Warnings": build.warnings,
        "Error": build.error.message if build.error else "",
    }


def _detail_row(build: BuildDetail, now: float) -> dict[str, Any]:
    return {
        **_row(build, now, full=True),
        "Attrs": dict(build.frontend_attrs),
        "Locals": dict(build.locals),
        "Response": dict(build.response),
        "StepList": [_step_row(step) for step in build.step_list],
        "Materials": [dict(material) for material in build.materials],
    }


def _step_row(step: BuildStep) -> dict[str, Any]:
    duration = None if step.started is None or step.completed is None else step.completed - step.started
    state = "error" if step.error else "skipped" if step.skipped else "cached" if step.cached else "done"
    return {
        "Number": step.number,
        "Vertex": step.vertex,
        "Name": one_line(step.name),
        "State": state if step.completed is not None else "unfinished",
        "Duration": "" if duration is None else units.seconds(duration),
        "Error": step.error,
        "Debuggable": step.debuggable,
    }


def _details(build: BuildDetail, now: float) -> Iterator[str]:
    row = _row(build, now, full=True)
    fields = {name: row[name] for name in ("Ref", "Name", "Status", "CreatedAt", "Duration", "Steps")}
    fields |= {f"Local {name}": path for name, path in build.locals.items()}
    fields |= {
        name: value for name, value in sorted(build.frontend_attrs.items()) if name not in ("context", "filename")
    }
    fields |= dict(sorted(build.response.items()))
    yield from table([[f"{name}:", one_line(str(value))] for name, value in fields.items()])
    yield ""
    steps = [_step_row(step) for step in build.step_list]
    heads = ["#", "STATE", "DURATION", "STEP"]
    yield from table([heads, *([str(s["Number"]), s["State"], s["Duration"], s["Name"]] for s in steps)])
    for explanation in build.explain:
        yield f"not cached: {one_line(explanation.name)}: {'; '.join(explanation.reasons)}"
    if build.error:
        yield f"error: {one_line(build.error.message)}"
