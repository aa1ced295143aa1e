"""`boat bake`: the command line."""

from __future__ import annotations

from typing import Any

import click

from boatyard.cli.bake.flags import BakeFlags
from boatyard.cli.console import Console
from boatyard.cli.flagged import FlaggedCommand

_HELP = """Build the targets of a bake file or a compose file, all together.

TARGET is a target or a group of the definition; without any it is `default`. The definition is docker-bake.hcl,
docker-bake.json or a compose file of the working directory, what -f names, or that of a repository whose URL comes
first.

\b
  boat bake                                   build the default group
  boat bake app db                            build two targets
  boat bake --set '*.platform=linux/arm64' app  an attribute of all targets
  boat bake --print                           show what would be built
  boat bake --list=targets                    show what can be built
"""

MODES = ("auto", "tty", "plain", "rawjson", "quiet")


def _text(*names: str, help: str, metavar: str, default: str = "") -> click.Option:
    return click.Option(list(names), help=help, metavar=metavar, default=default)


def _many(*names: str, help: str, metavar: str) -> click.Option:
    return click.Option(list(names), help=help, metavar=metavar, multiple=True)


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(list(names), help=help, is_flag=True)


PARAMETERS: tuple[click.Parameter, ...] = (
    click.Argument(["targets"], nargs=-1, required=False, metavar="[URL] [TARGET]..."),
    _many("-f", "--file", metavar="FILE", help="The definition; may be given several times; - reads standard input."),
    _many("--set", metavar="TARGET.KEY=VALUE", help="Set an attribute; TARGET may have wildcards, += adds."),
    _many("--var", metavar="NAME=VALUE", help="Set a variable of the definition, before the environment does."),
    click.Option(["--print", "print_only"], is_flag=True, help="Show the targets as JSON, build nothing."),
    _text("--list", metavar="targets|variables", help="List targets or variables (type=targets,format=json: as JSON)."),
    _flag("--check", help="Check the Dockerfiles, build nothing."),
    _text("--call", metavar="build|check|outline|targets", help="Ask the frontend something instead."),
    click.Option(["--no-cache"], is_flag=True, default=None, help="Run every step anew."),
    click.Option(["--pull"], is_flag=True, default=None, help="Look for newer base images."),
    _flag("--push", help="Push the images to their registries."),
    _flag("--load", help="Store the images, besides what the targets' outputs say."),
    click.Option(
        ["--progress"], type=click.Choice(MODES), default=None, help="How progress is shown (also: BUILDKIT_PROGRESS)."
    ),
    _text("--metadata-file", metavar="FILE", help="Write what is known of the results there, as JSON."),
    _many(
        "--allow", metavar="ENTITLEMENT", help="Allow network.host, security.insecure, fs.read=DIR, fs.write=DIR, ssh."
    ),
    # Not supported yet: whoever gives one of these is told so.
    click.Option(["--provenance"], default="", hidden=True),
    click.Option(["--sbom"], default="", hidden=True),
    _flag("--explain", help="Tell for each step that ran why it was not cached."),
    click.Option(
        ["--trust-host-ca/--no-trust-host-ca"],
        default=None,
        help="Let RUN trust this host's certificates; nothing is stored.",
    ),
    click.Option(["--builder"], hidden=True, expose_value=False),
    click.Option(["--list-targets"], is_flag=True, hidden=True),
    click.Option(["--list-variables"], is_flag=True, hidden=True),
)


@click.pass_obj
def _bake(console: Console, /, *, list_targets: bool, list_variables: bool, **given: Any) -> int:
    from boatyard.cli.bake.session import run

    given["progress"] = given["progress"] or console.environment.get("BUILDKIT_PROGRESS") or "auto"
    if not given["list"]:
        given["list"] = "targets" if list_targets else "variables" if list_variables else ""
    return run(console, BakeFlags(**given))


bake = FlaggedCommand(
    "bake",
    callback=_bake,
    params=list(PARAMETERS),
    help=_HELP,
    short_help="Build the targets of a bake or compose file",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
