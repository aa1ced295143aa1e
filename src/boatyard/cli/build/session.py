"""One build from the command's side, start to end: plan, open, ask, show, and put the result where it belongs."""

from __future__ import annotations

import os
from contextlib import ExitStack

from boatyard.cli.build.flags import Flags
from boatyard.cli.build.offers import Offers
from boatyard.cli.build.plan import Plan, plan, to_stream
from boatyard.cli.connection import daemon, descriptors
from boatyard.cli.console import Console
from boatyard.cli.failure import tell
from boatyard.cli.follow import follow
from boatyard.cli.render.choice import renderer as choose
from boatyard.cli.render.renderer import Renderer
from boatyard.client.calls import builds
from boatyard.client.documents.builds import BuildResult
from boatyard.client.sync import Client
from boatyard.errors import BoatyardError, CancelledBuildError, InvalidError, SolveError

CANCEL_SECONDS = 10.0


def run(console: Console, flags: Flags) -> int:
    """The exit code. What went wrong before the build began is raised; a failed build is told here, with its step's
    last lines."""
    if flags.on_error:
        from boatyard.cli.terminal import require

        require(console.in_terminal, "--on-error=shell")
    planned = plan(flags, console.environment)
    _check_files(planned, flags)
    renderer = choose(console, _mode(flags, planned))
    ref = os.urandom(12).hex()
    try:
        with ExitStack() as stack:
            client = daemon(console)
            channel = stack.enter_context(descriptors(client))
            request = Offers(console, channel, stack).request(planned, flags, ref)
            result = follow(
                console,
                client.stream(builds.build(request)),
                renderer,
                cancel=lambda: _cancel(client, ref),
                channel=channel,
            )
    except BoatyardError as error:
        return _failed(console, error, renderer, request_ref=ref)
    return _finish(console, flags, planned, result)


def _mode(flags: Flags, planned: Plan) -> str:
    if flags.quiet:
        return "quiet"
    # What a subrequest answers is the result; its few steps are of no interest.
    return "quiet" if planned.call and flags.progress == "auto" else flags.progress


def _check_files(planned: Plan, flags: Flags) -> None:
    image = any(output.type in ("image", "oci", "docker") for output in planned.outputs)
    if flags.iidfile and not image:
        raise InvalidError("--iidfile: this build makes no image", hint="leave it out, or add --load")


def _cancel(client: Client, ref: str) -> None:
    client.call(builds.cancel_build(ref), timeout=CANCEL_SECONDS)


def _failed(console: Console, error: BoatyardError, renderer: Renderer, *, request_ref: str) -> int:
    """A failed step is shown with its last lines, and how to look at it."""
    solve = _solve_error(error)
    if solve is None or isinstance(error, CancelledBuildError):
        return tell(console, error)
    if not error.hint:
        ref = request_ref[:12]
        error.hint = (
            f"`boat builder debug {ref}` opens a shell where it began, --on-error=shell one where it failed; "
            f"`boat builder logs {ref}` shows the whole log"
        )
    return tell(console, error, log=renderer.log_of(solve.vertex), step=solve.vertex_name)


def _solve_error(error: BaseException | None) -> SolveError | None:
    while error is not None:
        if isinstance(error, SolveError):
            return error
        error = error.__cause__
    return None


def _finish(console: Console, flags: Flags, planned: Plan, result: BuildResult) -> int:
    if planned.call:
        return _answer(console, planned, result)
    from boatyard.cli.build import report

    image_id = result.response.get("containerimage.config.digest") or result.response.get("containerimage.digest", "")
    if flags.iidfile:
        report.write_text(flags.iidfile, image_id)
    if flags.metadata_file:
        report.write_metadata(flags.metadata_file, result)
    if flags.context_report:
        say = console.err if any(map(to_stream, planned.outputs)) or flags.quiet else console.out
        say("".join(line + "\n" for line in report.context_lines(result.context_reports)))
    if flags.quiet and image_id:
        console.out(image_id + "\n")
    return 0


def _answer(console: Console, planned: Plan, result: BuildResult) -> int:
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
    status = result.metadata.get("result.statuscode", "0")
    return int(status) if status.isdigit() else 1
