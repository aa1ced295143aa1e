"""The token service (`/token`): bearer tokens for those who prove who they are, and for anybody where anybody may pull.

Specification: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
"""

from __future__ import annotations

import datetime
from urllib.parse import parse_qs

from boatyard.errors import DeniedError
from boatyard.registry.server.accounts import Identity
from boatyard.registry.server.grants import parse_scopes
from boatyard.registry.server.guard import decoded_basic
from boatyard.registry.server.refusal import RefusedError
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import Request

_LARGEST_FORM = 64 << 10


async def get(registry: Registry, request: Request) -> None:
    _check_service(registry, request.parameter("service"))
    scheme, _, rest = request.header(b"authorization").partition(" ")
    identity: Identity | None = None
    if scheme:
        try:
            if scheme.lower() != "basic":
                raise DeniedError("only basic authentication is done here")
            identity = await registry.guard.recognise(request, *decoded_basic(rest.strip()))
        except DeniedError as error:
            raise _unauthorised(error.message) from error
    elif not registry.settings.anonymous_pull:
        raise _unauthorised("authentication required")
    await _answer(registry, request, identity, request.query.get("scope", []))


async def post(registry: Registry, request: Request) -> None:
    """OAuth2: a password (or an access token in its place) for a token."""
    data = await request.small_body(_LARGEST_FORM, RefusedError(413, "UNSUPPORTED", "the form is too long"))
    try:
        form = {name: values[-1] for name, values in parse_qs(data.decode("ascii"), max_num_fields=50).items()}
    except (ValueError, UnicodeDecodeError) as error:
        raise RefusedError(400, "UNSUPPORTED", "malformed form") from error
    if form.get("grant_type") != "password":
        raise RefusedError(400, "UNSUPPORTED", "unsupported_grant_type: only password is supported")
    _check_service(registry, form.get("service"))
    try:
        identity = await registry.guard.recognise(request, form.get("username", ""), form.get("password", ""))
    except DeniedError as error:
        raise _unauthorised(error.message) from error
    await _answer(registry, request, identity, [form.get("scope", "")])


async def _answer(registry: Registry, request: Request, identity: Identity | None, scopes: list[str]) -> None:
    claims = registry.guard.bearer(identity, parse_scopes(scopes))
    token = registry.guard.signers()[0].sign(claims)
    issued = datetime.datetime.fromtimestamp(int(claims.iat), datetime.UTC).isoformat().replace("+00:00", "Z")
    lifetime = int(registry.settings.token_lifetime)
    answer = {"token": token, "access_token": token, "expires_in": lifetime, "issued_at": issued}
    await request.answer_json(answer, [(b"cache-control", b"no-store")])


def _check_service(registry: Registry, service: str | None) -> None:
    if service not in (None, "", registry.settings.service):
        raise RefusedError(400, "UNSUPPORTED", f"tokens are for {registry.settings.service!r}")


def _unauthorised(message: str) -> RefusedError:
    return RefusedError(401, "UNAUTHORIZED", message, headers=[(b"www-authenticate", b'Basic realm="registry"')])
