"""The parameters of `POST /build`, read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from boatyard.api.engine import build_options
from boatyard.api.engine.build_options import BuildOptions
from boatyard.api.engine.call import Call, Query
from boatyard.api.engine.version import MAXIMUM
from boatyard.api.stream import Running
from boatyard.build.frontend.dockerfile import options as frontend
from boatyard.build.request import Export
from boatyard.errors import BoatyardError, InvalidError, UnsupportedError
from boatyard.image.platform import Platform


async def nothing(*_: Any) -> Any:
    raise AssertionError("the parameters are all there is")


def parse(*, version: tuple[int, ...] = MAXIMUM, with_session: bool = False, **parameters: Any) -> BuildOptions:
    query = Query(urlencode(parameters, doseq=True).encode())
    return build_options.parse(Call(version, {}, query, {}, nothing, nothing, Running()), with_session=with_session)


def test_a_bare_request_builds_the_dockerfile_without_a_name() -> None:
    options = parse()
    assert options.attrs == {"filename": "Dockerfile"}
    assert options.exports == (Export("image"),)
    assert not options.quiet


def test_the_frontend_understands_everything_that_is_passed_on() -> None:
    options = parse(
        dockerfile="./docker/prod",
        target="build",
        nocache="1",
        pull="1",
        platform="linux/arm64",
        networkmode="none",
        memory="1000000",
        memswap="-1",
        cpushares="5",
        cpuperiod="1000",
        cpuquota="500",
        cpusetcpus="0-1",
        cpusetmems="0",
        cgroupparent="/x",
        shmsize="65536",
        extrahosts=["a:10.0.0.1", "b:[::1]", "c=10.0.0.2"],
        ulimits=json.dumps([{"Name": "nofile", "Soft": 1, "Hard": 2}]),
        buildargs=json.dumps({"A": "1", "NONE": None}),
        labels=json.dumps({"l": "a,b"}),
        rm="1",
        forcerm="1",
        q="0",
    )
    found = frontend.parse(options.attrs)
    assert options.attrs["filename"] == "docker/prod"
    assert found.target == "build"
    assert found.ignores_cache("any")
    assert found.resolve_mode == "pull"
    assert found.platforms == (Platform(os="linux", architecture="arm64"),)
    assert found.network.name == "NONE"
    assert found.resources is not None
    assert (found.resources.memory, found.resources.memory_swap, found.resources.cpu_shares) == (1000000, -1, 5)
    assert (found.resources.cpu_period, found.resources.cpu_quota) == (1000, 500)
    assert (found.resources.cpuset_cpus, found.resources.cpuset_mems) == ("0-1", "0")
    assert found.cgroup_parent == "/x"
    assert found.shm_size == 65536
    assert [(each.host, each.ip) for each in found.extra_hosts] == [("a", "10.0.0.1"), ("b", "::1"), ("c", "10.0.0.2")]
    assert [(each.name, each.soft, each.hard) for each in found.ulimits] == [("nofile", 1, 2)]
    assert found.arguments == {"A": "1"}
    assert found.labels == {"l": "a,b"}
    assert any("NONE" in remark for remark in options.remarks)


def test_what_clients_send_for_nothing_is_nothing() -> None:
    """As docker 20.10 does."""
    options = parse(
        buildargs="null",
        labels="null",
        cachefrom="null",
        ulimits="null",
        cgroupparent="",
        networkmode="default",
        shmsize="0",
    )
    assert options.attrs == {"filename": "Dockerfile"}
    assert not options.remarks


def test_tags_become_the_names_of_the_image() -> None:
    options = parse(t=["a", "localhost:5000/b:c", ""])
    assert options.tags == ("docker.io/library/a:latest", "localhost:5000/b:c")
    assert options.exports == (Export("image", {"name": "docker.io/library/a:latest,localhost:5000/b:c"}),)


def test_the_hosts_network_is_asked_for_as_an_entitlement() -> None:
    assert parse(networkmode="host").entitlements == {"network.host"}
    assert not parse(networkmode="bridge").entitlements


def test_outputs_take_the_images_place_in_builds_over_a_session() -> None:
    tar = json.dumps([{"Type": "tar", "Attrs": {"a": "b"}}])
    assert parse(with_session=True, outputs=tar, session="x", remote="client-session").exports == (
        Export("tar", {"a": "b"}),
    )
    assert parse(with_session=True, outputs='[{"Type":"cacheonly","Attrs":null}]').exports == ()
    assert parse(with_session=True, outputs="null", t="a").exports[0].type == "image"
    with pytest.raises(InvalidError, match="multiple outputs"):
        parse(with_session=True, outputs='[{"Type":"tar"},{"Type":"local"}]')


def test_a_platform_is_a_parameter_since_1_32() -> None:
    assert "platform" not in parse(version=(1, 31), platform="linux/arm64").attrs


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"t": "UPPER"}, "lowercase"),
        ({"t": "a@sha256:" + "0" * 64}, "digest"),
        ({"dockerfile": "../Dockerfile"}, "within the build context"),
        ({"dockerfile": "a/../../x"}, "within the build context"),
        ({"buildargs": "{"}, "error reading build args"),
        ({"buildargs": '{"a":1}'}, "error reading build args"),
        ({"labels": "[]"}, "error reading labels"),
        ({"ulimits": '[{"Name":"x"}]'}, "error reading ulimit settings"),
        ({"memory": "much"}, "memory expects an integer"),
        ({"networkmode": "container:x"}, "network"),
        ({"extrahosts": "nonsense"}, "bad format for add-host"),
        ({"isolation": "hyperv"}, "unsupported isolation"),
        ({"securityopt": "x"}, "security options"),
        ({"squash": "1"}, "squashing"),
        ({"session": "abc"}, "version=2"),
        ({"remote": "client-session"}, "version=2"),
        ({"outputs": '[{"Type":"local"}]'}, "version=2"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters: dict[str, str], message: str) -> None:
    with pytest.raises((InvalidError, UnsupportedError), match=message) as refused:
        parse(**parameters)
    assert isinstance(refused.value, BoatyardError)
