"""Whether the client of a session is still there: a machine that vanished closes no connection.

A busy client may be slow to answer: only after two checks in a row have failed, each with much time, is it given up.

Specification: moby/buildkit, `session/grpc.go`; grpc, health/v1.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from boatyard._pb.health_grpc import HealthStub
from boatyard._pb.health_pb2 import HealthCheckRequest
from boatyard.session.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds between checks and for an answer; so many failures in a row are the end."""

    interval: float = 5.0
    timeout: float = 15.0
    failures: int = 2


async def watch(session: Session, patience: Patience) -> None:
    """Ends the session when its client doesn't answer any more. Returns when it has ended."""
    stub = HealthStub(session.channel)
    failed = 0
    taken = 0.0
    loop = asyncio.get_running_loop()
    while session.is_live:
        try:
            async with asyncio.timeout(patience.interval):
                await session.wait_ended()
            return
        except TimeoutError:
            pass
        started = loop.time()
        problem = await _check(stub, max(patience.timeout, taken * 1.5))
        taken = loop.time() - started
        if problem is None or not session.is_live:
            failed = 0
            continue
        failed += 1
        log.warning("session %s does not answer: %s", session.id, problem)
        if failed >= patience.failures:
            session.end(f"the client did not answer health checks: {problem}")


async def _check(stub: HealthStub, within: float) -> str | None:
    try:
        await stub.Check(HealthCheckRequest(), timeout=within)
    except GRPCError as error:
        # An old client serves no health checks, but it did answer.
        return None if error.status is Status.UNIMPLEMENTED else error.message or error.status.name
    except (StreamTerminatedError, OSError, TimeoutError) as error:
        return str(error) or type(error).__name__
    return None
