"""Commands that speak to registries themselves, without the daemon: login, logout, copy, tags, manifests."""

from __future__ import annotations

import json
import sys

import click

from boatyard.cli.console import Console
from boatyard.cli.group import SETTINGS
from boatyard.errors import DeniedError, InvalidError
from boatyard.image import platform as platforms
from boatyard.image import reference as references
from boatyard.image.interruption import Stop
from boatyard.image.reference import DEFAULT_DOMAIN, Reference
from boatyard.registry.credential import Credential, Credentials
from boatyard.registry.dockerconfig import DockerConfig, host_of
from boatyard.registry.hosts import Hosts, HostSettings
from boatyard.registry.proxies import proxy_of
from boatyard.registry.repository import Registries
from boatyard.registry.tokens import Tokens

_plain = click.option("--plain-http", is_flag=True, help="Speak to registries without TLS.")
_insecure = click.option("--insecure", is_flag=True, help="Don't verify whose certificate it is.")


def _registries(console: Console, credentials: Credentials, hosts: Hosts) -> Registries:
    from boatyard.registry.transport import Transport

    transport = Transport(proxies=lambda url: proxy_of(url, console.environment))
    return Registries(transport, hosts, Tokens(transport, credentials))


def _hosts(plain_http: bool, insecure: bool, *domains: str) -> Hosts:
    settings = HostSettings(http=plain_http, insecure=insecure)
    return Hosts(dict.fromkeys(domains, settings) if plain_http or insecure else {})


class _Given:
    """These credentials for everybody."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def get(self, host: str) -> Credential | None:
        return self._credential


@click.command("login", context_settings=SETTINGS)
@click.argument("registry", metavar="[HOST[:PORT]]", default=DEFAULT_DOMAIN)
@click.option("-u", "--username", default="", help="The name to log in by.")
@click.option("-p", "--password", default="", help="The password or token; others on this host may see it here.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@_plain
@_insecure
@click.pass_obj
def login(
    console: Console,
    registry: str,
    username: str,
    password: str,
    password_stdin: bool,
    plain_http: bool,
    insecure: bool,
) -> None:
    """Check credentials with a registry and keep them, where Docker's clients find them, too."""
    host = host_of(registry)
    credential = _credential(console, host, username, password, password_stdin)
    registries = _registries(console, _Given(credential), _hosts(plain_http, insecure, host))
    registries.check(host, Stop())
    place = DockerConfig.default(console.environment).put(host, credential)
    console.out(f"logged in to {host}; the credentials are in {place}\n")


def _credential(console: Console, host: str, username: str, password: str, from_stdin: bool) -> Credential:
    if from_stdin:
        if password:
            raise InvalidError("--password and --password-stdin exclude each other")
        if not username:
            raise InvalidError("--password-stdin needs a name", hint="add --username NAME")
        password = sys.stdin.read(1 << 20).rstrip("\r\n")
    if (not username or not password) and not console.in_terminal:
        raise InvalidError(
            "there is no terminal to ask for a name and password",
            hint="echo PASSWORD | boat login --username NAME --password-stdin " + host,
        )
    if not username:
        username = click.prompt(f"Name for {host}", err=True)
    if not password:
        password = click.prompt("Password", hide_input=True, err=True)
    if not username or not password:
        raise InvalidError("both a name and a password are needed")
    return Credential(username, password)


@click.command("logout", context_settings=SETTINGS)
@click.argument("registry", metavar="[HOST[:PORT]]", default=DEFAULT_DOMAIN)
@click.pass_obj
def logout(console: Console, registry: str) -> None:
    """Forget the credentials for a registry."""
    host = host_of(registry)
    gone = DockerConfig.default(console.environment).remove(host)
    console.out(f"logged out of {host}\n" if gone else f"there were no credentials for {host}\n")


@click.command("copy", context_settings=SETTINGS)
@click.argument("source", metavar="SOURCE[:TAG|@DIGEST]")
@click.argument("target", metavar="TARGET[:TAG]")
@click.option("--platform", default="", metavar="OS/ARCH", help="Only the image for this platform.")
@click.option("--referrers", is_flag=True, help="Signatures and whatever else refers to it, too.")
@_plain
@_insecure
@click.pass_obj
def copy(
    console: Console, source: str, target: str, platform: str, referrers: bool, plain_http: bool, insecure: bool
) -> None:
    """Copy an image from one registry to another, without storing it here."""
    from boatyard.registry.copy import copy as copy_image

    origin = references.parse(source).with_default_tag()
    goal = references.parse(target)
    if goal.digest:
        raise InvalidError(f"{target!r} can't be a new name: it has a digest", hint="use NAME:TAG")
    tag = goal.tag or origin.tag
    registries = _registries(
        console,
        DockerConfig.default(console.environment),
        _hosts(plain_http, insecure, origin.domain, goal.domain),
    )
    stop = Stop()
    copied = copy_image(
        registries.repository(origin, stop),
        _wanted(origin),
        registries.repository(goal, stop),
        (tag,) if tag else (),
        platform=platforms.parse(platform) if platform else None,
        with_referrers=referrers,
    )
    console.out(f"{copied.digest}\n")


@click.command("tags", context_settings=SETTINGS)
@click.argument("repository", metavar="NAME")
@_plain
@_insecure
@click.pass_obj
def tags(console: Console, repository: str, plain_http: bool, insecure: bool) -> None:
    """List the tags of a repository in its registry."""
    name = references.parse(repository)
    hosts = _hosts(plain_http, insecure, name.domain)
    registries = _registries(console, DockerConfig.default(console.environment), hosts)
    for tag in registries.repository(name, Stop()).tags():
        console.out(f"{tag}\n")


@click.command("inspect", context_settings=SETTINGS)
@click.argument("image", metavar="NAME[:TAG|@DIGEST]")
@click.option("--raw", is_flag=True, help="The document, byte for byte.")
@_plain
@_insecure
@click.pass_obj
def manifest_inspect(console: Console, image: str, raw: bool, plain_http: bool, insecure: bool) -> None:
    """Show a manifest or index as its registry has it."""
    reference = references.parse(image).with_default_tag()
    hosts = _hosts(plain_http, insecure, reference.domain)
    registries = _registries(console, DockerConfig.default(console.environment), hosts)
    document = registries.repository(reference, Stop()).manifest(_wanted(reference))
    if raw:
        console.out(document.data.decode("utf-8", "surrogateescape"))
        return
    console.out(json.dumps(json.loads(document.data), indent=2, ensure_ascii=False) + "\n")


def _wanted(reference: Reference) -> str:
    wanted = reference.digest or reference.tag
    if wanted is None:
        raise DeniedError(f"{reference} names neither a tag nor a digest")
    return wanted
