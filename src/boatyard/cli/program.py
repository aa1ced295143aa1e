"""`boat`: read the command line, run one command, turn what went wrong into words and an exit code.

Nothing heavy is imported here, nor by what is imported here: a cached build lasts less than it would take to load a
few libraries.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from boatyard.cli import exits
from boatyard.cli.commands import COMMANDS
from boatyard.cli.console import Console, ReaderGoneError
from boatyard.cli.group import SETTINGS, LazyGroup


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from boatyard import __version__

        click.echo(f"boat {__version__}")
        ctx.exit()


@click.pass_context
def _root(ctx: click.Context, /, host: str, debug: bool, **tls: str) -> None:
    console = ctx.ensure_object(Console)
    console.host = host or console.host
    given = {f"BOAT_{name.replace('tls', 'tls_')}".upper(): value for name, value in tls.items() if value}
    console.environment = {**console.environment, **given}
    console.debug = debug or console.debug


root = LazyGroup(
    name="boat",
    table=COMMANDS,
    callback=_root,
    help="Build, keep and run OCI images.",
    epilog="`boat COMMAND --help` tells more of a command. Exit codes are listed in docs/reference/cli.md.",
    no_args_is_help=True,
    context_settings=SETTINGS,
    params=[
        click.Option(
            ["-H", "--host"],
            default="",
            metavar="ADDRESS",
            help="Another daemon: unix:///PATH, tcp://HOST:PORT, vsock://CID:PORT (also: BOAT_HOST).",
        ),
        click.Option(["--tlscacert"], default="", metavar="FILE", help="Authority of a tcp daemon's certificate."),
        click.Option(["--tlscert"], default="", metavar="FILE", help="Certificate to show to a tcp daemon."),
        click.Option(["--tlskey"], default="", metavar="FILE", help="Key of that certificate."),
        click.Option(["-D", "--debug"], is_flag=True, help="Tell more: details of warnings, tracebacks of errors."),
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version."
        ),
    ],
)


def run(console: Console, arguments: Sequence[str]) -> int:
    """One command, with its errors told."""
    try:
        code = root.main(list(arguments), prog_name="boat", standalone_mode=False, obj=console)
    except click.exceptions.Abort:
        return exits.CANCELLED
    except click.exceptions.NoArgsIsHelpError as error:
        console.err(f"{error.format_message()}\n")
        return exits.USAGE
    except click.UsageError as error:
        return _wrong_usage(console, error)
    except click.ClickException as error:
        console.err(f"{console.err_style.bad('error:')} {error.format_message()}\n")
        return exits.FAILED
    except ReaderGoneError:
        return exits.BROKEN_PIPE
    except SystemExit as ended:  # click's answer to a broken pipe it saw first
        return ended.code if isinstance(ended.code, int) else exits.FAILED
    except (KeyboardInterrupt, Exception) as error:  # the last one to see it: every error becomes words and a number
        from boatyard.cli.failure import tell

        return tell(console, error)
    return code if isinstance(code, int) else exits.OK


def _wrong_usage(console: Console, error: click.UsageError) -> int:
    style = console.err_style
    console.err(f"{style.bad('error:')} {error.format_message()}\n")
    if error.ctx is not None:
        console.err(f"  {style.dim('fix:')} `{error.ctx.command_path} --help` tells how it is used\n")
    return exits.USAGE
