"""`boat builder debug`: a shell in the state of any step of a past build."""

from __future__ import annotations

import click

from boatyard.cli.connection import daemon, descriptors
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.run.attach import attached
from boatyard.client.calls import builds
from boatyard.client.documents.builds import DebugRequest


@click.command("debug", context_settings={**SETTINGS, "ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--after", is_flag=True, help="The state the step left, rather than the one it found.")
@click.argument("ref", default="latest", metavar="[BUILD]")
@click.argument("step", default="", metavar="[STEP]")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND...]")
@click.pass_obj
def debug(console: Console, after: bool, ref: str, step: str, command: tuple[str, ...]) -> int:
    """Open a shell (or run COMMAND) at a step of a past build: its files, mounts, environment and user.

    BUILD is an ID, its beginning, or `latest`. STEP is a number of `boat builder history BUILD` or a digest; without
    it, the step that failed. Changes are lost when the shell ends.
    """
    client = daemon(console)
    with descriptors(client) as channel:
        terminal = console.in_terminal and console.out_terminal
        request = DebugRequest(
            step="" if step == "-" else step,
            argv=command,
            after=after,
            terminal=channel.offer() if terminal else "",
            stdio="" if terminal else channel.offer(0, 1, 2),
        )
        return attached(console, client, channel, builds.debug_build(ref, request))
