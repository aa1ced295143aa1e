"""`boat-buildkitd`: the program.

Exit codes are those of boatd: 0 after an orderly stop, 1 for an error, 2 for wrong flags, 4 when another daemon holds
the root.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import click

from boatyard import BUILDKIT_VERSION, __version__
from boatyard.daemon import main as boatd
from boatyard.daemon.buildkitd import document, flags, translation
from boatyard.errors import BoatyardError, ConflictError

log = logging.getLogger(__name__)

PROGRAM = "boat-buildkitd"
_HELP = """Boatyard's daemon behind buildkitd's command line.

What the flags and the configuration file mean here: docs/reference/buildkitd.md.
"""


def _start(**parameters: Any) -> None:
    given = flags.given(parameters)
    try:
        file = os.path.abspath(given.get("config", translation.FILE))
        found, warnings = document.read(file)
        config, remarks = translation.translate(found, given, os.environ, file=file if os.path.exists(file) else "")
        _refuse_foreign(config.root)

        def ready() -> None:
            # The log is set up by now, and the daemon answers already.
            for warning in (*warnings, *remarks):
                log.warning("%s", warning)

        boatd.run(config, os.environ, autostarted=False, on_ready=ready)
    except BoatyardError as error:
        print(f"{PROGRAM}: {error.message}" + (f"\n  {error.hint}" if error.hint else ""), file=sys.stderr)
        sys.exit(4 if isinstance(error, ConflictError) else 1)


def _refuse_foreign(root: str) -> None:
    """A root that a real buildkitd filled has databases of the same names in another format."""
    try:
        with open(f"{root}/cache.db", "rb") as file:
            head = file.read(16)
    except OSError:
        return  # there is none; what else is wrong with the root is told by whoever uses it
    if head and head != b"SQLite format 3\0":
        raise ConflictError(
            f"the root {root} holds the state of another BuildKit daemon", hint="choose another with --root"
        )


command = click.Command(
    PROGRAM,
    callback=_start,
    params=[*flags.options()],
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
command = click.version_option(
    BUILDKIT_VERSION, "-v", "--version", message=f"{PROGRAM} boatyard %(version)s {__version__}"
)(command)


def main() -> None:
    command(prog_name=PROGRAM)
