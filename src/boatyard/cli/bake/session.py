"""All builds of one `boat bake`, start to end: resolve, plan, open, ask, show.

Each target is a build of its own, with a request of its own; they run at the same time, and the daemon does what they
share once. A target that is linked to others carries those in its request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from boatyard.bake import places, printed
from boatyard.bake.resolution import Resolved
from boatyard.cli.bake import allowance, definitions, lists
from boatyard.cli.bake.flags import BakeFlags
from boatyard.cli.bake.streams import Gathered
from boatyard.cli.bake.targets import Planned, named, plans
from boatyard.cli.build.offers import Offers
from boatyard.cli.build.session import CANCEL_SECONDS, failed, look_at, solve_error
from boatyard.cli.connection import daemon, offering
from boatyard.cli.console import Console
from boatyard.cli.follow import follow
from boatyard.cli.render.choice import renderer as choose
from boatyard.cli.render.renderer import Renderer
from boatyard.client.calls import builds
from boatyard.client.documents.builds import BuildRequest, BuildResult
from boatyard.client.offering import Offering
from boatyard.errors import BoatyardError, CancelledBuildError, ConflictError, InvalidError, NotFoundError


def run(console: Console, flags: BakeFlags) -> int:
    """The exit code. What went wrong before the builds began is raised; a failed build is told here."""
    if flags.print_only and flags.list:
        raise InvalidError("--print and --list exclude each other")
    url, _, _ = definitions.addressed(flags.targets)
    sources = None
    if url:
        from boatyard.cli.bake.remote import fetch

        fetched = fetch(console, flags, url)
        if isinstance(fetched, int):
            return fetched
        sources = fetched
    loaded = definitions.load(console, flags, sources)
    if flags.list:
        lists.show(console, loaded.definition, flags.list)
        return 0
    resolved = definitions.resolve(loaded, flags)
    if flags.print_only:
        console.out(printed.written(printed.resolved(resolved)))
        return 0
    if not resolved.asked:
        raise NotFoundError("there is nothing to build: the groups have no targets in them")
    resolved = places.reached(resolved, url)
    directory = loaded.outside.directory
    allowance.require(console, resolved.targets.values(), allowance.parse(flags.allow, directory), directory)
    planned = plans(resolved, flags, console.environment)
    return _build(console, flags, resolved, planned)


def _build(console: Console, flags: BakeFlags, resolved: Resolved, planned: list[Planned]) -> int:
    questions = all(each.plan.call for each in planned)
    renderer = choose(console, "quiet" if questions and flags.progress == "auto" else flags.progress)
    refs = {each.target.name: os.urandom(12).hex() for each in planned}
    failing = ""
    try:
        with ExitStack() as stack:
            client = daemon(console)
            channel = stack.enter_context(offering(console, client))
            outputs = {name: stack.push(ExitStack()) for name in refs}
            requests = _requests(console, channel, planned, refs, outputs)

            def cancel(name: str) -> None:
                client.call(builds.cancel_build(refs[name]), timeout=CANCEL_SECONDS)

            streams = {name: client.stream(builds.build(request)) for name, request in requests.items()}
            gathered = Gathered(streams, cancel, lambda name: outputs[name].close())
            try:
                results = follow(console, gathered, renderer, cancel=lambda: _cancel_all(refs, cancel))
            except BoatyardError:
                failing = gathered.failed
                raise
    except BoatyardError as error:
        return _failed(console, error, renderer, failing, refs)
    return _finish(console, flags, resolved, planned, results)


def _requests(
    console: Console,
    channel: Offering,
    planned: list[Planned],
    refs: Mapping[str, str],
    outputs: Mapping[str, ExitStack],
) -> dict[str, BuildRequest]:
    """What each build may touch on this side is opened here."""
    group = os.urandom(12).hex()
    requests = {}
    for each in planned:
        name = each.target.name
        offers = Offers(console, channel, outputs[name])
        try:
            linked = {id: offers.linked(plan) for id, plan in each.linked.items()}
            requests[name] = offers.request(
                each.plan,
                each.flags,
                refs[name],
                label=name if len(planned) > 1 or each.linked else "",
                group=group,
                linked=linked,
            )
        except BoatyardError as error:
            raise named(error, name) from error.__cause__
    return requests


def _cancel_all(refs: Mapping[str, str], cancel: Callable[[str], None]) -> None:
    for name in refs:
        try:
            cancel(name)
        except (ConflictError, NotFoundError):
            continue  # it has ended by itself, or not begun


def _failed(console: Console, error: BoatyardError, renderer: Renderer, failing: str, refs: Mapping[str, str]) -> int:
    """The target is named, by the name of its step where one failed."""
    if not failing:
        return failed(console, error, renderer, "")
    if solve_error(error) is None and not isinstance(error, CancelledBuildError):
        error = named(error, failing)
    return failed(console, error, renderer, look_at(refs[failing]))


def _finish(
    console: Console, flags: BakeFlags, resolved: Resolved, planned: list[Planned], results: Mapping[str, BuildResult]
) -> int:
    if flags.metadata_file:
        from boatyard.cli.build import report

        known = {name: report.metadata(results[name]) for name in sorted(results)}
        report.write_json(flags.metadata_file, known)
    asked = [each for each in planned if each.plan.call]
    if not asked:
        return 0
    from boatyard.cli.bake.answers import show

    return show(console, resolved, asked, results)
