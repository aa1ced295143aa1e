"""A solve request in the builder's own words, and what is said about what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from boatyard._pb.control_pb2 import CacheOptions, CacheOptionsEntry, Exporter, SolveRequest
from boatyard._pb.sourcepolicy_pb2 import Policy, PolicyAction, Rule, Selector
from boatyard.api.buildkit.solving import build_request, response
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Edge, Graph, SourceOp
from boatyard.build.policy.rule import Action
from boatyard.build.request import BuildReply
from boatyard.errors import InvalidError, UnsupportedError

GRAPH = Graph(Edge(codec.vertex(SourceOp("local://context"))))


def asked(**fields: Any) -> Any:
    return build_request(SolveRequest(Ref="r", **fields), None)


def warned(**fields: Any) -> list[str]:
    return [warning.short for warning in asked(**fields)[1]]


def test_a_frontend_and_its_options() -> None:
    found, warnings = asked(Frontend="dockerfile.v0", FrontendAttrs={"target": "x"}, Internal=True)
    assert found.options == {"target": "x", "frontend": "dockerfile.v0"}
    assert (found.graph, found.internal, found.keep_remains, warnings) == (None, True, False, [])


def test_a_graph() -> None:
    found, _ = asked(Definition=codec.to_message(GRAPH), FrontendInputs={"in": codec.to_message(GRAPH)})
    assert found.graph.root.vertex == GRAPH.root.vertex  # type: ignore[union-attr]
    assert found.inputs["in"].root.vertex == GRAPH.root.vertex  # type: ignore[union-attr]
    with pytest.raises(InvalidError, match="not both"):
        asked(Definition=codec.to_message(GRAPH), Frontend="dockerfile.v0")


def exports(**fields: Any) -> list[tuple[str, dict[str, str]]]:
    return [(each.type, dict(each.attrs)) for each in asked(**fields)[0].exports]


def test_exporters_of_all_times() -> None:
    old = {"ExporterDeprecated": "oci", "ExporterAttrsDeprecated": {"name": "x"}}
    assert exports(**old) == [("oci", {"name": "x"})]
    assert exports(**old, Exporters=[Exporter(Type="moby", Attrs={"name": "y"}), Exporter(Type="tar")]) == [
        ("image", {"name": "y"}),
        ("tar", {}),
    ]


def test_the_epoch_of_a_build_is_that_of_its_images() -> None:
    epoch = {"build-arg:SOURCE_DATE_EPOCH": "7"}
    wanted = [Exporter(Type="image"), Exporter(Type="tar"), Exporter(Type="oci", Attrs={"source-date-epoch": "9"})]
    assert exports(FrontendAttrs=epoch, Exporters=wanted) == [
        ("image", {"source-date-epoch": "7"}),
        ("tar", {}),
        ("oci", {"source-date-epoch": "9"}),
    ]


def test_attributes_that_image_exporters_do_not_have_are_left_out_and_said() -> None:
    wanted = [Exporter(Type="image", Attrs={"from-the-future": "1", "prefer-image-digest": "true", "name": "x"})]
    assert exports(Exporters=wanted) == [("image", {"name": "x"})]
    [text] = warned(Exporters=wanted)
    assert "from-the-future" in text


def cache(*, imports: tuple[str, ...] = (), exports: tuple[str, ...] = (), **attrs: str) -> CacheOptions:
    return CacheOptions(
        Imports=[CacheOptionsEntry(Type=type) for type in imports],
        Exports=[CacheOptionsEntry(Type=type, Attrs=attrs) for type in exports],
    )


def test_caches_in_registries_are_places() -> None:
    old = CacheOptions(ImportRefsDeprecated=["host/i"], ExportRefDeprecated="host/e", ExportAttrsDeprecated={"a": "b"})
    found, warnings = asked(Cache=old)
    assert [place.attrs for place in found.cache_from] == [{"ref": "host/i"}]
    assert [place.attrs for place in found.cache_to] == [{"ref": "host/e", "a": "b"}]
    assert warnings == []


def test_a_build_is_the_same_without_a_cache_to_import() -> None:
    [text] = warned(Cache=cache(imports=("gha",)))
    assert "gha" in text


def test_an_export_that_can_not_be_is_refused_unless_it_does_not_matter() -> None:
    with pytest.raises(UnsupportedError, match="local"):
        asked(Cache=cache(exports=("local",)))
    assert warned(Cache=cache(exports=("local",), **{"ignore-error": "true"}))
    assert warned(Cache=cache(exports=("inline",)))
    with pytest.raises(InvalidError, match="nonsense"):
        asked(Cache=cache(exports=("nonsense",)))


@pytest.mark.parametrize("name", ["attest:provenance", "attest:sbom", "build-arg:BUILDKIT_ATTEST_SBOM"])
def test_attestations_are_refused_unless_they_stay_here(name: str) -> None:
    with pytest.raises(UnsupportedError, match="attestations"):
        asked(FrontendAttrs={name: "mode=max"})
    assert warned(FrontendAttrs={name: "mode=min,inline-only=true"})
    assert warned(FrontendAttrs={name: "disabled=true"}) == []


def test_policies_are_the_builders() -> None:
    rule = Rule(action=PolicyAction.DENY, selector=Selector(identifier="docker-image://*"))
    [policy] = asked(SourcePolicy=Policy(rules=[rule]))[0].source_policies
    assert policy.rules[0].action is Action.DENY
    with pytest.raises(InvalidError, match="rule"):
        asked(SourcePolicy=Policy(rules=[Rule(action=77)]))  # type: ignore[arg-type]


def test_what_there_is_not_is_said() -> None:
    for number in (0, 10, 20, 30):
        asked(CompatibilityVersion=number)
    with pytest.raises(InvalidError, match="99"):
        asked(CompatibilityVersion=99)
    with pytest.raises(UnsupportedError):
        asked(ProxyNetwork=True)


def test_an_answer_has_the_form_that_clients_read() -> None:
    told = response(
        BuildReply(
            "r",
            {"containerimage.descriptor": '{"size":1}', "image.name": "x"},
            {"frontend.caps": b"a", "result.json": b"{}"},
        )
    )
    assert told == {"containerimage.descriptor": "eyJzaXplIjoxfQ==", "image.name": "x", "frontend.caps": "a"}
