"""`boat run`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import click

from boatyard.cli import attributes, exits, units
from boatyard.cli.build.plan import proxies
from boatyard.cli.connection import daemon, descriptors
from boatyard.cli.console import Console
from boatyard.cli.flagged import FlaggedCommand
from boatyard.cli.group import SETTINGS
from boatyard.cli.run.attach import attached
from boatyard.client.calls.runs import run as run_call
from boatyard.client.documents.runs import RunRequest
from boatyard.errors import BoatyardError, ExecutableError, InvalidError, NotFoundError, UnsupportedError


@click.command(
    "run",
    cls=FlaggedCommand,
    context_settings={**SETTINGS, "allow_interspersed_args": False, "help_option_names": ["--help"]},
)
@click.option("--rm", "remove", is_flag=True, help="Remove the container when it ends (needed for now).")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable, or take the environment's.")
@click.option("--env-file", multiple=True, metavar="FILE", help="Set variables from a file, a NAME=VALUE a line.")
@click.option("-v", "--volume", multiple=True, metavar="SOURCE:TARGET[:ro]", help="Mount a file or directory.")
@click.option("--tmpfs", multiple=True, metavar="TARGET", help="Mount an empty file system in memory.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="The working directory.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Names or numbers.")
@click.option("-h", "--hostname", default="", metavar="NAME", help="The container's host name.")
@click.option(
    "--network",
    "--net",
    type=click.Choice(["default", "bridge", "host", "none"]),
    default="default",
    help="Its network.",
)
@click.option("--entrypoint", default=None, metavar="COMMAND", help="Instead of the image's; '' for none.")
@click.option("--platform", default="", metavar="OS/ARCH", help="Of this platform, where the image has several.")
@click.option("--add-host", multiple=True, metavar="NAME:ADDRESS", help="Another line of /etc/hosts.")
@click.option("--shm-size", default="", metavar="SIZE", help="Size of /dev/shm (default: 64m).")
@click.option("--ulimit", multiple=True, metavar="NAME=SOFT[:HARD]", help="A limit of its processes.")
@click.option("-m", "--memory", default="", metavar="SIZE", help="Memory limit.")
@click.option("--cpus", type=float, default=0.0, metavar="N", help="Processors it may use.")
@click.option("--read-only", is_flag=True, help="Mount the image's files read-only.")
@click.option("--privileged", is_flag=True, help="Allow it all that the daemon may.")
@click.option("--init", is_flag=True, help="Run an init that reaps processes.")
@click.option("--trust-host-ca/--no-trust-host-ca", default=None, help="Let it trust this host's certificates.")
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND...]")
@click.pass_obj
def run(console: Console, /, **given: Any) -> int:
    """Run a command in a new container of IMAGE.

    The exit code is the command's; 127 when there is no such command, 126 when it is no program, 125 when the
    container could not be started.
    """
    if not given["remove"]:
        raise UnsupportedError("containers that outlive their command are not supported yet", hint="add --rm")
    if given["tty"]:
        from boatyard.cli.terminal import require

        require(console.in_terminal, "-t")
    request = _request(given, console.environment)
    try:
        with ExitStack() as stack:
            client = daemon(console)
            channel = stack.enter_context(descriptors(client))
            if given["tty"]:
                request["terminal"] = channel.offer()
            else:
                stdin = 0 if given["interactive"] else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                request["stdio"] = channel.offer(stdin, 1, 2)
            return attached(console, client, channel, run_call(RunRequest(**request)))
    except BoatyardError as error:
        from boatyard.cli.failure import tell

        tell(console, error)
        return error.exit_code if isinstance(error, ExecutableError) else exits.NOT_STARTED


def _request(given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    entrypoint = given["entrypoint"]
    return {
        "image": given["image"],
        "argv": tuple(given["command"]),
        "entrypoint": None if entrypoint is None else ((entrypoint,) if entrypoint else ()),
        "env": _variables(given["env"], given["env_file"], environment),
        "volumes": tuple(_volume(text) for text in given["volume"]),
        "workdir": given["workdir"],
        "user": given["user"],
        "hostname": given["hostname"],
        "network": "default" if given["network"] == "bridge" else given["network"],
        "platform": given["platform"],
        "add_hosts": tuple(attributes.host(text) for text in given["add_host"]),
        "tmpfs": tuple(given["tmpfs"]),
        "shm_size": units.parse_size(given["shm_size"]) if given["shm_size"] else 0,
        "ulimits": tuple(attributes.ulimit(text) for text in given["ulimit"]),
        "memory": units.parse_size(given["memory"]) if given["memory"] else 0,
        "cpus": given["cpus"],
        "read_only": given["read_only"],
        "privileged": given["privileged"],
        "init": given["init"],
        "trust_host_ca": given["trust_host_ca"],
        "proxy": proxies(environment),
    }


def _variables(given: tuple[str, ...], files: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, ...]:
    """`NAME=VALUE` each. A name alone takes this environment's value, and is left out where that has none. Flags win
    over files."""
    found: dict[str, str] = {}
    for text in (*(line for path in files for line in _lines(path)), *given):
        name, equals, value = text.partition("=")
        if not name or " " in name:
            raise InvalidError(f"{text!r} is no variable", hint="write it as NAME=VALUE")
        if equals:
            found[name] = value
        elif name in environment:
            found[name] = environment[name]
    return tuple(f"{name}={value}" for name, value in found.items())


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except FileNotFoundError as error:
        raise NotFoundError(f"--env-file: {path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"--env-file: can't read {path}: {error}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _volume(text: str) -> str:
    """With an absolute source: the daemon doesn't know this command's working directory."""
    source, colon, rest = text.partition(":")
    if not colon or not rest.startswith("/"):
        raise InvalidError(f"-v {text!r} is malformed", hint="write it as SOURCE:/TARGET or SOURCE:/TARGET:ro")
    if "/" not in source and source not in (".", ".."):
        raise UnsupportedError(f"-v {text!r}: named volumes are not supported yet", hint=f"for a directory: ./{source}")
    expanded = os.environ.get("HOME", "") + source[1:] if source.startswith("~/") else source
    return f"{os.path.abspath(expanded)}:{rest}"
