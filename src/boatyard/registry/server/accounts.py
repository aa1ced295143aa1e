"""Users, their second factors and their access tokens: rows beside those of the repositories.

Of a password, a recovery code or a token nothing is kept but what it can be checked against. A one-time password counts
once, whichever process is asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boatyard.errors import ConflictError, DeniedError, InvalidError, NotFoundError
from boatyard.registry.server import password as passwords
from boatyard.registry.server import totp
from boatyard.registry.server.grants import Grant, parse_grant
from boatyard.registry.server.records import Records

PREFIX = "boat_pat_"
_USER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")
_SHORTEST = 8
_RECOVERY_CODES = 10
_USED_EVERY = 60.0
"""Seconds: a token's last use is told no more exactly."""


@dataclass(frozen=True, slots=True)
class User:
    name: str
    grants: tuple[Grant, ...]
    two_factor: bool
    disabled: bool
    created: float
    recovery_codes: int


@dataclass(frozen=True, slots=True)
class Token:
    """A personal access token, without what it is."""

    id: str
    user: str
    name: str
    grants: tuple[Grant, ...]
    created: float
    expires: float | None
    used: float | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who was recognised. `token`: the id of the access token that was used, if any."""

    user: str
    token: str = ""


class Accounts:
    """One per process. What begins with a verb blocks. `random` gives bytes."""

    def __init__(
        self,
        records: Records,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        cost: int = passwords.COST,
    ) -> None:
        self._records = records
        self._clock = clock
        self._random = random
        self._cost = cost

    # Users

    def add(self, name: str, password: str, grants: Sequence[Grant]) -> None:
        """InvalidError; ConflictError."""
        if not _USER.fullmatch(name):
            raise InvalidError(f"{name!r} is no user's name", hint="letters, digits, '.', '_' and '-' are allowed")
        kept = self._kept(password)
        with self._records.writing() as connection:
            done = connection.execute(
                "INSERT OR IGNORE INTO users (name, password, grants, created) VALUES (?, ?, ?, ?)",
                (name, kept, _written(grants), self._clock()),
            )
            if not done.rowcount:
                raise ConflictError(f"there is a user {name!r} already")

    def set_password(self, name: str, password: str) -> None:
        self._update(name, "password = ?", self._kept(password))

    def set_grants(self, name: str, grants: Sequence[Grant]) -> None:
        self._update(name, "grants = ?", _written(grants))

    def disable(self, name: str, disabled: bool) -> None:
        self._update(name, "disabled = ?", int(disabled))

    def remove(self, name: str) -> None:
        """With all tokens."""
        with self._records.writing() as connection:
            if not connection.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount:
                raise _no_user(name)

    def users(self) -> list[User]:
        rows = self._records.rows(
            "SELECT name, grants, secret IS NOT NULL, disabled, created,"
            " (SELECT count(*) FROM recovery_codes WHERE user = name) FROM users ORDER BY name"
        )
        return [User(row[0], _read(row[1]), bool(row[2]), bool(row[3]), row[4], row[5]) for row in rows]

    def _update(self, name: str, what: str, value: object) -> None:
        with self._records.writing() as connection:
            if not connection.execute(f"UPDATE users SET {what} WHERE name = ?", (value, name)).rowcount:
                raise _no_user(name)

    def _kept(self, password: str) -> str:
        if len(password) < _SHORTEST:
            raise InvalidError(f"a password needs {_SHORTEST} characters")
        return passwords.make(password, self._random, self._cost)

    # The second factor

    def enable_two_factor(self, name: str, secret: str, code: str) -> list[str]:
        """`code` shows that the authenticator has the secret. Recovery codes, shown this once. DeniedError."""
        step = totp.matching_step(secret, code, self._clock(), after=-1)
        if step is None:
            raise DeniedError("this is not the authenticator's code now", hint="are both clocks right?")
        codes = [base64.b32encode(self._random(10)).decode("ascii").lower() for _ in range(_RECOVERY_CODES)]
        with self._records.writing() as connection:
            done = connection.execute("UPDATE users SET secret = ?, last_step = ? WHERE name = ?", (secret, step, name))
            if not done.rowcount:
                raise _no_user(name)
            connection.execute("DELETE FROM recovery_codes WHERE user = ?", (name,))
            connection.executemany(
                "INSERT INTO recovery_codes VALUES (?, ?)", [(name, _fingerprint(code)) for code in codes]
            )
        return codes

    def disable_two_factor(self, name: str) -> None:
        with self._records.writing() as connection:
            if not connection.execute("UPDATE users SET secret = NULL WHERE name = ?", (name,)).rowcount:
                raise _no_user(name)
            connection.execute("DELETE FROM recovery_codes WHERE user = ?", (name,))

    # Recognising

    def log_in(self, name: str, password: str, code: str) -> Identity:
        """By password and, where that is on, a one-time password or a recovery code. DeniedError."""
        secret, last_step = self._by_password(name, password)
        if secret is None:
            return Identity(name)
        step = totp.matching_step(secret, code, self._clock(), after=last_step)
        with self._records.writing() as connection:
            if step is not None:
                done = connection.execute(
                    "UPDATE users SET last_step = ? WHERE name = ? AND last_step < ?", (step, name, step)
                )
            else:
                done = connection.execute(
                    "DELETE FROM recovery_codes WHERE user = ? AND code = ?", (name, _fingerprint(code.strip().lower()))
                )
            if not done.rowcount:
                raise DeniedError("wrong or used one-time password")
        return Identity(name)

    def recognise(self, name: str, password: str) -> Identity:
        """By an access token, or by a password where no second factor is asked for. DeniedError."""
        if password.startswith(PREFIX):
            identity = self.recognise_token(password)
            if identity.user != name:
                raise DeniedError("wrong user name or password")
            return identity
        secret, _ = self._by_password(name, password)
        if secret is not None:
            raise DeniedError("this account has two-factor login: use a personal access token in place of the password")
        return Identity(name)

    def _by_password(self, name: str, password: str) -> tuple[str | None, int]:
        row = self._records.row("SELECT password, secret, last_step, disabled FROM users WHERE name = ?", (name,))
        right = passwords.verify(password, row[0] if row else passwords.NOBODYS)
        if row is None or not right or row[3]:
            raise DeniedError("wrong user name or password")
        return row[1], row[2]

    def recognise_token(self, text: str) -> Identity:
        """DeniedError when it was revoked, has expired, or never was."""
        row = self._records.row(
            "SELECT id, user, expires, used FROM tokens JOIN users ON users.name = user"
            " WHERE hash = ? AND NOT disabled",
            (_fingerprint(text),),
        )
        now = self._clock()
        if row is None or (row[2] is not None and row[2] <= now):
            raise DeniedError("this access token is not valid (any more)")
        if row[3] is None or now - row[3] > _USED_EVERY:
            with self._records.writing() as connection:
                connection.execute("UPDATE tokens SET used = ? WHERE id = ?", (now, row[0]))
        return Identity(row[1], row[0])

    def limits(self, identity: Identity) -> tuple[tuple[Grant, ...], ...] | None:
        """What bounds somebody now: the user's grants, and the token's. None when there is no such user or token any
        more. Doesn't block."""
        user = self._records.row("SELECT grants FROM users WHERE name = ? AND NOT disabled", (identity.user,))
        if user is None:
            return None
        if not identity.token:
            return (_read(user[0]),)
        token = self._records.row(
            "SELECT grants, expires FROM tokens WHERE id = ? AND user = ?", (identity.token, identity.user)
        )
        if token is None or (token[1] is not None and token[1] <= self._clock()):
            return None
        return (_read(user[0]), _read(token[0]))

    # Access tokens

    def make_token(self, user: str, name: str, grants: Sequence[Grant], lifetime: float | None) -> str:
        """The token itself, which is shown this once. NotFoundError; ConflictError when the user has one of this
        name."""
        if not name.strip() or len(name) > 100:
            raise InvalidError("a token needs a name of at most 100 characters")
        text = PREFIX + base64.b32encode(self._random(25)).decode("ascii").lower()
        now = self._clock()
        expires = now + lifetime if lifetime is not None else None
        id = self._random(6).hex()
        with self._records.writing() as connection:
            try:
                connection.execute(
                    "INSERT INTO tokens (id, user, name, hash, grants, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (id, user, name, _fingerprint(text), _written(grants), now, expires),
                )
            except sqlite3.IntegrityError as error:
                if "FOREIGN KEY" in str(error):
                    raise _no_user(user) from error
                raise ConflictError(
                    f"{user} has a token {name!r} already", hint="revoke it, or choose a name"
                ) from error
        return text

    def tokens(self, user: str = "") -> list[Token]:
        """Of one user, or of all."""
        rows = self._records.rows(
            "SELECT id, user, name, grants, created, expires, used FROM tokens WHERE ? IN ('', user)"
            " ORDER BY user, created",
            (user,),
        )
        return [Token(row[0], row[1], row[2], _read(row[3]), *row[4:]) for row in rows]

    def revoke(self, user: str, token: str) -> None:
        """By its id or name; at once. NotFoundError."""
        with self._records.writing() as connection:
            done = connection.execute("DELETE FROM tokens WHERE user = ? AND ? IN (id, name)", (user, token))
            if not done.rowcount:
                raise NotFoundError(f"{user} has no token {token!r}")


def _fingerprint(text: str) -> str:
    """Of what is random enough that guessing is hopeless."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _written(grants: Sequence[Grant]) -> str:
    return json.dumps([str(grant) for grant in grants])


def _read(text: str) -> tuple[Grant, ...]:
    return tuple(parse_grant(each) for each in json.loads(text))


def _no_user(name: str) -> NotFoundError:
    return NotFoundError(f"there is no user {name!r}", hint="boat registry user ls")
