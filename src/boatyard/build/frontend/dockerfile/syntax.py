"""Which frontend reads the file: this one, an image, a function in Python.

    # syntax=docker/dockerfile:1       this one, whatever the version, unless the daemon's configuration insists
    # syntax=example/frontend:2        that image, run by `gateway.v0`
    # syntax=python:NAME               an installed Python package, run by `python.v0`
    # syntax=python:./frontend.py      a file of the context, by `python.v0`; only when the client grants it

The build argument BUILDKIT_SYNTAX stands in the place of the directive; `dockerfile.v0` is this one.

Specification: BuildKit's options source and cmdline (reference/builder.md 5.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from boatyard.build.frontend.base import Bridge, FrontendRequest, FrontendResult
from boatyard.build.frontend.dockerfile.ast import Range, Source
from boatyard.build.frontend.dockerfile.context import BuildContext
from boatyard.build.frontend.dockerfile.directives import detect_syntax
from boatyard.build.frontend.dockerfile.options import BuildOptions
from boatyard.errors import BoatyardError, BuildError, DeniedError, InvalidError
from boatyard.image import reference as references

BUILT_IN = "dockerfile.v0"
GATEWAY = "gateway.v0"
PYTHON = "python.v0"
PYTHON_SCHEME = "python:"
PYTHON_ENTITLEMENT = "frontend.python"
"""What a client grants when files of its context may be frontends."""

ARGUMENT = "BUILDKIT_SYNTAX"
_OURS = ("docker/dockerfile", "docker/dockerfile-upstream")


@dataclass(frozen=True, slots=True)
class Choice:
    """`frontend` is its name for the builder, `source` what it is to run, `cmdline` the whole of what was asked for.
    `range`: the directive; None when the request asked for it."""

    frontend: str
    source: str
    cmdline: str
    range: Range | None = None

    @property
    def is_file(self) -> bool:
        """Whether code of the client's context would run."""
        return self.frontend == PYTHON and self.source.partition(":")[0].endswith(".py")


def choose(options: BuildOptions, context: BuildContext, *, insist: bool) -> Choice | None:
    """None: this one. `cmdline` among the options: the choice was made already, by whoever forwarded the request.
    `insist`: images of Dockerfile frontends are run, too."""
    if "cmdline" in options.raw:
        return None
    if forced := options.arguments.get(ARGUMENT, "").strip():
        return _choice(forced.split(" ", 1)[0], forced, None, insist)
    directive = detect_syntax(context.dockerfile)
    return None if directive is None else _choice(directive.word, directive.value, directive.range, insist)


def _choice(word: str, cmdline: str, range: Range | None, insist: bool) -> Choice | None:
    if word == BUILT_IN or (not insist and _is_ours(word)):
        return None
    if word.startswith(PYTHON_SCHEME):
        return Choice(PYTHON, word.removeprefix(PYTHON_SCHEME), cmdline, range)
    return Choice(GATEWAY, word, cmdline, range)


def _is_ours(name: str) -> bool:
    try:
        return references.parse(name).path in _OURS
    except InvalidError:
        return False


async def forward(bridge: Bridge, request: FrontendRequest, context: BuildContext, choice: Choice) -> FrontendResult:
    """What the chosen frontend makes of the request. What keeps it from running is told with the directive's line."""
    options = {**request.options, "source": choice.source, "cmdline": choice.cmdline}
    try:
        if choice.is_file and choice.range is not None and PYTHON_ENTITLEMENT not in bridge.entitlements:
            raise DeniedError(
                f"{context.filename} names the Python file {choice.source} as its frontend, "
                "and this build was not allowed to run it",
                hint=f"look into it, then pass `--allow {PYTHON_ENTITLEMENT}` "
                f"(other clients: --build-arg {ARGUMENT}={PYTHON_SCHEME}{choice.source})",
            )
        return await bridge.run_frontend(choice.frontend, FrontendRequest(options, request.inputs))
    except BuildError:
        raise  # it has places of its own
    except BoatyardError as error:
        if choice.range is None:
            raise
        way_out = f"--build-arg {ARGUMENT}={BUILT_IN} reads the file with the built-in frontend"
        hint = error.hint if choice.is_file else "; ".join(filter(None, (error.hint, way_out)))
        text = Source(context.filename, context.dockerfile.decode("utf-8", "replace"))
        raise text.error(error.message, choice.range, hint=hint) from error
