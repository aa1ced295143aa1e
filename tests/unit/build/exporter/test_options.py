from __future__ import annotations

import pytest

from boatyard.build.exporter import options
from boatyard.build.exporter.options import Annotation
from boatyard.errors import InvalidError, UnsupportedError


def test_names_are_separated_by_commas() -> None:
    names = options.parse({"name": "a, b:1"}, oci=True).names
    assert [name.familiar() for name in names] == ["a:latest", "b:1"]


@pytest.mark.parametrize(
    "attrs",
    [
        {"name": "UPPER"},
        {"name": "a,b c"},
        {"annotation[no such platform at all].key": "value"},
        {"compression-level": "high"},
        {"mode": "delete"},
    ],
)
def test_what_makes_no_sense_is_refused(attrs: dict[str, str]) -> None:
    with pytest.raises(InvalidError):
        options.parse(attrs, oci=True)


@pytest.mark.parametrize("attrs", [{"store": "false"}, {"dangling-name-prefix": "x"}])
def test_what_would_be_ignored_is_refused(attrs: dict[str, str]) -> None:
    with pytest.raises(UnsupportedError):
        options.parse(attrs, oci=True)


def test_annotations_say_where_they_belong() -> None:
    attrs = {
        "annotation.a": "1",
        "annotation-index.b": "2",
        "annotation-manifest[linux/arm64].c": "3",
        "annotation-manifest-descriptor.d.e": "4",
    }
    assert set(options.parse(attrs, oci=True).annotations) == {
        Annotation("manifest", "", "a", "1"),
        Annotation("index", "", "b", "2"),
        Annotation("manifest", "linux/arm64", "c", "3"),
        Annotation("manifest-descriptor", "", "d.e", "4"),
    }


@pytest.mark.parametrize(("value", "wanted"), [("", True), ("true", True), ("1", True), ("false", False), ("0", False)])
def test_a_flag_without_value_is_true(value: str, wanted: bool) -> None:
    assert options.flag({"x": value}, "x") is wanted


def test_a_flag_is_true_or_false() -> None:
    with pytest.raises(InvalidError, match="neither true nor false"):
        options.flag({"x": "maybe"}, "x")


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"compresion": "gzip"}, "unknown exporter attribute 'compresion'"),
        ({"compression": "lzma"}, "unknown compression 'lzma'"),
        ({"compression-level": "best"}, "is not a number"),
        ({"source-date-epoch": "yesterday"}, "is not a number of seconds"),
    ],
)
def test_what_is_wrong_is_said(attrs: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        options.parse(attrs, oci=True)


def test_a_misspelt_attribute_gets_the_right_one_as_hint() -> None:
    with pytest.raises(InvalidError) as caught:
        options.parse({"compresion": "gzip"}, oci=True)
    assert caught.value.hint == "did you mean 'compression'?"


def test_what_is_not_supported_yet_is_said() -> None:
    with pytest.raises(UnsupportedError, match="not supported yet"):
        options.parse({"compression": "estargz"}, oci=True)


def test_only_what_has_a_name_can_be_pushed() -> None:
    with pytest.raises(InvalidError, match="the image has no name"):
        options.parse({"push": "true"}, oci=True)
    assert options.parse({"push": "true", "name": "localhost/x"}, oci=True).push


def test_compression_defaults_to_gzip_where_blobs_are_made() -> None:
    assert options.parse({}, oci=True).compression is None
    assert options.parse({}, oci=True).blob_compression.kind == "gzip"
    assert options.parse({"compression": "uncompressed"}, oci=True).blob_compression.kind == "tar"
