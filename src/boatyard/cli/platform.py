"""`boat platform`: programs of other architectures, run by emulators."""

from __future__ import annotations

import click

from boatyard.cli.connection import daemon
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.listing import each, format_option, show
from boatyard.cli.table import Row
from boatyard.client.calls import platforms
from boatyard.client.documents.platforms import PlatformRequest, PlatformState

_HEADERS = {"Platform": "PLATFORM", "Status": "STATUS", "Emulator": "EMULATOR"}
_FETCHING_SECONDS = 1200.0


@click.command("install", context_settings=SETTINGS)
@click.argument("architectures", nargs=-1, metavar="[ARCH]...")
@click.pass_obj
def install(console: Console, architectures: tuple[str, ...]) -> None:
    """Run programs of other architectures in builds and containers.

    Without ARCH, of all. Tells the kernel (binfmt_misc) of static QEMU programs: installed ones, or else those of
    Debian's package qemu-user-static, which is fetched through apt and kept below the daemon's root. The
    daemon must run as root; it tells the kernel again whenever it starts.
    """
    request = PlatformRequest(platforms=architectures)
    done = daemon(console).call(platforms.install_platforms(request), timeout=_FETCHING_SECONDS)
    each(console, (_told(state, new=state.platform in done.changed) for state in done.platforms))


def _told(state: PlatformState, *, new: bool) -> str:
    return f"{state.platform}: {'' if new else 'as before, '}run by {state.emulator}"


@click.command("uninstall", context_settings=SETTINGS)
@click.argument("architectures", nargs=-1, metavar="[ARCH]...")
@click.pass_obj
def uninstall(console: Console, architectures: tuple[str, ...]) -> None:
    """Let the kernel forget emulators.

    Without ARCH, all of them. Their programs stay.
    """
    done = daemon(console).call(platforms.uninstall_platforms(PlatformRequest(platforms=architectures)))
    each(console, (f"{platform}: emulated no more" for platform in done.changed))


@click.command("ls", context_settings=SETTINGS)
@format_option
@click.pass_obj
def ls(console: Console, form: str) -> None:
    """List platforms.

    They are native, emulated, host-only (by an emulator that containers don't have) or none.
    """
    rows = [_row(state) for state in daemon(console).call(platforms.list_platforms()).platforms]
    show(console, rows, _HEADERS, form)


def _row(state: PlatformState) -> Row:
    return {"Platform": state.platform, "Status": state.status, "Emulator": state.emulator}
