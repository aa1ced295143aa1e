"""Definitions that are elsewhere: in a git repository, or at a URL.

The daemon fetches them, as it fetches contexts: a build copies the files by the names that are looked for into a
directory of this side's. Where the URL is of a single file, that file is the definition.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory

from boatyard.bake import files
from boatyard.bake.source import Source, decode
from boatyard.cli.bake.flags import BakeFlags
from boatyard.cli.build.flags import Flags
from boatyard.cli.build.offers import Offers
from boatyard.cli.build.plan import plan
from boatyard.cli.build.session import failed, look_at
from boatyard.cli.connection import daemon, descriptors
from boatyard.cli.console import Console
from boatyard.cli.follow import follow
from boatyard.cli.render.choice import renderer as choose
from boatyard.client.calls import builds
from boatyard.errors import BoatyardError, NotFoundError

_HERE = "cwd://"
_ONE_FILE = "context"
"""What a download that is no archive is called in a context."""
_WHAT = "the definition"


def fetch(console: Console, flags: BakeFlags, url: str) -> list[Source] | int:
    """The files, those of this side (`-f cwd://FILE`) last; or the exit code of what was told to have failed."""
    names = flags.file or files.named((), console.environment)
    there = [name for name in names if not name.startswith(_HERE)]
    here = [name.removeprefix(_HERE) for name in names if name.startswith(_HERE)]
    with TemporaryDirectory(prefix="boat-") as directory:
        code = _copied(console, flags, url, there or files.DEFAULT_NAMES, directory)
        if code:
            return code
        found = _read(directory, there, url)
    return [*found, *(files.read(here, os.getcwd(), sys.stdin.buffer) if here else ())]


def _copied(console: Console, flags: BakeFlags, url: str, names: Sequence[str], directory: str) -> int:
    """Build a directory with these files of the URL's in it. The exit code."""
    wanted = Flags(
        context=url,
        dockerfile=_dockerfile(names),
        output=(f"type=local,dest={directory}",),
        pull=bool(flags.pull),
        ssh=("default",) if url.startswith(("git@", "ssh://")) else (),
    )
    planned = plan(wanted, console.environment)
    renderer = choose(console, flags.progress)
    ref = os.urandom(12).hex()
    try:
        with ExitStack() as stack:
            client = daemon(console)
            channel = stack.enter_context(descriptors(client))
            request = Offers(console, channel, stack).request(planned, wanted, ref, label=_WHAT)
            follow(
                console,
                client.stream(builds.build(request)),
                renderer,
                cancel=lambda: client.call(builds.cancel_build(ref)),
            )
    except BoatyardError as error:
        return failed(console, error, renderer, look_at(ref))
    return 0


def _dockerfile(names: Sequence[str]) -> str:
    """Copies each of these files that is there: a pattern may match nothing, and keeps the file in its directory."""
    lines = ["FROM scratch"]
    for name in (*names, _ONE_FILE):
        path = os.path.normpath("/" + name).lstrip("/")
        pattern = path.replace("[", "[[]")[:-1] + f"[{path[-1]}]"
        lines.append(
            f"COPY {json.dumps([pattern, '/' + (os.path.dirname(path) + '/' if os.path.dirname(path) else '')])}"
        )
    return "\n".join(lines) + "\n"


def _read(directory: str, names: Sequence[str], url: str) -> list[Source]:
    """Named files must all be there."""
    single = os.path.join(directory, _ONE_FILE)
    if os.path.isfile(single) and not os.path.islink(single):
        return [_decoded(single, os.path.basename(url.rstrip("/")) or url)]
    found = []
    for name in names or files.DEFAULT_NAMES:
        path = os.path.join(directory, os.path.normpath("/" + name).lstrip("/"))
        if os.path.isfile(path) and not os.path.islink(path):
            found.append(_decoded(path, name))
        elif names:
            raise NotFoundError(f"there is no file {name!r} at {url}", hint="-f cwd://FILE names one that is here")
    if not found:
        raise NotFoundError(
            f"there is no build definition at {url}: no docker-bake.hcl, docker-bake.json or compose.yaml",
            hint="name it with -f FILE",
        )
    return found


def _decoded(path: str, name: str) -> Source:
    with open(path, "rb") as file:
        return decode(name, file.read(files.LARGEST))
