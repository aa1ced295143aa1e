"""A frontend as a program: what is in a frontend image, or in the process that a builder starts for one.

The builder is spoken to over standard input and output; what the frontend prints goes to standard error, which is the
step's log. It ends when it has given its result, or told why there is none.

Specification: moby/buildkit `frontend/gateway/grpcclient` (environment variables, the end of a frontend).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from boatyard.errors import BoatyardError, InvalidError
from boatyard.frontend import answers, context, defect, options
from boatyard.frontend.bridge import Bridge
from boatyard.frontend.context import Context
from boatyard.frontend.options import Options
from boatyard.frontend.problem import status_of, unknown_question
from boatyard.frontend.reference import Solution
from boatyard.frontend.result import Answer, Image, Result

Build = Callable[[Bridge, Options, Context], Awaitable[Result | Image | Solution]]
Ask = Callable[[Bridge, Options, Context], Awaitable[Answer]]

FAILED = 1
"""The exit code of a frontend that told why there is no result."""


@dataclass(frozen=True, slots=True)
class Frontend:
    """A frontend that can be asked, too. `answers`: by the name of the question, as `frontend.lint`. `filename` is
    what it reads when the request names no file."""

    build: Build
    answers: Mapping[str, Ask] = field(default_factory=dict)
    filename: str = ""


def of(found: object, name: str) -> Frontend:
    """What a module or an entry point offers, as a frontend. InvalidError when it is none."""
    if isinstance(found, Frontend):
        return found
    if not asyncio.iscoroutinefunction(found):
        raise InvalidError(
            f"{name} is no frontend, but {found!r}"[:300],
            hint="write `async def frontend(bridge, options, context)`, or `frontend = Frontend(build, answers=...)`",
        )
    return Frontend(found)


def run(find: Callable[[], object], *, environ: Mapping[str, str] = os.environ) -> int:
    """Be a frontend's process. `find` gives the frontend; what it raises is told to the builder, too. The exit
    code."""
    from boatyard.frontend.stdio import take_over

    with take_over() as stdio:
        return asyncio.run(stdio.serve(lambda bridge: serve(find, bridge, options.from_environment(environ))))


async def serve(find: Callable[[], object], bridge: Bridge, raw: Mapping[str, str]) -> int:
    """One request: its result, or what it failed with, is given to the builder."""
    try:
        await bridge.give(await result(of(find(), "what was named"), bridge, raw))
    except (Exception, SystemExit) as error:
        if not isinstance(error, BoatyardError):
            sys.stderr.write(defect.trace(error))
        await bridge.fail(status_of(error))
        return FAILED
    return 0


async def result(frontend: Frontend, bridge: Bridge, raw: Mapping[str, str]) -> Result | Image | Solution | Answer:
    """What a frontend makes of a request's options."""
    given = options.parse(raw)
    if given.question == answers.DESCRIBE:
        return answers.describe(frontend.answers)
    if given.question and given.question not in frontend.answers:
        raise unknown_question(given.question, frontend.answers)
    seen = await context.load(bridge, given, default_filename=frontend.filename)
    if given.question:
        return await frontend.answers[given.question](bridge, given, seen)
    made = await frontend.build(bridge, given, seen)
    if not isinstance(made, Result | Image | Solution):
        raise InvalidError(
            f"the frontend returned {made!r}"[:300], hint="return an Image, or a Result of one image a platform"
        )
    return made
