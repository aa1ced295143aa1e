"""`boat registry user` and `boat registry token`: the accounts of a registry on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from boatyard.cli import units
from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.cli.listing import confirmed, format_option, quiet_option, show
from boatyard.cli.registry.root import opened, root_option
from boatyard.errors import InvalidError

if TYPE_CHECKING:
    from boatyard.registry.server.grants import Grant

_allow = click.option(
    "--allow",
    "grants",
    metavar="PATTERN=ACTION,...",
    multiple=True,
    help="What is allowed: 'team/*=pull,push'; may be given several times; everything, if it isn't.",
)
_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


def _grants(texts: Sequence[str]) -> tuple[Grant, ...]:
    from boatyard.registry.server.grants import EVERYTHING, parse_grant

    return tuple(map(parse_grant, texts)) if texts else EVERYTHING


def _password(console: Console, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.read(1 << 16).rstrip("\r\n")
    if not console.in_terminal:
        raise InvalidError("there is no terminal to ask for a password", hint="use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@click.command("add", context_settings=SETTINGS)
@click.argument("name")
@_allow
@_stdin
@root_option
@click.pass_obj
def user_add(console: Console, name: str, grants: tuple[str, ...], password_stdin: bool, root: str) -> None:
    """Add a user."""
    allowed = _grants(grants)
    with opened(console, root) as registry:
        registry.accounts.add(name, _password(console, password_stdin), allowed)


@click.command("ls", context_settings=SETTINGS)
@quiet_option("names")
@format_option
@root_option
@click.pass_obj
def user_ls(console: Console, quiet: bool, form: str, root: str) -> None:
    """List users."""
    with opened(console, root) as registry:
        rows = [
            {
                "Name": user.name,
                "Allowed": " ".join(map(str, user.grants)),
                "TwoFactor": user.two_factor,
                "RecoveryCodes": user.recovery_codes,
                "Disabled": user.disabled,
                "CreatedSince": units.age(user.created, time.time()),
            }
            for user in registry.accounts.users()
        ]
    headers = {"Name": "NAME", "Allowed": "ALLOWED", "TwoFactor": "TWO-FACTOR", "CreatedSince": "CREATED"}
    show(console, rows, {**headers, "Disabled": "DISABLED"}, form, quiet="Name" if quiet else "")


@click.command("rm", context_settings=SETTINGS)
@click.argument("name")
@click.option("-f", "--force", is_flag=True, help="Don't ask.")
@root_option
@click.pass_obj
def user_rm(console: Console, name: str, force: bool, root: str) -> None:
    """Remove a user and all tokens of theirs."""
    if confirmed(console, f"This removes the user {name} and all of their tokens. Go on?", force=force):
        with opened(console, root) as registry:
            registry.accounts.remove(name)


@click.command("password", context_settings=SETTINGS)
@click.argument("name")
@_stdin
@root_option
@click.pass_obj
def user_password(console: Console, name: str, password_stdin: bool, root: str) -> None:
    """Set a user's password."""
    with opened(console, root) as registry:
        registry.accounts.set_password(name, _password(console, password_stdin))


@click.command("allow", context_settings=SETTINGS)
@click.argument("name")
@click.argument("grants", metavar="PATTERN=ACTION,...", nargs=-1, required=True)
@root_option
@click.pass_obj
def user_allow(console: Console, name: str, grants: tuple[str, ...], root: str) -> None:
    """Set what a user may do, in place of what that was."""
    allowed = _grants(grants)
    with opened(console, root) as registry:
        registry.accounts.set_grants(name, allowed)


@click.command("disable", context_settings=SETTINGS)
@click.argument("name")
@root_option
@click.pass_obj
def user_disable(console: Console, name: str, root: str) -> None:
    """Let a user in no more, from the next request on."""
    with opened(console, root) as registry:
        registry.accounts.disable(name, True)


@click.command("enable", context_settings=SETTINGS)
@click.argument("name")
@root_option
@click.pass_obj
def user_enable(console: Console, name: str, root: str) -> None:
    """Let a user in again."""
    with opened(console, root) as registry:
        registry.accounts.disable(name, False)


@click.command("two-factor", context_settings=SETTINGS)
@click.argument("name")
@click.option("--off", is_flag=True, help="Turn it off.")
@root_option
@click.pass_obj
def user_two_factor(console: Console, name: str, off: bool, root: str) -> None:
    """Ask a user for a one-time password at each login.

    Clients such as docker can't ask for one: they log in by an access token.
    """
    from boatyard.registry.server import totp

    with opened(console, root) as registry:
        if off:
            registry.accounts.disable_two_factor(name)
            return
        secret = totp.new_secret(os.urandom)
        console.err(
            f"Give this key to an authenticator program:\n\n  {secret}\n"
            f"  {totp.uri(secret, issuer=registry.settings.service, account=name)}\n\n"
        )
        console.err("The code that it shows now: ")
        codes = registry.accounts.enable_two_factor(name, secret, input().strip())
    console.err("\nEach of these recovery codes replaces a one-time password once. They are not shown again.\n\n")
    console.out("".join(f"{code}\n" for code in codes))


@click.command("create", context_settings=SETTINGS)
@click.argument("user")
@click.argument("name")
@_allow
@click.option(
    "--lifetime", metavar="DURATION", default="", help="How long it is valid (90d); else until it is revoked."
)
@root_option
@click.pass_obj
def token_create(console: Console, user: str, name: str, grants: tuple[str, ...], lifetime: str, root: str) -> None:
    """Make an access token, which is used in place of a password. It is shown this once.

    It allows what is named here, and never more than its user may.
    """
    seconds = units.parse_duration(lifetime) if lifetime else None
    allowed = _grants(grants)
    with opened(console, root) as registry:
        token = registry.accounts.make_token(user, name, allowed, seconds)
    console.out(f"{token}\n")


@click.command("ls", context_settings=SETTINGS)
@click.argument("user", default="")
@quiet_option("IDs")
@format_option
@root_option
@click.pass_obj
def token_ls(console: Console, user: str, quiet: bool, form: str, root: str) -> None:
    """List access tokens, of one user or of all."""
    now = time.time()
    with opened(console, root) as registry:
        rows = [
            {
                "ID": token.id,
                "User": token.user,
                "Name": token.name,
                "Allowed": " ".join(map(str, token.grants)),
                "CreatedSince": units.age(token.created, now),
                "LastUsedSince": units.age(token.used, now) if token.used else "never",
                "Expired": token.expires is not None and token.expires <= now,
            }
            for token in registry.accounts.tokens(user)
        ]
    headers = {"ID": "ID", "User": "USER", "Name": "NAME", "Allowed": "ALLOWED", "CreatedSince": "CREATED"}
    show(console, rows, {**headers, "LastUsedSince": "LAST USED"}, form, quiet="ID" if quiet else "")


@click.command("revoke", context_settings=SETTINGS)
@click.argument("user")
@click.argument("token", metavar="NAME|ID")
@root_option
@click.pass_obj
def token_revoke(console: Console, user: str, token: str, root: str) -> None:
    """Make an access token worthless, at once."""
    with opened(console, root) as registry:
        registry.accounts.revoke(user, token)
