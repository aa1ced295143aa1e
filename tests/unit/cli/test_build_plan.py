from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boatyard.cli.attributes import Cache, Output
from boatyard.cli.build.flags import Flags
from boatyard.cli.build.plan import Plan, plan
from boatyard.errors import InvalidError, NotFoundError, UnsupportedError


@pytest.fixture(autouse=True)
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def _plan(environment: dict[str, str] | None = None, **flags: Any) -> Plan:
    return plan(Flags(**flags), environment or {})


@pytest.mark.parametrize(
    ("flags", "attrs"),
    [
        ({"target": "build"}, {"target": "build"}),
        ({"build_arg": ("A=1", "B=x=y", "C=")}, {"build-arg:A": "1", "build-arg:B": "x=y", "build-arg:C": ""}),
        ({"label": ("a=b", "c")}, {"label:a": "b", "label:c": ""}),
        ({"platform": ("linux/amd64", "linux/arm64")}, {"platform": "linux/amd64,linux/arm64"}),
        ({"no_cache": True}, {"no-cache": ""}),
        ({"no_cache_filter": ("a", "b")}, {"no-cache": "a,b"}),
        ({"pull": True}, {"image-resolve-mode": "pull"}),
        ({"add_host": ("db:10.0.0.2", "x=::1")}, {"add-hosts": "db=10.0.0.2,x=::1"}),
        ({"shm_size": "128m"}, {"shm-size": str(128 << 20)}),
        ({"ulimit": ("nofile=1:2", "core=0")}, {"ulimit": "nofile=1:2,core=0:0"}),
        ({"network": "none"}, {"force-network-mode": "none"}),
        ({"network": "default"}, {}),
        ({"cgroup_parent": "/x"}, {"cgroup-parent": "/x"}),
        ({"source_date_epoch": "7"}, {"build-arg:SOURCE_DATE_EPOCH": "7"}),
        ({"build_context": ("Base=docker-image://debian",)}, {"context:base": "docker-image://debian"}),
        ({"build_context": ("src=../src",)}, {"context:src": "local:src"}),
        ({"check": True}, {"requestid": "frontend.lint", "frontend.caps": "moby.buildkit.frontend.subrequests"}),
    ],
)
def test_flags_become_the_frontends_attributes(flags: dict[str, Any], attrs: dict[str, str]) -> None:
    assert _plan(**flags).attrs == {"filename": "Dockerfile", **attrs}


def test_an_argument_without_a_value_takes_the_environments_or_is_left_out() -> None:
    planned = _plan({"A": "1"}, build_arg=("A", "B"))
    assert {name: value for name, value in planned.attrs.items() if name.startswith("build-arg")} == {
        "build-arg:A": "1"
    }


def test_source_date_epoch_is_taken_along() -> None:
    assert _plan({"SOURCE_DATE_EPOCH": "5"}).attrs["build-arg:SOURCE_DATE_EPOCH"] == "5"
    explicit = _plan({"SOURCE_DATE_EPOCH": "5"}, build_arg=("SOURCE_DATE_EPOCH=6",))
    assert explicit.attrs["build-arg:SOURCE_DATE_EPOCH"] == "6"


def test_proxies_of_the_environment_are_taken_along_in_either_case() -> None:
    assert _plan({"http_proxy": "http://p", "NO_PROXY": "x"}).proxy == {"HTTP_PROXY": "http://p", "NO_PROXY": "x"}
    assert _plan({}).proxy is None


def test_named_contexts_that_are_directories_are_opened_here() -> None:
    planned = _plan(build_context=("src=../src",))
    assert planned.contexts == {"src": "../src"}


def _layout(directory: Path, tags: dict[str, str]) -> None:
    manifests = [
        {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": tag}} for tag, digest in tags.items()
    ]
    (directory / "index.json").write_text(json.dumps({"manifests": manifests}))


@pytest.mark.parametrize(
    ("tags", "suffix", "digest"),
    [
        ({"latest": "sha256:a", "two": "sha256:b"}, "", "sha256:a"),
        ({"latest": "sha256:a", "two": "sha256:b"}, ":two", "sha256:b"),
        ({"only": "sha256:c"}, "", "sha256:c"),
        ({"docker.io/library/app:two": "sha256:d"}, ":two", "sha256:d"),
        ({}, "@sha256:e", "sha256:e"),
    ],
)
def test_an_image_of_an_oci_layout_is_named_by_digest(
    context: Path, tags: dict[str, str], suffix: str, digest: str
) -> None:
    _layout(context, tags)
    planned = _plan(build_context=(f"image=oci-layout://{context}{suffix}",))
    assert planned.contexts == {"oci0": str(context)}
    assert planned.attrs["context:image"] == f"oci-layout://oci0@{digest}"


def test_a_tag_that_an_oci_layout_lacks_is_told_with_those_it_has(context: Path) -> None:
    _layout(context, {"one": "sha256:a", "two": "sha256:b"})
    with pytest.raises(NotFoundError) as caught:
        _plan(build_context=(f"image=oci-layout://{context}:three",))
    assert caught.value.hint == "there are: one, two"


@pytest.mark.parametrize(
    ("flags", "outputs"),
    [
        ({}, [Output("image")]),
        ({"tag": ("a", "b:2")}, [Output("image", "", {"name": "a,b:2"})]),
        ({"output": ("out",), "tag": ("a",)}, [Output("local", "out")]),
        ({"output": ("type=oci,dest=x",), "tag": ("a",)}, [Output("oci", "x", {"name": "a"})]),
        ({"output": ("type=docker",), "tag": ("a",)}, [Output("image", "", {"name": "a"})]),
        ({"output": ("out",), "load": True}, [Output("local", "out"), Output("image")]),
        ({"output": ("type=cacheonly",)}, []),
        ({"annotation": ("a=b", "index:c=d")}, [Output("image", "", {"annotation.a": "b", "annotation-index.c": "d"})]),
        ({"check": True}, []),
        ({"call": "outline,format=json"}, []),
    ],
)
def test_outputs_follow_from_o_load_and_t(flags: dict[str, Any], outputs: list[Output]) -> None:
    assert list(_plan(**flags).outputs) == outputs


@pytest.mark.parametrize(
    ("call", "question"),
    [
        ("check", "frontend.lint"),
        ("describe", "frontend.subrequests.describe"),
        ("example.org/fortune,format=json", "example.org/fortune"),
    ],
)
def test_questions_have_names_and_frontends_may_have_their_own(call: str, question: str) -> None:
    assert _plan(call=call).attrs["requestid"] == question


def test_what_is_allowed_is_asked_for() -> None:
    assert _plan(allow=("frontend.python", "network.host")).entitlements == ("frontend.python", "network.host")
    with pytest.raises(InvalidError, match=r"no entitlement 'frontend\.pyhton'") as caught:
        _plan(allow=("frontend.pyhton",))
    assert caught.value.hint is not None and "frontend.python" in caught.value.hint


def test_local_caches_are_planned() -> None:
    planned = _plan(cache_from=("type=local,src=/a",), cache_to=("type=local,dest=/b,mode=max", "type=inline"))
    assert planned.cache_from == (Cache("local", {"src": "/a"}),)
    assert planned.cache_to == (Cache("local", {"dest": "/b", "mode": "max"}), Cache("inline"))


def test_the_hosts_network_is_allowed_by_asking_for_it() -> None:
    assert _plan(network="host").entitlements == ("network.host",)
    assert _plan(allow=("security.insecure",)).entitlements == ("security.insecure",)


@pytest.mark.parametrize(
    "flags", [{"push": True}, {"output": ("type=registry",)}, {"output": ("type=image,push=true",)}]
)
def test_three_ways_to_push(flags: dict[str, Any]) -> None:
    (output,) = _plan(**flags).outputs
    assert (output.type, output.attrs["push"]) == ("image", "true")


@pytest.mark.parametrize("off", [{"provenance": "false"}, {"sbom": "false"}, {"attest": ("type=sbom,disabled=true",)}])
def test_what_is_switched_off_need_not_be_supported(off: dict[str, Any]) -> None:
    assert _plan(**off).outputs


@pytest.mark.parametrize(
    "flags",
    [
        {"provenance": "mode=max"},
        {"sbom": "true"},
        {"attest": ("type=sbom",)},
        {"cache_to": ("type=s3,bucket=b",)},
        {"cache_from": ("type=gha",)},
    ],
)
def test_what_is_not_supported_yet_says_so_with_a_way_out(flags: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        _plan(**flags)
    assert caught.value.hint


@pytest.mark.parametrize(
    "flags",
    [
        {"build_arg": ("=x",)},
        {"label": ("=x",)},
        {"call": "outlin"},
        {"call": "check,format=xml"},
        {"allow": ("network.hots",)},
        {"secret": ("id=a,src=x", "id=a,src=y")},
        {"output": ("-", "type=oci")},
        {"output": ("-",), "quiet": True},
        {"build_context": ("context=x",)},
        {"build_context": ("x",)},
        {"cache_to": ("type=local",)},
        {"shm_size": "big"},
        {"annotation": ("x",)},
    ],
)
def test_contradictions_and_misspellings_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        _plan(**flags)
