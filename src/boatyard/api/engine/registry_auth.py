"""Credentials as Docker's clients send them in headers: JSON in base64, of one registry or of many."""

from __future__ import annotations

import base64
import binascii
import logging
from typing import TypeVar

import msgspec

from boatyard.errors import InvalidError
from boatyard.image.reference import DEFAULT_DOMAIN
from boatyard.registry.credential import Credential

log = logging.getLogger(__name__)

_LONGEST = 1 << 20
_Kind = TypeVar("_Kind")


class _Entry(msgspec.Struct):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""
    serveraddress: str = ""


def one(header: str) -> Credential | None:
    """X-Registry-Auth; None for none."""
    return _credential(_decoded(header, _Entry)) if header else None


def many(header: str) -> dict[str, Credential]:
    """X-Registry-Config, by registry. A build may need none of them: what can't be read is as good as none, as it is
    with Docker."""
    if not header:
        return {}
    try:
        entries = _decoded(header, dict[str, _Entry])
        found = {host(name): _credential(entry) for name, entry in entries.items()}
    except InvalidError as error:
        log.warning("a build goes on without credentials: %s", error)
        return {}
    return {name: credential for name, credential in found.items() if credential is not None}


def host(name: str) -> str:
    """The registry's domain of a key, which may be a URL."""
    text = name.partition("://")[2] if "://" in name else name
    domain = text.partition("/")[0]
    return DEFAULT_DOMAIN if domain in ("index.docker.io", "registry-1.docker.io") else domain


def _decoded(header: str, kind: type[_Kind]) -> _Kind:
    try:
        if len(header) > _LONGEST:
            raise ValueError("it is too long")
        data = base64.urlsafe_b64decode(header.replace("+", "-").replace("/", "_") + "=" * (-len(header) % 4))
        return msgspec.json.decode(data, type=kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise InvalidError(f"the header with registries' credentials can't be read: {error}") from error


def _credential(entry: _Entry) -> Credential | None:
    username, password = entry.username, entry.password
    if entry.auth and not username:
        try:
            username, _, password = base64.b64decode(entry.auth).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidError("a registry's credentials can't be read") from error
    found = Credential(username, password, entry.identitytoken, entry.registrytoken)
    return found if found != Credential() else None
