"""Builds of the past, their documents, disk usage and workers, as BuildKit's clients ask for them."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from boatyard._pb import content_pb2, trace_pb2
from boatyard._pb import control_pb2 as control
from boatyard._pb.status_pb2 import Status
from e2e.buildkit import CONTENT, CONTROL, PATIENCE, BuildKit, FailedError, Session, connected, logs
from e2e.yard import Yard

STARTED, COMPLETE, DELETED = range(3)
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture
def client(yard: Yard) -> Iterator[BuildKit]:
    with connected(yard) as client:
        yield client


def build(client: BuildKit, text: str = "FROM busybox\n", **fields: Any) -> str:
    ref = uuid.uuid4().hex
    client.dockerfile(text, Ref=ref, **fields)
    return ref


def record(client: BuildKit, ref: str) -> Any:
    [event] = client.history(Ref=ref)
    assert event.type == COMPLETE
    return event.record


def blob(client: BuildKit, digest: str, **fields: int) -> bytes:
    request = content_pb2.ReadContentRequest(digest=digest, **fields)
    return b"".join(part.data for part in client.stream(f"{CONTENT}Read", request, content_pb2.ReadContentResponse))


def update(client: BuildKit, ref: str, **fields: Any) -> None:
    request = control.UpdateBuildHistoryRequest(Ref=ref, **fields)
    client.call(f"{CONTROL}UpdateBuildHistory", request, control.UpdateBuildHistoryResponse)


def test_a_record_names_all_that_is_known_of_a_build(client: BuildKit) -> None:
    tag = uuid.uuid4().hex
    attrs = {"build-arg:A": "b", "label:l": "v"}
    ref = build(
        client,
        f"FROM busybox\nRUN echo told-{tag}\n",
        FrontendAttrs=attrs,
        Exporters=[control.Exporter(Type="image", Attrs={"name": "buildkit-history"})],
    )
    found = record(client, ref)
    assert (found.Frontend, dict(found.FrontendAttrs)) == ("dockerfile.v0", attrs)
    assert found.Exporters[0].Type == "image"
    assert found.CompletedAt.ToDatetime() >= found.CreatedAt.ToDatetime()
    assert found.numTotalSteps == found.numCompletedSteps >= 3
    assert found.ExporterResponse["containerimage.digest"] == found.Result.Results[0].digest
    messages = []
    data = blob(client, found.logs.digest)
    assert len(data) == found.logs.size
    while data:
        size = int.from_bytes(data[:4], "little")
        messages.append(control.StatusResponse.FromString(data[4 : 4 + size]))
        data = data[4 + size :]
    assert logs(messages) == f"told-{tag}\n"
    manifest = json.loads(blob(client, found.Result.Results[0].digest))
    assert manifest["layers"]
    [provenance] = found.Result.Attestations
    assert provenance.annotations["in-toto.io/predicate-type"] == "https://slsa.dev/provenance/v1"
    document = json.loads(blob(client, provenance.digest))
    assert document["buildDefinition"]["externalParameters"]["request"]["args"] == attrs
    assert document["buildDefinition"]["resolvedDependencies"][0]["uri"].startswith("pkg:docker/busybox@latest")


def test_a_failed_build_names_its_whole_error(client: BuildKit) -> None:
    ref = uuid.uuid4().hex
    with pytest.raises(FailedError) as failure:
        client.dockerfile("FROM busybox\nRUN exit 3\n", Ref=ref)
    found = record(client, ref)
    assert (found.error.code, found.error.message) == (2, failure.value.message)
    assert not found.error.details
    whole = Status.FromString(blob(client, found.externalError.digest))
    assert [detail.type_url for detail in whole.details if "errdefs" in detail.type_url]
    assert not found.HasField("Result")


def test_listeners_hear_of_builds_while_they_happen(client: BuildKit) -> None:
    heard: list[tuple[int, str]] = []
    ready, done = threading.Event(), threading.Event()
    ref = uuid.uuid4().hex

    def listen() -> None:
        request = control.BuildHistoryRequest(ActiveOnly=True, Ref=ref)
        method = client._channel.unary_stream(
            f"{CONTROL}ListenBuildHistory",
            control.BuildHistoryRequest.SerializeToString,
            control.BuildHistoryEvent.FromString,
        )
        call = method(request, timeout=PATIENCE)
        assert "buildkit-current-timestamp" in dict(call.initial_metadata())
        ready.set()
        for event in call:
            heard.append((event.type, event.record.Ref))
            if event.type == DELETED:
                done.set()
                call.cancel()
                return

    listening = threading.Thread(target=listen)
    listening.start()
    assert ready.wait(PATIENCE)
    client.dockerfile("FROM busybox\n", Ref=ref)
    update(client, ref, Delete=True)
    assert done.wait(PATIENCE)
    listening.join(PATIENCE)
    assert set(heard) == {(STARTED, ref), (COMPLETE, ref), (DELETED, ref)}
    assert heard[0] == (STARTED, ref)


def test_records_are_chosen_by_ref_filter_and_number(client: BuildKit) -> None:
    refs = [build(client) for _ in range(3)]
    told = [event.record.Ref for event in client.history(Limit=2)]
    assert told == [refs[2], refs[1]]
    assert [event.record.Ref for event in client.history(Filter=[f"ref=={refs[0]}"])] == [refs[0]]
    assert refs[0] not in [event.record.Ref for event in client.history(Filter=["status==error"])]
    assert client.history(Ref="unknown") == []
    with pytest.raises(FailedError) as failure:
        client.history(Filter=["nonsense"])
    assert failure.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_records_are_pinned_and_deleted(client: BuildKit) -> None:
    ref = build(client)
    before = record(client, ref).Generation
    update(client, ref, Pinned=True)
    assert record(client, ref).pinned
    assert record(client, ref).Generation > before
    digest = record(client, ref).logs.digest
    update(client, ref, Delete=True)
    assert client.history(Ref=ref) == []
    with pytest.raises(FailedError) as failure:
        update(client, ref, Pinned=True)
    assert failure.value.code is grpc.StatusCode.NOT_FOUND
    with pytest.raises(FailedError) as failure:
        blob(client, digest)
    assert failure.value.code is grpc.StatusCode.NOT_FOUND


def test_an_internal_build_is_no_build_of_the_past(client: BuildKit) -> None:
    ref = build(client, Internal=True)
    assert client.history(Ref=ref) == []


def test_a_build_has_a_trace_with_what_the_client_tells_of_it(client: BuildKit) -> None:
    trace, span = uuid.uuid4().bytes, uuid.uuid4().bytes[:8]
    ref = uuid.uuid4().hex
    session = Session({"context": {}, "dockerfile": {"Dockerfile": "FROM busybox\nRUN true\n"}})
    with client.session(session):
        request = control.SolveRequest(Ref=ref, Session=session.id, Frontend="dockerfile.v0")
        parent = [("traceparent", f"00-{trace.hex()}-{span.hex()}-01")]
        client.call(f"{CONTROL}Solve", request, control.SolveResponse, metadata=parent)
    told = trace_pb2.Span(
        trace_id=trace,
        span_id=span,
        name="the client's",
        kind=trace_pb2.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=1_700_000_000_123_456_789,
        end_time_unix_nano=1_700_000_001_000_000_000,
        attributes=[trace_pb2.KeyValue(key="n", value=trace_pb2.AnyValue(int_value=7))],
    )
    resource = trace_pb2.ResourceSpans(scope_spans=[trace_pb2.ScopeSpans(spans=[told])])
    client.call(
        EXPORT,
        trace_pb2.ExportTraceServiceRequest(resource_spans=[resource]),
        trace_pb2.ExportTraceServiceResponse,
    )
    update(client, ref, Finalize=True)
    spans = [json.loads(line) for line in blob(client, record(client, ref).trace.digest).splitlines()]
    assert {each["SpanContext"]["TraceID"] for each in spans} == {trace.hex()}
    by_name = {each["Name"]: each for each in spans}
    assert by_name["the client's"]["StartTime"] == "2023-11-14T22:13:20.123456789Z"
    assert by_name["the client's"]["Attributes"] == [{"Key": "n", "Value": {"Type": "INT64", "Value": 7}}]
    solve = by_name["moby.buildkit.v1.Control/Solve"]
    assert solve["Parent"]["SpanID"] == span.hex()
    assert by_name["[2/2] RUN true"]["Parent"] == solve["SpanContext"]


def test_blobs_are_listed_and_read_in_parts(client: BuildKit) -> None:
    found = record(client, build(client)).logs
    info = client.call(f"{CONTENT}Info", content_pb2.InfoRequest(digest=found.digest), content_pb2.InfoResponse).info
    assert (info.digest, info.size) == (found.digest, found.size)
    whole = blob(client, found.digest)
    assert blob(client, found.digest, offset=5, size=7) == whole[5:12]
    listed = client.stream(f"{CONTENT}List", content_pb2.ListContentRequest(), content_pb2.ListContentResponse)
    assert found.digest in {each.digest for part in listed for each in part.info}
    for method, request, answer in (
        ("Delete", content_pb2.DeleteContentRequest(digest=found.digest), content_pb2.DeleteContentRequest),
        ("Abort", content_pb2.AbortRequest(ref="x"), content_pb2.AbortRequest),
    ):
        with pytest.raises(FailedError) as failure:
            client.call(CONTENT + method, request, answer)
        assert failure.value.code is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(FailedError) as failure:
        blob(client, "sha256:nonsense")
    assert failure.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_disk_usage_is_told_and_freed(own_yard: Yard) -> None:
    own_yard.run("bootstrap", "busybox")
    with connected(own_yard) as client:
        build(client, "FROM busybox\nRUN --mount=type=cache,target=/c echo x > /c/x && echo y > /y\n")

        def usage(*filter: str) -> list[Any]:
            request = control.DiskUsageRequest(filter=filter)
            return list(client.call(f"{CONTROL}DiskUsage", request, control.DiskUsageResponse).record)

        rows = usage()
        assert {"regular", "exec.cachemount", "source.local"} <= {row.RecordType for row in rows}
        step = next(row for row in rows if row.Description.startswith("[2/2] RUN"))
        assert step.Parents and step.Size and step.UsageCount >= 0
        assert next(row for row in rows if row.RecordType == "exec.cachemount").Mutable
        assert {row.RecordType for row in usage("type==exec.cachemount")} == {"exec.cachemount"}
        assert len(usage("")) == len(rows)

        def prune(**fields: Any) -> set[str]:
            request = control.PruneRequest(**fields)
            return {row.RecordType for row in client.stream(f"{CONTROL}Prune", request, control.UsageRecord)}

        assert prune(filter=["type==exec.cachemount"]) == {"exec.cachemount"}
        assert prune(keepDuration=3600 * 10**9) == set()
        assert "regular" in prune(all=True)
        assert usage() == []


def test_workers_are_filtered(client: BuildKit) -> None:
    def workers(*filter: str) -> list[Any]:
        request = control.ListWorkersRequest(filter=filter)
        return list(client.call(f"{CONTROL}ListWorkers", request, control.ListWorkersResponse).record)

    [worker] = workers()
    assert worker.BuildkitVersion.version.startswith("v0.")
    assert worker.Labels["org.mobyproject.buildkit.worker.executor"] == "oci"
    assert workers(f"id=={worker.ID}") == [worker]
    assert workers("id==another") == []
    assert workers('labels."org.mobyproject.buildkit.worker.executor"==oci') == [worker]


def test_who_only_listens_does_not_keep_an_idle_daemon(tmp_path_factory: pytest.TempPathFactory) -> None:
    yard = Yard(tmp_path_factory.mktemp("idle"), flags=("--idle-timeout", "1s"))
    yard.start()
    assert yard.daemon is not None
    with connected(yard) as client, client.session(Session()):
        request = control.BuildHistoryRequest()
        listening = client.submit(
            lambda: list(client.stream(f"{CONTROL}ListenBuildHistory", request, control.BuildHistoryEvent))
        )
        assert yard.daemon.wait(30) == 0
        assert listening.exception(30) is not None
