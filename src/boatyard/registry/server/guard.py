"""Who is asking, and may they? With authentication off, everybody may everything.

A bearer token is verified once; while it lasts, it is only looked at again when somebody has written to the records:
what was revoked, disabled or narrowed counts from the next request on.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boatyard.errors import DeniedError
from boatyard.registry.server import jwt
from boatyard.registry.server.accounts import PREFIX, Accounts, Identity
from boatyard.registry.server.admission import ANYBODY, EVERYBODY, Admitted
from boatyard.registry.server.grants import Grant, Scope, narrowed
from boatyard.registry.server.jwt import Access, Claims, Signer
from boatyard.registry.server.rates import Rates
from boatyard.registry.server.records import Records
from boatyard.registry.server.refusal import RefusedError, too_many
from boatyard.registry.server.request import Header, Request
from boatyard.registry.server.settings import Settings

log = logging.getLogger(__name__)

_REMEMBERED = 4096
_FAILURE_RATE, _FAILURES = 1 / 30, 10
"""Wrong passwords a second from one place, and at once."""


@dataclass(slots=True)
class _Seen:
    claims: Claims
    generation: int
    admitted: Admitted


class Guard:
    """One per process; used on the event loop. Implements what `settings.auth` asks for."""

    def __init__(
        self, settings: Settings, records: Records, accounts: Accounts, *, clock: Callable[[], float], share: int = 1
    ) -> None:
        """`share`: how many processes there are, over which what is allowed in a time is spread."""
        self.settings = settings
        self.accounts = accounts
        self._records = records
        self._clock = clock
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._failures = Rates(_FAILURE_RATE / share, _FAILURES / share)
        self._rates = Rates(settings.rate / share, settings.burst / share)
        self._signers: list[Signer] = []

    # Requests

    async def admit(self, request: Request, needed: Sequence[tuple[str, str, str]]) -> Admitted:
        """RefusedError (401) that says how to get in, (429) when it is too often."""
        who = request.address
        if not self.settings.auth:
            self._limit(who)
            return EVERYBODY
        try:
            admitted = await self._recognised(request)
        except DeniedError as error:
            self._limit(who)
            raise self._challenge(request, needed, error.message, "invalid_token") from error
        self._limit(admitted.user if admitted and admitted.user else who)
        if admitted is None:
            raise self._challenge(request, needed, "authentication required")
        if not all(admitted.may(*each) for each in needed):
            if not admitted.user:
                raise self._challenge(request, needed, "authentication required")
            message = "requested access to the resource is denied"
            raise self._challenge(request, needed, message, "insufficient_scope", "DENIED")
        return admitted

    def _limit(self, who: str) -> None:
        if wait := self._rates.wait(who, self._clock()):
            raise too_many(wait)

    async def _recognised(self, request: Request) -> Admitted | None:
        """None: somebody who says nothing, and for whom there is nothing. DeniedError."""
        scheme, _, rest = request.header(b"authorization").partition(" ")
        scheme, rest = scheme.lower(), rest.strip()
        if scheme == "bearer" and not rest.startswith(PREFIX):
            return self._by_bearer(rest)
        if scheme == "bearer":
            return self._as_they_are(await asyncio.to_thread(self.accounts.recognise_token, rest))
        if scheme == "basic":
            return self._as_they_are(await self.recognise(request, *decoded_basic(rest)))
        if self.settings.anonymous_pull and request.route.kind != "root":
            return Admitted("", (ANYBODY,))
        return None

    def _as_they_are(self, identity: Identity) -> Admitted:
        limits = self.accounts.limits(identity)
        if limits is None:
            raise DeniedError("this account or token is not valid (any more)")
        return Admitted(identity.user, limits, token=identity.token)

    def _by_bearer(self, text: str) -> Admitted:
        generation, now = self._records.generation(), self._clock()
        seen = self._seen.get(text)
        if seen is not None and seen.generation == generation and seen.claims.exp > now:
            return seen.admitted
        claims = seen.claims if seen else jwt.read(text, self.signers(), issuer=self.settings.service, now=now)
        if claims.exp <= now:
            del self._seen[text]
            raise DeniedError("the bearer token has expired")
        limits = self._limits(claims)
        scopes = [Scope(each.type, each.name, tuple(each.actions)) for each in claims.access]
        left = narrowed(scopes, *limits)
        access = frozenset((scope.type, scope.name, action) for scope in left for action in scope.actions)
        admitted = Admitted(claims.sub, limits, access, claims.session, claims.pat)
        self._seen[text] = _Seen(claims, generation, admitted)
        self._seen.move_to_end(text)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return admitted

    def _limits(self, claims: Claims) -> tuple[Sequence[Grant], ...]:
        if not claims.sub:
            if not self.settings.anonymous_pull:
                raise DeniedError("nobody is let in without credentials")
            return (ANYBODY,)
        limits = self.accounts.limits(Identity(claims.sub, claims.pat))
        if limits is None:
            raise DeniedError("the account or access token of this bearer token is not valid any more")
        return limits

    def _challenge(
        self,
        request: Request,
        needed: Sequence[tuple[str, str, str]],
        message: str,
        error: str = "",
        code: str = "UNAUTHORIZED",
    ) -> RefusedError:
        by_name: dict[tuple[str, str], list[str]] = {}
        for type, name, action in needed:
            by_name.setdefault((type, name), []).append(action)
        scope = " ".join(f"{type}:{name}:{','.join(actions)}" for (type, name), actions in by_name.items())
        parameters = {"realm": f"{self.settings.base(request)}/token", "service": self.settings.service}
        parameters |= {"scope": scope} if scope else {}
        parameters |= {"error": error} if error else {}
        value = "Bearer " + ",".join(f'{name}="{value}"' for name, value in parameters.items())
        headers: list[Header] = [(b"www-authenticate", value.encode("latin-1"))]
        # Docker takes an error without details and with the usual message for one that may pass: it tries on.
        detail = [{"Type": type, "Class": "", "Name": name, "Action": action} for type, name, action in needed]
        return RefusedError(401, code, message, detail=detail, headers=headers)

    # Passwords

    async def recognise(self, request: Request, name: str, password: str) -> Identity:
        """DeniedError; RefusedError (429) after too many wrong ones."""
        return await self._counted(request, name, self.accounts.recognise, name, password)

    async def log_in(self, request: Request, name: str, password: str, code: str) -> Identity:
        return await self._counted(request, name, self.accounts.log_in, name, password, code)

    async def _counted(self, request: Request, name: str, check: Callable[..., Identity], *arguments: str) -> Identity:
        now = self._clock()
        places = (request.address, f"{request.address} {name}")
        if wait := max(self._failures.shortage(place, now) for place in places):
            raise too_many(wait)
        try:
            return await asyncio.to_thread(check, *arguments)
        except DeniedError as error:
            log.warning("refused %r from %s: %s", name, request.address, error.message)
            for place in places:
                self._failures.wait(place, now)
            raise

    # Tokens

    def bearer(self, identity: Identity | None, scopes: Sequence[Scope], *, session: bool = False) -> Claims:
        """What somebody gets of what they asked for."""
        limits = (ANYBODY,) if identity is None else self.accounts.limits(identity) or ((),)
        now = self._clock()
        return Claims(
            iss=self.settings.service,
            aud=self.settings.service,
            sub=identity.user if identity else "",
            exp=now + self.settings.token_lifetime,
            nbf=now,
            iat=now,
            jti=secrets.token_hex(8),
            access=[Access(each.type, each.name, list(each.actions)) for each in narrowed(scopes, *limits)],
            pat=identity.token if identity else "",
            session=session,
        )

    def signers(self) -> list[Signer]:
        """The newest first. Made when the first one is wanted, by whichever process that is."""
        if not self._signers:
            self._signers = [Signer(id, key) for id, key in self._records.signing_keys()]
        return self._signers


def decoded_basic(text: str) -> tuple[str, str]:
    """DeniedError."""
    try:
        name, separator, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise DeniedError("malformed credentials") from error
    if not separator:
        raise DeniedError("malformed credentials")
    return name, password
