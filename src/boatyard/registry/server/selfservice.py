"""What users do for themselves: log in with all factors, and make, list and revoke their access tokens.

An access token can't make others: who steals one shouldn't outlive its revocation.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from boatyard.errors import BoatyardError, ConflictError, DeniedError, InvalidError, NotFoundError
from boatyard.registry.server.accounts import Token
from boatyard.registry.server.grants import EVERYTHING, parse_grant
from boatyard.registry.server.refusal import RefusedError
from boatyard.registry.server.registry import Registry
from boatyard.registry.server.request import Request

_LARGEST = 64 << 10


class _Login(msgspec.Struct):
    user: str
    password: str
    code: str = ""


class _Wanted(msgspec.Struct):
    name: str
    grants: list[str] | None = None
    lifetime: float | None = None


async def log_in(registry: Registry, request: Request) -> None:
    """A bearer token for what is below."""
    login = await _document(request, _Login)
    try:
        identity = await registry.guard.log_in(request, login.user, login.password, login.code)
    except DeniedError as error:
        raise RefusedError(401, "UNAUTHORIZED", error.message) from error
    token = registry.guard.signers()[0].sign(registry.guard.bearer(identity, [], session=True))
    await request.answer_json({"token": token, "expires_in": int(registry.settings.token_lifetime)})


async def list_tokens(registry: Registry, request: Request) -> None:
    user = _user(request)
    await request.answer_json({"tokens": [_shown(token) for token in registry.accounts.tokens(user)]})


async def make_token(registry: Registry, request: Request) -> None:
    user = _user(request)
    wanted = await _document(request, _Wanted)
    try:
        grants = tuple(map(parse_grant, wanted.grants)) if wanted.grants else EVERYTHING
        made = await asyncio.to_thread(registry.accounts.make_token, user, wanted.name, grants, wanted.lifetime)
    except BoatyardError as error:
        raise _refused(error) from error
    await request.answer_json({"token": made, "name": wanted.name}, [(b"cache-control", b"no-store")])


async def revoke_token(registry: Registry, request: Request) -> None:
    user = _user(request)
    try:
        await asyncio.to_thread(registry.accounts.revoke, user, request.route.rest)
    except BoatyardError as error:
        raise _refused(error) from error
    await request.answer(204)


def _user(request: Request) -> str:
    if not request.admitted.session:
        raise RefusedError(403, "DENIED", "log in with your password (and one-time password) to manage tokens")
    return request.admitted.user


def _shown(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "grants": [str(grant) for grant in token.grants],
        "created": token.created,
        "expires": token.expires,
        "used": token.used,
    }


async def _document(request: Request, kind: Any) -> Any:
    data = await request.small_body(_LARGEST, RefusedError(413, "UNSUPPORTED", "the document is too long"))
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise RefusedError(400, "UNSUPPORTED", f"malformed document: {error}") from error


def _refused(error: BoatyardError) -> RefusedError:
    kinds = ((InvalidError, 400), (NotFoundError, 404), (ConflictError, 409))
    status = next((status for kind, status in kinds if isinstance(error, kind)), 500)
    return RefusedError(status, "UNSUPPORTED", error.message)
