"""Serving LLBBridge to one guest, as a protocol: it is spoken in `api`, and used here."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from boatyard.build.frontend.base import FrontendRequest, FrontendResult, GuestBridge


class Conversation(Protocol):
    """One guest's, from its first call to its result."""

    @property
    def protocol(self) -> asyncio.Protocol:
        """For the connection to the guest; it serves one."""

    @property
    def returned(self) -> asyncio.Future[FrontendResult]:
        """What the guest has given. Its exception is what the guest failed with, as it told it: BuildError, or the
        builder's own error that it let pass."""

    @property
    def quiet_since(self) -> float | None:
        """The event loop's time at which the last call ended (or the conversation began); None while one is under
        way."""


class Converse(Protocol):
    def __call__(self, bridge: GuestBridge, request: FrontendRequest) -> AbstractAsyncContextManager[Conversation]:
        """Everything that the guest was given (references, containers) is let go at the end."""
