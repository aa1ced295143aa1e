from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import InvalidError, UnavailableError
from boatyard.registry import challenge
from boatyard.registry.challenge import Challenge
from boatyard.registry.credential import Credential
from boatyard.registry.dockerconfig import DockerConfig, host_of
from boatyard.registry.hosts import Hosts, HostSettings, is_loopback
from boatyard.registry.proxies import proxy_of

HELPER = """#!/bin/sh
read -r given
case "$1" in
get) [ "$given" = known.example ] || { echo "credentials not found in native keychain"; exit 1; }
     echo '{"ServerURL":"known.example","Username":"me","Secret":"s3cret"}' ;;
*) echo broken; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    "header, expected",
    [
        ('Basic realm="a \\"b\\""', [Challenge("basic", {"realm": 'a "b"'})]),
        (
            'Bearer realm="https://auth/token",service="reg",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {"realm": "https://auth/token", "service": "reg", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (
            'Basic realm=x, Bearer realm="y" , error="z"',
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y", "error": "z"})],
        ),
        ("Negotiate", [Challenge("negotiate", {})]),
        ("", []),
        ("=,=", []),
    ],
)
def test_challenges_are_read(header: str, expected: list[Challenge]) -> None:
    assert challenge.parse(header) == expected


@given(st.text(alphabet='aB1=", \\\tearer\x00é', max_size=60))
def test_no_header_breaks_the_reader(header: str) -> None:
    challenge.parse(header)


def test_what_is_put_is_found_under_every_spelling(tmp_path: Path) -> None:
    config = DockerConfig(tmp_path / "deep/config.json")
    config.put("docker.io", Credential("me", "pa:ss"))
    config.put("reg.example:5000", Credential("you", identity_token="t"))
    assert config.get("docker.io") == Credential("me", "pa:ss")
    assert config.get("reg.example:5000") == Credential("you", identity_token="t")
    assert config.get("other.example") is None
    assert stat.S_IMODE(config.path.stat().st_mode) == 0o600
    assert list(json.loads(config.path.read_text())["auths"]) == ["https://index.docker.io/v1/", "reg.example:5000"]
    assert config.hosts() == ["docker.io", "reg.example:5000"]
    assert config.remove("docker.io") and not config.remove("docker.io")
    assert config.get("docker.io") is None


def test_other_settings_of_dockers_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    auth = base64.b64encode(b"me:secret").decode()
    path.write_text(json.dumps({"psFormat": "x", "auths": {"https://old.example/v1/": {"auth": auth}}}))
    config = DockerConfig(path)
    assert config.get("old.example") == Credential("me", "secret")
    config.put("new.example", Credential("a", "b"))
    assert json.loads(path.read_text())["psFormat"] == "x"


def test_helpers_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    path = tmp_path / "config.json"
    path.write_text('{"credsStore": "test", "credHelpers": {"odd.example": "nosuch"}}')
    config = DockerConfig(path)
    assert config.get("known.example") == Credential("me", "s3cret")
    assert config.get("unknown.example") is None
    with pytest.raises(UnavailableError, match="docker-credential-nosuch"):
        config.get("odd.example")
    with pytest.raises(UnavailableError, match="broken"):
        config.put("known.example", Credential("me", "x"))


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"a.example": {"auth": "%%%"}}}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InvalidError, match=r"config\.json"):
        DockerConfig(path).get("a.example")


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(Credential("me", "secret", "secret", "secret"))


@pytest.mark.parametrize(
    "name, host",
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("reg.example:5000/path", "reg.example:5000"),
        ("http://a.example", "a.example"),
    ],
)
def test_keys_are_hosts(name: str, host: str) -> None:
    assert host_of(name) == host


def test_where_registries_are() -> None:
    hosts = Hosts({"a.example": HostSettings(mirrors=("m.example", "http://n.example/p/"), insecure=True)})
    assert [each.base for each in hosts.endpoints("a.example")] == [
        "https://m.example",
        "http://n.example/p",
        "https://a.example",
    ]
    assert not hosts.origin("a.example").verify
    assert hosts.origin("docker.io").base == "https://registry-1.docker.io"
    assert hosts.origin("localhost:5000").base == "http://localhost:5000"
    assert hosts.origin("b.example").base == "https://b.example"
    with pytest.raises(InvalidError, match="ftp"):
        Hosts({"a": HostSettings(mirrors=("ftp://x",))}).endpoints("a")


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.1.2.3:5000", "[::1]:5000"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback("localhost.example")


def test_proxies() -> None:
    variables = {"HTTP_PROXY": "p:1", "https_proxy": "http://q:2", "NO_PROXY": "a.example,.b.example,10.0.0.0/8,c:443"}
    assert proxy_of("http://x.example/", variables) == "http://p:1"
    assert proxy_of("https://x.example/", variables) == "http://q:2"
    for url in ("https://a.example", "https://s.a.example", "http://s.b.example:8080", "http://10.9.8.7", "https://c"):
        assert proxy_of(url, variables) is None
    assert proxy_of("http://c/", variables) == "http://p:1"
