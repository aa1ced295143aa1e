"""`boat completion`: scripts that complete commands, flags, their values, files and image names."""

from __future__ import annotations

import click

from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS

_INSTALL = """Print a script that completes boat's command line, for a shell.

\b
  bash:  boat completion bash > /etc/bash_completion.d/boat
         (or, for this shell only: source <(boat completion bash))
  zsh:   boat completion zsh > "${fpath[1]}/_boat"
  fish:  boat completion fish > ~/.config/fish/completions/boat.fish

The script is made once and starts nothing but `boat images`, for image names, and only where a daemon runs.
"""


@click.command("completion", help=_INSTALL, context_settings=SETTINGS)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(console: Console, shell: str) -> None:
    from boatyard.cli.completion import bash, fish, zsh
    from boatyard.cli.tree import walk

    script = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}[shell]
    console.out(script(tuple(walk())))
