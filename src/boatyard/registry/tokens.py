"""How to be let in: from a registry's challenge and somebody's credentials to the header Authorization.

Tokens are remembered until shortly before they end, by place, scope and whose they are. The first request is sent
without a header; from then on the right token is sent at once.

Specification: distribution, "Token Authentication Specification" and "Oauth2 Token Authentication".
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import msgspec

from boatyard.errors import DeniedError, UnavailableError
from boatyard.image.interruption import Stop
from boatyard.registry.challenge import Challenge
from boatyard.registry.credential import Credential, Credentials
from boatyard.registry.hosts import Endpoint
from boatyard.registry.request import Request, shown

if TYPE_CHECKING:
    from boatyard.registry.transport import Transport

CLIENT = "boatyard"
_SHORTEST = 60.0
"""Seconds that a token lasts when its server doesn't say."""
_MARGIN = 10.0
_LARGEST_ANSWER = 1 << 20


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None
    refresh_token: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    header: str
    until: float


class Tokens:
    """One per set of credentials. Thread-safe. `domain` is a registry as references name it."""

    def __init__(
        self, transport: Transport, credentials: Credentials, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._lock = threading.Lock()
        self._challenges: dict[str, Challenge] = {}
        """By endpoint: what it asked for last."""
        self._known: dict[tuple[str, ...], _Known] = {}
        self._asked: dict[str, Credential | None] = {}

    def header(self, endpoint: Endpoint, domain: str, scopes: Sequence[str], stop: Stop) -> str | None:
        """What to send at first: None when this endpoint hasn't asked for anything yet."""
        challenge = self._challenges.get(endpoint.base)
        if challenge is None:
            return None
        # The scope in it was that of another request.
        parameters = {name: value for name, value in challenge.parameters.items() if name != "scope"}
        return self.answer(endpoint, domain, Challenge(challenge.scheme, parameters), scopes, stop)

    def answer(
        self,
        endpoint: Endpoint,
        domain: str,
        challenge: Challenge,
        scopes: Sequence[str],
        stop: Stop,
        *,
        fresh: bool = False,
    ) -> str | None:
        """The header for a challenge; `fresh`: what was sent was refused. DeniedError when nobody is let in here
        without credentials, or with these."""
        self._challenges[endpoint.base] = challenge
        credential = self._credential(domain)
        if challenge.scheme == "basic":
            return basic(credential) if credential and not fresh else None
        if credential and credential.registry_token:
            return f"Bearer {credential.registry_token}" if not fresh else None
        realm = challenge.parameters.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            raise DeniedError(f"{domain} wants a token, but doesn't say where there are any")
        service = challenge.parameters.get("service", "")
        wanted = tuple(sorted({*scopes, *challenge.parameters.get("scope", "").split(" ")} - {""}))
        key = (realm, service, *wanted)
        with self._lock:
            known = self._known.get(key)
            if known is not None and not fresh and known.until > self._clock():
                return known.header
            made = self._fetch(endpoint, domain, realm, service, wanted, credential, stop)
            # Next time only the request's own scopes are known beforehand.
            self._known[key] = self._known[realm, service, *sorted(set(scopes))] = made
            return made.header

    def _credential(self, domain: str) -> Credential | None:
        with self._lock:
            if domain not in self._asked:
                self._asked[domain] = self._credentials.get(domain)
            return self._asked[domain]

    def known(self, domain: str) -> Credential | None:
        """The credentials for a registry, if they were asked for already."""
        return self._asked.get(domain)

    def _fetch(
        self,
        endpoint: Endpoint,
        domain: str,
        realm: str,
        service: str,
        scopes: Sequence[str],
        credential: Credential | None,
        stop: Stop,
    ) -> _Known:
        started = self._clock()
        if credential and credential.identity_token:
            fields = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
            request = _oauth(realm, service, scopes, fields)
        else:
            query = [("service", service)] if service else []
            query += [("scope", scope) for scope in scopes]
            if credential and credential.username:
                query.append(("account", credential.username))
            url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}" if query else realm
            header = basic(credential)
            request = Request("GET", url, secrets={"Authorization": header} if header else {})
        with self._transport.send(_place(realm, endpoint), request, stop) as response:
            body = response.read(_LARGEST_ANSWER)
            if response.status in (401, 403):
                raise denied(domain, credential)
            if response.status != 200:
                raise UnavailableError(f"{shown(realm)} answers {response.status} instead of a token for {domain}")
        try:
            token = msgspec.json.decode(body, type=_Token)
        except msgspec.MsgspecError as error:
            raise UnavailableError(f"{shown(realm)} sends something else than a token for {domain}") from error
        text = token.access_token or token.token
        if not text or not text.isascii() or any(character <= " " for character in text):
            raise UnavailableError(f"{shown(realm)} sends an empty or impossible token for {domain}")
        lifetime = max(token.expires_in or 0.0, _SHORTEST)
        return _Known(f"Bearer {text}", started + lifetime - _MARGIN)


def _oauth(realm: str, service: str, scopes: Sequence[str], fields: dict[str, str]) -> Request:
    form = {**fields, "service": service, "scope": " ".join(scopes), "client_id": CLIENT}
    return Request(
        "POST",
        realm,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
        redirected=False,
    )


def _place(realm: str, endpoint: Endpoint) -> Endpoint:
    """The settings (certificates) of the registry hold for its tokens' place when that is the same host, or has none
    of its own."""
    target = urlsplit(realm)
    return Endpoint(target.netloc, target.scheme == "http", endpoint.verify, endpoint.ca)


def basic(credential: Credential | None) -> str | None:
    if credential is None or not (credential.username or credential.password):
        return None
    pair = f"{credential.username}:{credential.password}".encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(pair).decode()}"


def denied(domain: str, credential: Credential | None) -> DeniedError:
    if credential is None:
        return DeniedError(f"{domain} doesn't let anybody do this without credentials", hint=f"boat login {domain}")
    who = f"{credential.username!r}" if credential.username else "this token"
    return DeniedError(
        f"{domain} doesn't take the credentials of {who}, or they don't allow this",
        hint=f"boat login {domain}, or ask whoever runs the registry for the right",
    )
