from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.api.buildkit import workers
from boatyard.api.buildkit.backend import Worker
from boatyard.api.buildkit.filters import duration, matcher
from boatyard.build.prune import Policy
from boatyard.build.recording import BuildRecord
from boatyard.errors import InvalidError
from boatyard.runtime.cdi.registry import Device

NOW = 1_800_000_000.0


def record(ref: str = "one", **fields: object) -> BuildRecord:
    values: dict[str, object] = {"ref": ref, "name": "", "status": "completed", "created": NOW - 3600}
    return BuildRecord(**{**values, "completed": NOW - 3500, **fields})  # type: ignore[arg-type]


def matches(text: str, found: BuildRecord) -> bool:
    return matcher([text], NOW)(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ref==one", True),
        ("ref!=one", False),
        ("ref~=^o", True),
        ('ref=="one"', True),
        ("ref", True),
        ("repository", False),
        ("status==completed", True),
        ("startedAt<30m", True),
        ("startedAt>30m", False),
        ("startedAt>=2h", True),
        ("completedAt>2020-01-02T03:04:05Z", True),
        ("completedAt<=2020-01-02T03:04:05+02:00", False),
        ("duration>1m39s", True),
        ("duration<=1m40s", True),
        ("duration>100.5s", False),
        ("ref==one,status==error", False),
        ("ref==one, status==completed", True),
        ('"ref~=a,b",ref==one', False),
    ],
)
def test_filters_of_builds(text: str, expected: bool) -> None:
    assert matches(text, record()) is expected


def test_one_of_several_filters_is_enough() -> None:
    found = matcher(["ref==other", "ref==one"], NOW)
    assert found(record())
    assert matcher([], NOW)(record())


@pytest.mark.parametrize(
    ("status", "told"),
    [("running", "running"), ("failed", "error"), ("interrupted", "error"), ("cancelled", "canceled")],
)
def test_statuses_have_buildkits_names(status: str, told: str) -> None:
    assert matches(f"status=={told}", record(status=status))


@pytest.mark.parametrize(
    ("options", "repository"),
    [
        ({"vcs:source": "https://host/x"}, "https://host/x"),
        ({"context": "https://host/x.git#main:sub"}, "https://host/x.git"),
        ({"context": "git@host:x"}, "git@host:x"),
        ({"context": "https://host/x.tar"}, ""),
    ],
)
def test_a_builds_repository(options: dict[str, str], repository: str) -> None:
    assert matches(f"repository=={repository}", record(options=options))


@pytest.mark.parametrize("text", ["", "nonsense", "duration>soon", "startedAt<yesterday", "ref~=(", "ref<one"])
def test_filters_that_make_no_sense(text: str) -> None:
    with pytest.raises(InvalidError):
        matcher([text], NOW)


@given(st.text(alphabet='refstaud=!~<>"(),. 0123456789mhs', max_size=40))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    try:
        found = matcher([text], NOW)
    except InvalidError:
        return
    assert found(record()) in (True, False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("90s", 90), ("1.5ms", 0.0015), ("x", None), ("", None)]
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == pytest.approx(seconds) if seconds is not None else duration(text) is None


async def labels() -> dict[str, str]:
    return {"a.b/c": "d", "plain": "x"}


WORKER = Worker(
    "id1",
    lambda: ["linux/amd64"],
    labels,
    [Policy(filters=("type==x",), keep_duration=1.5, all=True)],
    lambda: [Device("vendor.com/kind=one", {"a": "b"}, auto_allow=True)],
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", True),
        ("id==id1", True),
        ("id!=id1", False),
        ("id~=^id", True),
        ('labels."a.b/c"==d', True),
        ("labels.plain", True),
        ("labels.other", False),
        ("labels.other!=x", True),
        ("id==id1,labels.plain==y", False),
    ],
)
async def test_filters_of_workers(text: str, found: bool) -> None:
    assert bool(await workers.records(WORKER, [text])) is found


@pytest.mark.parametrize("text", ["nonsense", "id~=(", "labels", "id="])
async def test_filters_of_workers_that_make_no_sense(text: str) -> None:
    with pytest.raises(InvalidError):
        await workers.records(WORKER, [text])


async def test_what_a_worker_tells() -> None:
    told = await workers.record(WORKER)
    assert (told.ID, told.platforms[0].OS, told.platforms[0].Architecture) == ("id1", "linux", "amd64")
    assert (told.GCPolicy[0].keepDuration, told.GCPolicy[0].all) == (1_500_000_000, True)
    [device] = told.CDIDevices
    assert (device.Name, device.AutoAllow, dict(device.Annotations)) == ("vendor.com/kind=one", True, {"a": "b"})
