"""Descriptors that clients handed over, kept until a request names them.

The packets are those of `client.descriptors`. An offer can be claimed once, by a request of the same user, for a short
time, and only while the connection that made it is open; what is not claimed is closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from boatyard.client.descriptors import Delivery, Offer, Refusal
from boatyard.client.failure import describe
from boatyard.errors import (
    BoatyardError,
    ConflictError,
    DeniedError,
    InvalidError,
    UnavailableError,
    UnsupportedError,
)
from boatyard.wire.peer import ELSEWHERE, Peer
from boatyard.wire.seqpacket import PacketConnection, close_all

log = logging.getLogger(__name__)

_offer = msgspec.json.Decoder(Offer)
_MAX_TOKEN = 64


@dataclass(eq=False, slots=True)
class Handover:
    """Descriptors of one offer, and the way back to who made it. Whoever claimed it closes it."""

    token: str
    descriptors: tuple[int, ...]
    peer: Peer
    connection: PacketConnection

    def close(self) -> None:
        descriptors, self.descriptors = self.descriptors, ()
        close_all(descriptors)

    def deliver(self, descriptors: Sequence[int]) -> None:
        """Send descriptors (copies of them) to the client. Thread-safe. UnavailableError when it has gone."""
        try:
            self.connection.send(msgspec.json.encode(Delivery(self.token)), descriptors)
        except OSError as error:
            raise UnavailableError(f"can't hand the terminal to the client: {error.strerror}") from error


class Offers:
    """The offers of all clients; a `PacketHandler`. One per daemon, used on its event loop."""

    def __init__(self, *, expiry: float = 30.0, patience: float = 20.0, per_user: int = 2048) -> None:
        """`expiry` and `patience` in seconds: how long an offer waits for its request, and a request for its offer.
        `per_user`: descriptors that wait at once."""
        self._expiry = expiry
        self._patience = patience
        self._per_user = per_user
        self._waiting: dict[str, tuple[Handover, asyncio.TimerHandle]] = {}
        self._waiting_per_user: Counter[int] = Counter()
        self._claims: dict[str, asyncio.Future[None]] = {}

    async def claim(self, token: str, uid: int) -> Handover:
        """The offer `token`, which the caller closes. UnavailableError when it never came, or no longer waits;
        DeniedError when another user made it, UnsupportedError for a client that is on another machine."""
        if uid == ELSEWHERE.uid:
            raise UnsupportedError(
                "a client on another machine can't hand over open files", hint="use a daemon of the client's machine"
            )
        if token not in self._waiting:
            await self._await_offer(token)
        if token not in self._waiting:
            raise UnavailableError("the client that handed the descriptors over has gone")
        handover = self._waiting[token][0]
        if handover.peer.uid != uid:
            raise DeniedError(
                "the descriptors were handed over by another user than the one who asks",
                hint="run the whole command as one user",
            )
        self._remove(token)
        return handover

    async def _await_offer(self, token: str) -> None:
        """The packet was sent before the request, but the two come on different sockets."""
        if token in self._claims:
            raise ConflictError("two requests name the same descriptors")
        future = self._claims[token] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._patience):
                await future
        except TimeoutError:
            raise UnavailableError(
                "the files that go with the request did not arrive",
                hint="the descriptor socket's connection must stay open until the request has ended",
            ) from None
        finally:
            del self._claims[token]

    def packet(self, connection: PacketConnection, data: bytes, descriptors: Sequence[int]) -> None:
        token = ""
        try:
            token = self._token(data)
            self._check(token, connection.peer, len(descriptors))
        except BoatyardError as error:
            close_all(descriptors)
            self._refuse(connection, token, error)
            return
        handover = Handover(token, tuple(descriptors), connection.peer, connection)
        timer = asyncio.get_running_loop().call_later(self._expiry, self._drop, token)
        self._waiting[token] = handover, timer
        self._waiting_per_user[connection.peer.uid] += len(descriptors)
        claim = self._claims.get(token)
        if claim is not None and not claim.done():
            claim.set_result(None)

    def ended(self, connection: PacketConnection) -> None:
        for token in [token for token, (handover, _) in self._waiting.items() if handover.connection is connection]:
            self._drop(token)

    def close(self) -> None:
        for token in list(self._waiting):
            self._drop(token)

    def _token(self, data: bytes) -> str:
        try:
            token = _offer.decode(data).token
        except msgspec.DecodeError as error:
            raise InvalidError(f"malformed packet on the descriptor socket: {error}") from error
        if not token or len(token) > _MAX_TOKEN:
            raise InvalidError(f"a token has 1 to {_MAX_TOKEN} characters, not {len(token)}")
        return token

    def _check(self, token: str, peer: Peer, count: int) -> None:
        if token in self._waiting:
            raise ConflictError("descriptors with this token are waiting already")
        if self._waiting_per_user[peer.uid] + count > self._per_user:
            raise DeniedError(
                f"more than {self._per_user} descriptors of user {peer.uid} wait for requests",
                hint="start fewer requests at once",
            )

    def _refuse(self, connection: PacketConnection, token: str, error: BoatyardError) -> None:
        log.warning("refused descriptors of process %d: %s", connection.peer.pid, error)
        try:
            connection.send(msgspec.json.encode(Refusal(token, describe(error))))
        except OSError:
            log.debug("the client that was refused has gone")
        connection.close()

    def _remove(self, token: str) -> Handover:
        handover, timer = self._waiting.pop(token)
        timer.cancel()
        self._waiting_per_user[handover.peer.uid] -= len(handover.descriptors)
        if not self._waiting_per_user[handover.peer.uid]:
            del self._waiting_per_user[handover.peer.uid]
        return handover

    def _drop(self, token: str) -> None:
        self._remove(token).close()
