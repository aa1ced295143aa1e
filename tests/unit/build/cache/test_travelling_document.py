from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.build.cache import document
from boatyard.build.cache.document import Builder, Entry
from boatyard.errors import InvalidError
from boatyard.image import digest as digests
from boatyard.image import spec
from boatyard.image.spec import Descriptor


def layer(name: str) -> Descriptor:
    plain = Descriptor(media_type=spec.OCI_LAYER_GZIP, digest=digests.of_bytes(name.encode()), size=len(name))
    return document.with_diff_id(plain, digests.of_bytes(f"plain {name}".encode()), 12.0)


A, B, C = layer("a"), layer("b"), layer("c")


def key(number: int) -> str:
    return f"{number:064x}"


def written(*entries: Entry) -> Builder:
    builder = Builder()
    for entry in entries:
        builder.add(entry)
    return builder


def test_records_are_found_by_all_of_their_keys() -> None:
    first = Entry((key(1), key(2)), key(2), ((A, B),), 12.0, "RUN one")
    second = Entry((key(3),), key(3), ((A, C), ()), 13.0, "RUN two")
    builder = written(first, second)
    found = document.parse(builder.config(), tuple(builder.layers.values()))
    assert set(found) == {key(1), key(2), key(3)}
    assert found[key(1)] == found[key(2)] == Entry((), key(2), ((A, B),), 12.0, "RUN one")
    assert found[key(3)].outputs == ((A, C), ())
    assert set(builder.layers) == {A.digest, B.digest, C.digest}


def test_the_document_is_one_that_buildkit_reads() -> None:
    """Every layer says its parent, the first of a chain -1; a record names its layer, and when it was made."""
    config = json.loads(written(Entry((key(1),), key(1), ((A, B),), 0.0, "")).config())
    assert config["layers"] == [{"blob": A.digest, "parent": -1}, {"blob": B.digest, "parent": 0}]
    assert config["records"][0]["digest"] == f"sha256:{key(1)}"
    assert config["records"][0]["layers"] == [{"layer": 1, "createdAt": "1970-01-01T00:00:00Z"}]


def test_records_of_others_are_passed_over() -> None:
    theirs = {
        "layers": [{"blob": A.digest, "parent": -1}],
        "records": [
            {"digest": f"sha256:{key(1)}", "layers": [{"layer": 0, "createdAt": "2026-01-02T03:04:05Z"}]},
            {"digest": f"sha256:{key(2)}", "inputs": [[{"selector": "/x", "link": 0}]], "chains": [{"layers": [0]}]},
        ],
    }
    assert document.parse(json.dumps(theirs).encode(), (A,)) == {}


@pytest.mark.parametrize(
    "layers, top",
    [
        ([{"blob": A.digest, "parent": 0}], 0),
        ([{"blob": A.digest, "parent": 1}, {"blob": A.digest, "parent": 0}], 0),
        ([{"blob": A.digest, "parent": 7}], 0),
        ([{"blob": A.digest, "parent": -1}], 9),
        ([{"blob": "sha256:nonsense", "parent": -1}], 0),
        ([{"blob": B.digest, "parent": -1}], 0),
    ],
    ids=["its own parent", "a circle", "no such parent", "no such layer", "no digest", "not in the manifest"],
)
def test_impossible_layers_lead_to_no_record(layers: object, top: int) -> None:
    record = {"digest": f"sha256:{key(1)}", "boatyard": {"key": key(1), "outputs": [top]}}
    assert document.parse(json.dumps({"layers": layers, "records": [record]}).encode(), (A,)) == {}


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["layers", "records", "blob", "parent", "digest", "boatyard", "outputs"]), inner),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_document_breaks_the_reader(data: bytes) -> None:
    try:
        document.parse(data, (A, B))
    except InvalidError:
        pass
