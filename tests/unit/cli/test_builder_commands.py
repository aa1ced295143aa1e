from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boatyard.client.documents.builds import BuildDetail, BuildList, BuildsDeleted, BuildStep, BuildSummary
from boatyard.client.documents.disk import (
    CacheMount,
    CacheMountList,
    CacheMountsDeleted,
    CacheMountTransferred,
    Pruned,
    Usage,
    UsageRecord,
)
from boatyard.client.documents.envelope import EndResult
from boatyard.client.documents.runs import RunResult
from boatyard.progress import LogEvent, VertexEvent
from fixtures.native_daemon import Asked, NativeDaemon

Boat = Callable[..., Any]
REF = "0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def history(daemon: NativeDaemon) -> None:
    started = time.time() - 3700
    summary = {
        "ref": REF,
        "name": "app",
        "status": "completed",
        "started": started,
        "completed": started + 12.3,
        "steps": 5,
        "completed_steps": 5,
        "cached_steps": 2,
    }
    daemon.answers["GET", "/builds"] = BuildList(builds=(BuildSummary(**summary),))
    steps = (
        BuildStep(number=1, vertex="sha256:a", name="FROM base", completed=started, cached=True),
        BuildStep(number=2, vertex="sha256:b", name="RUN make", started=started, completed=started + 2),
    )
    daemon.answers["GET", "/builds/latest"] = BuildDetail(**summary, step_list=steps, locals={"context": "/src"})


def test_past_builds_are_listed(boat: Boat, daemon: NativeDaemon) -> None:
    assert boat("builder", "history", "-n", "5", "--status", "completed").out.splitlines() == [
        "BUILD ID       NAME   STATUS      CREATED      DURATION   STEPS",
        "0123456789ab   app    Completed   1 hour ago   12.3s      5/5 (2 cached)",
    ]
    assert daemon.asked[-1].query == {"limit": "5", "status": "completed"}
    assert boat("builder", "history", "-q", "--no-trunc").out == REF + "\n"


def test_one_build_is_shown_with_its_steps(boat: Boat) -> None:
    lines = boat("builder", "history", "latest").out.splitlines()
    assert "Local context:   /src" in lines
    assert lines[-3:] == [
        "#   STATE    DURATION   STEP",
        "1   cached              FROM base",
        "2   done     2.0s       RUN make",
    ]
    told = boat("builder", "history", "latest", "--format", "{{range .StepList}}{{.Number}}:{{.State}} {{end}}")
    assert told.out == "1:cached 2:done \n"


def test_removing_builds_needs_their_names_or_all(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/builds/delete"] = BuildsDeleted(refs=(REF,))
    assert boat("builder", "history", "--rm").code == 2
    assert boat("builder", "history", "--all").code == 2
    assert boat("builder", "history", "--rm", "abc").out == REF + "\n"
    assert daemon.asks("/builds/delete") == {"refs": ["abc"]}


def test_the_log_of_a_build_is_shown_as_it_was(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["GET", "/builds/latest/logs"] = [
        VertexEvent(digest="a", name="RUN make", started=1.0),
        LogEvent(vertex="a", stream=1, data="x\n", time=1.5),
        VertexEvent(digest="a", name="RUN make", started=1.0, completed=2.0),
        EndResult(),
    ]
    assert boat("builder", "logs", "-f").out == "#1 RUN make\n#1 0.500 x\n#1 DONE 1.0s\n"
    assert daemon.asked[-1].query == {"follow": "1"}
    assert len(boat("builder", "logs", "--progress=rawjson").out.splitlines()) == 3


def test_running_builds_can_be_ended(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", f"/builds/{REF}/cancel"] = daemon.answers["GET", "/builds/latest"]
    assert boat("builder", "cancel", REF).out == REF + "\n"


def test_usage_is_told_largest_first_with_totals(boat: Boat, daemon: NativeDaemon) -> None:
    now = time.time()
    daemon.answers["GET", "/usage"] = Usage(
        records=(
            UsageRecord(id="small", type="regular", size=10, created=now - 10, description="RUN a"),
            UsageRecord(id="large", type="exec.cachemount", size=10**9, created=now - 10, last_used=now, in_use=True),
        ),
        total=10**9 + 10,
        reclaimable=10,
    )
    lines = boat("builder", "du", "--filter", "type=regular", "--filter", "id~=x").out.splitlines()
    assert daemon.asked[-1].query["filter"].split("\n") == ["type==regular", "id~=x"]
    assert lines[0].split() == ["ID", "TYPE", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED", "DESCRIPTION"]
    assert lines[1].startswith("large   exec.cachemount   false         1GB")
    assert lines[-1] == "Total:         1GB"
    assert "Usage count:   0" in boat("builder", "du", "-v").out
    assert json.loads(boat("builder", "du", "--format", "json").out.splitlines()[0])["Bytes"] == 10**9


def test_pruning_has_the_limits_of_buildkit(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", "/prune"] = Pruned(records=(), bytes=0)
    told = boat(
        "builder", "prune", "-af", "--filter", "until=24h", "--filter", "type=regular", "--keep-storage", "1g",
        "--max-used-space=2g", "--min-free-space=3g", "--keep-duration=1h",
    )  # fmt: skip
    assert told.out == "Total: 0B\n"
    assert daemon.asks("/prune") == {
        "filters": ["type==regular"],
        "all": True,
        "keep_duration": 86400.0,
        "reserved_space": 1 << 30,
        "max_used_space": 2 << 30,
        "min_free_space": 3 << 30,
    }
    assert boat("builder", "prune").code == 2
    assert boat("builder", "prune", "--dry-run").out == "Would reclaim: 0B\n"


def test_cache_mounts_are_listed_carried_and_removed(boat: Boat, daemon: NativeDaemon, work: Path) -> None:
    daemon.answers["GET", "/cache-mounts"] = CacheMountList(
        mounts=(CacheMount(id="pip", size=5_000_000, sharing="shared", last_used=time.time() - 5),)
    )
    daemon.answers["POST", "/cache-mounts/delete"] = CacheMountsDeleted(ids=("pip",), bytes=5_000_000)
    assert boat("builder", "cache-mount", "ls").out.splitlines()[1].split() == [
        "pip", "5MB", "shared", "N/A", "5", "seconds", "ago", "false",
    ]  # fmt: skip
    assert boat("builder", "cache-mount", "rm", "pip").out == "pip\nTotal reclaimed space: 5MB\n"
    assert boat("builder", "cache-mount", "rm").code == 2

    def export(asked: Asked) -> Iterator[object]:
        os.write(daemon.taken(asked.body["token"])[0], b"tar")
        yield CacheMountTransferred(id="pip", files=3, bytes=3)

    daemon.answers["POST", "/cache-mounts/export"] = export
    assert boat("builder", "cache-mount", "export", "pip", "-o", "pip.tgz").err.endswith("exported 3 files, 3B\n")
    assert daemon.asks("/cache-mounts/export")["compression"] == "gzip"
    assert (work / "pip.tgz").read_bytes() == b"tar"
    daemon.answers["POST", "/cache-mounts/import"] = [CacheMountTransferred(id="pip", files=3, bytes=3)]
    assert boat("builder", "cache-mount", "import", "pip", "-i", "pip.tgz").code == 0
    assert daemon.read(daemon.asks("/cache-mounts/import")["token"]) == b"tar"


def test_a_debug_shell_without_a_terminal_gets_the_three_streams(boat: Boat, daemon: NativeDaemon) -> None:
    daemon.answers["POST", f"/builds/{REF}/debug"] = [RunResult(exit_code=3)]
    assert boat("builder", "debug", "--after", REF, "4", "ls", "-l").code == 3
    request = daemon.asks(f"/builds/{REF}/debug")
    assert (request["step"], request["argv"], request["after"]) == ("4", ["ls", "-l"], True)
    assert len(daemon.taken(request["stdio"])) == 3
