"""Tokens for registries, from their token services.

Specification: distribution, `spec/auth/token.md`, `spec/auth/oauth.md`.
"""

from __future__ import annotations

import base64
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from datetime import datetime

import msgspec

from boatyard import __version__
from boatyard.errors import DeniedError, InvalidError, UnavailableError
from boatyard.session.auth import Token
from boatyard.session.offered.login import Login

DEFAULT_LIFE = 60
"""Seconds, where the service doesn't say."""
_TIMEOUT = 30.0
_LONGEST = 1 << 20
_NO_OAUTH = (401, 404, 405)
"""What services answer that know no OAuth."""


class _Answer(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: int | None = None
    issued_at: str = ""


def fetch_token(login: Login, *, realm: str, service: str, scopes: Sequence[str], client_id: str) -> Token:
    """Blocks. DeniedError when the service doesn't give one, UnavailableError when it doesn't answer."""
    if not realm.startswith(("https://", "http://")):
        raise InvalidError(f"the token service {realm[:200]!r} is no http address")
    if login.secret:
        form = {"service": service, "client_id": client_id, "scope": " ".join(scopes), "access_type": "offline"}
        if login.user:
            form |= {"grant_type": "password", "username": login.user, "password": login.secret}
        else:
            form |= {"grant_type": "refresh_token", "refresh_token": login.secret}
        try:
            return _token(_ask(urllib.request.Request(realm, urllib.parse.urlencode(form).encode(), method="POST")))
        except _RefusedError as error:
            if error.status not in _NO_OAUTH or not login.user:
                raise
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    separator = "&" if urllib.parse.urlsplit(realm).query else "?"
    request = urllib.request.Request(f"{realm}{separator}{urllib.parse.urlencode(query)}" if query else realm)
    if login.secret:
        pair = f"{login.user}:{login.secret}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    return _token(_ask(request))


class _RefusedError(DeniedError):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, hint="log in again: docker login")
        self.status = status


def _ask(request: urllib.request.Request) -> bytes:
    request.add_header("User-Agent", f"boatyard/{__version__}")
    where = urllib.parse.urlsplit(request.full_url).netloc
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=ssl.create_default_context()) as answer:
            return bytes(answer.read(_LONGEST))
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise UnavailableError(f"the token service {where} answered with status {error.code}") from error
        raise _RefusedError(f"the token service {where} gives no token: status {error.code}", error.code) from error
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise UnavailableError(f"the token service {where} can't be asked: {error}") from error


def _token(body: bytes) -> Token:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError as error:
        raise UnavailableError(f"the token service answered with something else: {error}") from error
    token = answer.token or answer.access_token
    if not token:
        raise UnavailableError("the token service answered without a token")
    try:
        issued = int(datetime.fromisoformat(answer.issued_at).timestamp()) if answer.issued_at else 0
    except ValueError:
        issued = 0
    return Token(token, answer.expires_in or DEFAULT_LIFE, issued)
