"""This daemon as BuildKit's clients know it: one worker, and a version to compare with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from boatyard import BUILDKIT_VERSION
from boatyard._pb import worker_pb2
from boatyard._pb.worker_pb2 import BuildkitVersion, WorkerRecord
from boatyard.api.buildkit import values
from boatyard.api.buildkit.backend import Worker
from boatyard.build.prune import Policy
from boatyard.errors import InvalidError
from boatyard.image import platform as platforms

PACKAGE = "boatyard"
DOCKERFILE = "1.26.0"
"""The version of BuildKit's Dockerfile frontend whose language the built-in one speaks."""
_TERM = re.compile(
    r"(?P<field>id|labels\.(?:\"(?P<quoted>[^\"]+)\"|(?P<label>[\w./-]+)))(?:(?P<op>==|!=|~=)(?P<value>.*))?"
)


def version() -> BuildkitVersion:
    return BuildkitVersion(package=PACKAGE, version=BUILDKIT_VERSION, dockerfileVersion=DOCKERFILE)


async def record(worker: Worker) -> WorkerRecord:
    return WorkerRecord(
        ID=worker.id,
        Labels=await worker.labels(),
        platforms=[values.platform_message(platforms.parse(each)) for each in worker.platforms()],
        GCPolicy=cast(Any, [_policy(policy) for policy in worker.gc_policies]),
        BuildkitVersion=version(),
        CDIDevices=[
            worker_pb2.CDIDevice(Name=device.name, AutoAllow=device.auto_allow, Annotations=device.annotations)
            for device in worker.devices()
        ],
    )


async def records(worker: Worker, filters: Sequence[str]) -> list[WorkerRecord]:
    """The worker, if one of the filters is for it, or there are none."""
    labels = await worker.labels()
    if filters and not any(_matches(worker.id, labels, text) for text in filters):
        return []
    return [await record(worker)]


def _matches(id: str, labels: Mapping[str, str], text: str) -> bool:
    """A filter as containerd writes them: terms that must all be true, `id==X`, `labels."NAME"==X`, `labels.NAME`."""
    for term in text.split(",") if text else ():
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise InvalidError(f"invalid filter {term!r}", hint='write id==ID or labels."NAME"==VALUE')
        name = match["quoted"] or match["label"]
        value = id if match["field"] == "id" else labels.get(name)
        wanted = (match["value"] or "").strip('"')
        if match["op"] is None:
            found = bool(value)
        elif match["op"] == "~=":
            found = value is not None and _found(wanted, value)
        else:
            found = (value == wanted) == (match["op"] == "==")
        if not found:
            return False
    return True


def _found(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise InvalidError(f"invalid pattern {pattern!r} in a filter: {error}") from error


def _policy(policy: Policy) -> worker_pb2.GCPolicy:
    return worker_pb2.GCPolicy(
        all=policy.all,
        keepDuration=round(policy.keep_duration * values.NANO),
        reservedSpace=policy.reserved_space,
        filters=policy.filters,
        maxUsedSpace=policy.max_used_space,
        minFreeSpace=policy.min_free_space,
    )
