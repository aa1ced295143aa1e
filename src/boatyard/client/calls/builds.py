"""Building, and the builds of the past."""

from __future__ import annotations

from boatyard.client.calls.call import Call, StreamCall
from boatyard.client.documents.builds import (
    BuildDelete,
    BuildDetail,
    BuildList,
    BuildRequest,
    BuildResult,
    BuildsDeleted,
    DebugRequest,
)
from boatyard.client.documents.envelope import EndResult
from boatyard.client.documents.runs import RunResult


def build(request: BuildRequest) -> StreamCall[BuildResult]:
    """Closing the stream before its end cancels the build."""
    return StreamCall("POST", "/builds", BuildResult, body=request)


def list_builds(*, limit: int = 0, status: str = "") -> Call[BuildList]:
    """Newest first; `limit` 0 is all."""
    query = {"limit": str(limit)} if limit else {}
    if status:
        query["status"] = status
    return Call("GET", "/builds", BuildList, query=query)


def inspect_build(ref: str) -> Call[BuildDetail]:
    """`ref` may be a unique prefix, or "latest"."""
    return Call("GET", "/builds/{ref}", BuildDetail, names={"ref": ref})


def build_logs(ref: str, *, follow: bool = False) -> StreamCall[EndResult]:
    """The events of the build as they came; with `follow`, also those still to come of a running one."""
    return StreamCall(
        "GET", "/builds/{ref}/logs", EndResult, names={"ref": ref}, query={"follow": "1"} if follow else {}
    )


def cancel_build(ref: str) -> Call[BuildDetail]:
    """The build's state after it has ended."""
    return Call("POST", "/builds/{ref}/cancel", BuildDetail, names={"ref": ref})


def delete_builds(request: BuildDelete) -> Call[BuildsDeleted]:
    return Call("POST", "/builds/delete", BuildsDeleted, body=request)


def debug_build(ref: str, request: DebugRequest) -> StreamCall[RunResult]:
    return StreamCall("POST", "/builds/{ref}/debug", RunResult, body=request, names={"ref": ref})
