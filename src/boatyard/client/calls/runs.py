"""Running an image."""

from __future__ import annotations

from boatyard.client.calls.call import Call, StreamCall
from boatyard.client.documents.envelope import Done
from boatyard.client.documents.runs import RunRequest, RunResult, SignalRequest


def run(request: RunRequest) -> StreamCall[RunResult]:
    """Closing the stream before its end kills the container."""
    return StreamCall("POST", "/runs", RunResult, body=request)


def signal_run(id: str, signal: str) -> Call[Done]:
    return Call("POST", "/runs/{id}/signal", Done, body=SignalRequest(signal=signal), names={"id": id})
