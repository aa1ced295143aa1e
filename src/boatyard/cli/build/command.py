"""`boat build`: the command line."""

from __future__ import annotations

from typing import Any

import click

from boatyard.cli.build.flags import Flags
from boatyard.cli.console import Console
from boatyard.cli.flagged import FlaggedCommand

_HELP = """Build an image from a Dockerfile.

CONTEXT is a directory, a git repository or a URL, or - for standard input (a tar archive, or a Dockerfile alone).

\b
  boat build -t app .                      build ./Dockerfile as app
  boat build -f - . < Dockerfile           a Dockerfile from standard input
  boat build -o out .                      write the result's files to ./out
  boat build -o type=oci,dest=app.tar .    write an OCI archive
  boat build --explain .                   tell why steps were not cached
  boat build --on-error=shell .            open a shell where a step fails
"""

MODES = ("auto", "tty", "plain", "rawjson", "quiet")


def _option(*names: str, help: str, **attributes: Any) -> click.Option:
    attributes.setdefault("metavar", None if attributes.get("is_flag") else "VALUE")
    return click.Option(list(names), help=help, **attributes)


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(list(names), help=help, is_flag=True)


def _many(*names: str, help: str, metavar: str) -> click.Option:
    return click.Option(list(names), help=help, metavar=metavar, multiple=True)


def _choice(name: str, *words: str, help: str) -> click.Option:
    return click.Option([name], type=click.Choice(words), default=None, help=help)


def _ignored(*names: str, **attributes: Any) -> click.Option:
    """A flag of Docker's that has nothing to do here: taken, so that scripts go on working."""
    return click.Option(list(names), hidden=True, expose_value=False, **attributes)


def _refused(name: str, **attributes: Any) -> click.Option:
    """A flag for something that isn't supported yet: whoever gives it is told so."""
    return click.Option([name], hidden=True, **attributes)


PARAMETERS: tuple[click.Parameter, ...] = (
    click.Argument(["context"], default=".", required=False),
    _option(
        "-f", "--file", metavar="FILE", help="The Dockerfile (default: CONTEXT/Dockerfile); - reads standard input."
    ),
    _many("-t", "--tag", metavar="NAME[:TAG]", help="Name the image; may be given several times."),
    _option("--target", default="", metavar="STAGE", help="Build this stage instead of the last."),
    _many("--build-arg", metavar="NAME[=VALUE]", help="Set an ARG; without a value, take the environment's."),
    _many("--label", metavar="NAME=VALUE", help="Add a label to the image."),
    _many("--annotation", metavar="[TYPE:]KEY=VALUE", help="Add an annotation to the manifest, or to TYPE."),
    _many("--secret", metavar="id=ID[,src=FILE|,env=NAME]", help="Offer a secret to RUN --mount=type=secret."),
    _many("--ssh", metavar="default|ID[=SOCKET|KEY]", help="Offer an SSH agent to RUN --mount=type=ssh."),
    _many("--platform", metavar="OS/ARCH[/VARIANT]", help="Build for these platforms; several make an image index."),
    _many("--build-context", metavar="NAME=PATH|URL", help="Another context, for FROM and --from."),
    _many(
        "-o",
        "--output",
        metavar="DIR|-|type=TYPE[,dest=PATH]",
        help="Where the result goes, instead of the image store.",
    ),
    _flag("--load", help="Store the image, besides what --output says."),
    _flag("--push", help="Push the image to its registry."),
    _many("--cache-from", metavar="type=local,src=DIR", help="Take cached results from there."),
    _many("--cache-to", metavar="type=local,dest=DIR", help="Write cached results there."),
    _flag("--no-cache", help="Run every step anew."),
    _many("--no-cache-filter", metavar="STAGE[,STAGE]", help="Run these stages anew."),
    _flag("--pull", help="Look for newer base images."),
    _choice("--progress", *MODES, help="How progress is shown (default: auto; also: BUILDKIT_PROGRESS)."),
    _flag("-q", "--quiet", help="Print nothing but the image's ID."),
    _option("--iidfile", default="", metavar="FILE", help="Write the image's ID there."),
    _option("--metadata-file", default="", metavar="FILE", help="Write what is known of the result there, as JSON."),
    _many("--add-host", metavar="NAME:ADDRESS", help="Another line of /etc/hosts for RUN."),
    click.Option(
        ["--network"], type=click.Choice(["default", "none", "host"]), default="default", help="RUN's network."
    ),
    _option("--shm-size", default="", metavar="SIZE", help="Size of /dev/shm in RUN (default: 64m)."),
    _many("--ulimit", metavar="NAME=SOFT[:HARD]", help="A limit of RUN's processes."),
    _option("--cgroup-parent", default="", metavar="CGROUP", help="Where RUN's cgroups are made."),
    _many(
        "--allow",
        metavar="ENTITLEMENT",
        help="Allow network.host, security.insecure, frontend.python, device or device=NAME[,alias=OTHER].",
    ),
    _many(
        "--source-policy-file",
        metavar="FILE",
        help="Rules for images and other sources (also: EXPERIMENTAL_BUILDKIT_SOURCE_POLICY).",
    ),
    _flag("--check", help="Check the Dockerfile, build nothing."),
    _option(
        "--call", default="", metavar="build|check|outline|targets|describe", help="Ask the frontend something instead."
    ),
    _flag("--explain", help="Tell for each step that ran why it was not cached."),
    click.Option(
        ["--on-error"], type=click.Choice(["shell"]), default=None, help="Open a shell in a failed step's state."
    ),
    _flag("--context-report", help="Tell which files were read, the largest, and what .dockerignore left out."),
    click.Option(
        ["--trust-host-ca/--no-trust-host-ca"],
        default=None,
        help="Let RUN trust this host's certificates; nothing is stored.",
    ),
    _flag(
        "--check-reproducible",
        help="Build twice, anew, and tell what differs; the result is stored only if nothing does.",
    ),
    _option(
        "--source-date-epoch",
        default="",
        metavar="SECONDS",
        help="Time of all that is made (also: SOURCE_DATE_EPOCH).",
    ),
    _refused("--attest", multiple=True),
    _refused("--provenance", default=""),
    _refused("--sbom", default=""),
    _ignored("--compress", is_flag=True),
    _ignored("--rm", is_flag=True),
    _ignored("--force-rm", is_flag=True),
    _ignored("--isolation"),
    _ignored("--builder"),
)
_COMMA = ("platform", "no_cache_filter", "allow")


def _parts(text: str) -> list[str]:
    """What stands between commas; a device has some of its own."""
    return [text] if text.startswith("device=") else text.split(",")


@click.pass_obj
def _build(console: Console, /, **given: Any) -> int:
    from boatyard.cli.build.session import run

    for name in _COMMA:
        given[name] = tuple(part for text in given[name] for part in _parts(text) if part)
    given["progress"] = given["progress"] or console.environment.get("BUILDKIT_PROGRESS") or "auto"
    for name in ("on_error", "network"):
        given[name] = given[name] or ""
    return run(console, Flags(**given))


build = FlaggedCommand(
    "build",
    callback=_build,
    params=list(PARAMETERS),
    help=_HELP,
    short_help="Build an image from a Dockerfile",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
