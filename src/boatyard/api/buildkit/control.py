"""Control: what BuildKit's clients call first, and most of what they call."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from boatyard._pb import control_pb2 as pb
from boatyard._pb.control_grpc import ControlBase
from boatyard.api.buildkit import disk, solving, workers
from boatyard.api.buildkit.active import ActiveBuilds
from boatyard.api.buildkit.backend import Backend
from boatyard.api.buildkit.gateway.guest import Guest
from boatyard.api.buildkit.history import Records
from boatyard.api.buildkit.status import StatusMessages
from boatyard.api.buildkit.trace import BuildTraces
from boatyard.errors import InvalidError, NotFoundError
from boatyard.image.interruption import run_settled, settled
from boatyard.session import announcement
from boatyard.wire.grpc.bytestream import ByteStream
from boatyard.wire.grpc.call import caller
from boatyard.wire.grpc.channel import Channel
from boatyard.wire.tunnel import Tunnel

NOW = "buildkit-current-timestamp"
"""Clients correct the times they are told by the difference between this and their own clock."""
PAUSE = 0.05
"""Seconds between two messages about a build: people don't read faster, and each wakes two processes."""
BUILD = "buildkit-controlapi-buildid"
"""The ref of the build whose frontend a client is."""


class Control(ControlBase):
    def __init__(self, backend: Backend, builds: ActiveBuilds, traces: BuildTraces) -> None:
        self._backend = backend
        self._builds = builds
        self._traces = traces
        self._records = Records(backend.history, backend.content)

    # Builds

    async def Solve(self, stream: Any) -> None:  # noqa: N802
        request: pb.SolveRequest = await _asked(stream)
        async with self._builds.begin(request.Ref) as active:
            self._traces.begin(request.Ref, stream.metadata or {})
            try:
                response = await solving.solve(request, self._backend, active)
            finally:
                self._traces.ended(request.Ref)
        await stream.send_message(response)

    async def Status(self, stream: Any) -> None:  # noqa: N802
        """A build that runs, or ran, or is about to: clients ask for both at once."""
        request: pb.StatusRequest = await _asked(stream)
        history = self._backend.history
        ref = request.Ref
        record = history.find(ref) if history.running(ref) is None else None  # mostly, there is none yet
        active = self._builds.find(ref)
        if record is None or (active is not None and not active.ended):
            await (await self._builds.get(ref)).begun.wait()
            if history.running(ref) is None:
                record = await asyncio.to_thread(history.find, ref)
        await _send_time(stream)
        if history.running(ref) is None and record is None:
            return  # it failed before it began, which its Solve has told
        messages = StatusMessages(lambda: history.sources(ref))
        async with aclosing(history.follow(ref, pause=PAUSE)) as batches:
            async for events in batches:
                for message in messages.of(events):
                    await stream.send_message(message)

    async def guest(self, stream: Any) -> Guest:
        """The frontend that a call of the gateway is of. NotFoundError."""
        ref = (stream.metadata or {}).get(BUILD, "")
        if not isinstance(ref, str) or not ref:
            raise InvalidError(f"a call of the gateway has to say of which build it is, in {BUILD}")
        guest = await (await self._builds.get(ref)).guest()
        guest.check()
        return guest

    async def Session(self, stream: Any) -> None:  # noqa: N802
        """Lasts as long as the session."""
        announced = announcement.read((name, str(value)) for name, value in (stream.metadata or {}).items())
        sessions = self._backend.places.sessions
        sessions.check(announced)
        credentials = caller(stream).credentials
        channel = Channel()
        carrier = ByteStream(stream, pb.BytesMessage)
        tunnel = asyncio.ensure_future(Tunnel(channel.protocol, carrier.receive, carrier.send).run())
        try:
            await sessions.serve(announced, channel, peer=f"uid {credentials.uid}" if credentials else "")
        finally:
            tunnel.cancel()
            await settled(asyncio.gather(tunnel, return_exceptions=True))

    # The past

    async def ListenBuildHistory(self, stream: Any) -> None:  # noqa: N802
        request: pb.BuildHistoryRequest = await _asked(stream)
        await _send_time(stream)
        async with aclosing(self._records.listen(request)) as events:
            async for event in events:
                await stream.send_message(event)

    async def UpdateBuildHistory(self, stream: Any) -> None:  # noqa: N802
        request: pb.UpdateBuildHistoryRequest = await _asked(stream)
        history = self._backend.history
        if await asyncio.to_thread(history.find, request.Ref) is None:
            raise NotFoundError(f"no build {request.Ref!r} in the history")
        if request.Delete:
            history.delete(request.Ref)
        elif request.Finalize:
            await self._traces.finalize(request.Ref)
        else:
            history.pin(request.Ref, request.Pinned)
        await stream.send_message(pb.UpdateBuildHistoryResponse())

    # The daemon

    async def DiskUsage(self, stream: Any) -> None:  # noqa: N802
        request: pb.DiskUsageRequest = await _asked(stream)
        found = await asyncio.to_thread(disk.usage, request, self._backend.usage)
        await stream.send_message(pb.DiskUsageResponse(record=found))

    async def Prune(self, stream: Any) -> None:  # noqa: N802
        request: pb.PruneRequest = await _asked(stream)
        removed = await run_settled(self._backend.pruner.prune, disk.policy(request))
        for row in removed:
            await stream.send_message(disk.record(row))

    async def ListWorkers(self, stream: Any) -> None:  # noqa: N802
        request: pb.ListWorkersRequest = await _asked(stream)
        found = await workers.records(self._backend.worker, request.filter)
        await stream.send_message(pb.ListWorkersResponse(record=found))

    async def Info(self, stream: Any) -> None:  # noqa: N802
        await _asked(stream)
        await stream.send_message(pb.InfoResponse(buildkitVersion=workers.version()))


async def _asked(stream: Any) -> Any:
    request = await stream.recv_message()
    if request is None:
        raise InvalidError("the call has no request")
    return request


async def _send_time(stream: Any) -> None:
    now = datetime.now(UTC)
    await stream.send_initial_metadata(metadata={NOW: f"{now:%Y-%m-%dT%H:%M:%S.%f}000Z"})
