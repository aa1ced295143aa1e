"""One build from the command's side, start to end: plan, open, ask, show, and put the result where it belongs."""

from __future__ import annotations

import os
from contextlib import ExitStack

from boatyard.cli.build.flags import Flags
from boatyard.cli.build.offers import Offers
from boatyard.cli.build.plan import Plan, plan, to_stream
from boatyard.cli.connection import daemon, offering
from boatyard.cli.console import Console
from boatyard.cli.exits import NOT_REPRODUCIBLE
from boatyard.cli.failure import tell
from boatyard.cli.follow import follow
from boatyard.cli.render.choice import renderer as choose
from boatyard.cli.render.renderer import Renderer
from boatyard.client.calls import builds
from boatyard.client.documents.builds import BuildResult
from boatyard.client.sync import Client
from boatyard.errors import BoatyardError, CancelledBuildError, InvalidError, SolveError

CANCEL_SECONDS = 10.0
_AT_ITS_BEGIN = "`boat builder debug {ref}` opens a shell where it began"
_LOG = "`boat builder logs {ref}` shows the whole log"


def run(console: Console, flags: Flags) -> int:
    """The exit code. What went wrong before the build began is raised; a failed build is told here, with its step's
    last lines."""
    if flags.on_error:
        from boatyard.cli.terminal import require

        require(console.in_terminal, "--on-error=shell")
    planned = plan(flags, console.environment)
    _check_files(planned, flags)
    if flags.check_reproducible:
        from boatyard.cli.build import reproducible

        reproducible.refuse(planned)
        try:
            with reproducible.checked(
                console, daemon(console), planned, lambda each: _build(console, flags, each)
            ) as final:
                if final is None:
                    return NOT_REPRODUCIBLE
                return _finish(console, flags, final, _build(console, flags, final))
        except _FailedError as failure:
            return failure.code
    try:
        return _finish(console, flags, planned, _build(console, flags, planned))
    except _FailedError as failure:
        return failure.code


class _FailedError(Exception):
    """A build failed, and that was told. Never leaves this module."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _build(console: Console, flags: Flags, planned: Plan) -> BuildResult:
    renderer = choose(console, _mode(flags, planned))
    ref = os.urandom(12).hex()
    try:
        with ExitStack() as stack:
            client = daemon(console)
            channel = stack.enter_context(offering(console, client))
            request = Offers(console, channel, stack).request(planned, flags, ref)
            return follow(
                console,
                client.stream(builds.build(request)),
                renderer,
                cancel=lambda: _cancel(client, ref),
                channel=channel,
            )
    except BoatyardError as error:
        hint = (
            f"{_AT_ITS_BEGIN.format(ref=ref[:12])}, --on-error=shell one where it failed; {_LOG.format(ref=ref[:12])}"
        )
        raise _FailedError(failed(console, error, renderer, hint)) from error


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


def failed(console: Console, error: BoatyardError, renderer: Renderer, hint: str) -> int:
    """A failed step is shown with its last lines, and `hint`: how to look at it."""
    solve = solve_error(error)
    if solve is None or isinstance(error, CancelledBuildError):
        return tell(console, error)
    error.hint = error.hint or hint
    return tell(console, error, log=renderer.log_of(solve.vertex), step=solve.vertex_name)


def look_at(ref: str) -> str:
    """How to look at a build that failed."""
    return f"{_AT_ITS_BEGIN.format(ref=ref[:12])}; {_LOG.format(ref=ref[:12])}"


def solve_error(error: BaseException | None) -> SolveError | None:
    while error is not None:
        if isinstance(error, SolveError):
            return error
        error = error.__cause__
    return None


def _finish(console: Console, flags: Flags, planned: Plan, result: BuildResult) -> int:
    if planned.call:
        from boatyard.cli.build.answer import answer

        return answer(console, planned, result)
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
