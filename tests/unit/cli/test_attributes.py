from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.cli import attributes
from boatyard.cli.attributes import Agent, Cache, Output, Secret
from boatyard.errors import BoatyardError, InvalidError


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("id=token,src=/run/token", Secret("token", "/run/token")),
        ("id=token,source=token.txt", Secret("token", "token.txt")),
        ("id=token,env=TOKEN", Secret("token", variable="TOKEN")),
        ("id=token,type=env,src=TOKEN", Secret("token", variable="TOKEN")),
        ("id=HOME_TOKEN", Secret("HOME_TOKEN", variable="HOME_TOKEN")),
        ("id=HOME_TOKEN,type=file", Secret("HOME_TOKEN", "HOME_TOKEN")),
        ("id=elsewhere", Secret("elsewhere", "elsewhere")),
        ("token", Secret("token", "token")),
        ("env=HOME_TOKEN", Secret("HOME_TOKEN", variable="HOME_TOKEN")),
        ("src=/keys/id_rsa", Secret("id_rsa", "/keys/id_rsa")),
    ],
)
def test_a_secret_is_a_file_or_a_variable(text: str, secret: Secret) -> None:
    assert attributes.secret(text, {"HOME_TOKEN": "x"}) == secret


@pytest.mark.parametrize("text", ["id=a,src=b,env=c", "id=a,type=vault", "src", "id=a,sorce=b", "", "type=file", "id"])
def test_a_malformed_secret_is_refused(text: str) -> None:
    if text in ("src", "id"):  # one word is the id of a secret
        assert attributes.secret(text, {}).id == text
        return
    with pytest.raises(InvalidError):
        attributes.secret(text, {})


def test_a_misspelt_key_is_answered_with_the_right_one() -> None:
    with pytest.raises(InvalidError) as caught:
        attributes.secret("id=a,sorce=b", {})
    assert caught.value.hint == "did you mean 'source'?"


@pytest.mark.parametrize(
    ("text", "agent"),
    [
        ("default", Agent("default")),
        ("default=", Agent("default")),
        ("git=/run/agent.sock", Agent("git", ("/run/agent.sock",))),
        ("git=a,b", Agent("git", ("a", "b"))),
        ("git=/s,raw=true", Agent("git", ("/s",))),
    ],
)
def test_an_ssh_agent_is_the_environments_a_socket_or_keys(text: str, agent: Agent) -> None:
    assert attributes.agent(text) == agent


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("-", Output("tar", "-")),
        ("out", Output("local", "out")),
        ("type=local,dest=out", Output("local", "out")),
        ("type=oci,dest=a.tar,compression=zstd", Output("oci", "a.tar", {"compression": "zstd"})),
        ("type=image,name=app,rewrite-timestamp", Output("image", "", {"name": "app", "rewrite-timestamp": "true"})),
        ('type=local,"dest=a,b"', Output("local", "a,b")),
        ("type=docker", Output("docker")),
    ],
)
def test_an_output_is_a_directory_a_stream_or_a_type_with_attributes(text: str, output: Output) -> None:
    assert attributes.output(text) == output


@pytest.mark.parametrize("text", ["type=oic,dest=x", "dest=x", "type=local", 'type=local,"dest=a'])
def test_a_malformed_output_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        attributes.output(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "cache"),
    [
        ("type=local,src=/c", Cache("local", {"src": "/c"})),
        ("user/app:cache", Cache("registry", {"ref": "user/app:cache"})),
        ("ref=user/app", Cache("registry", {"ref": "user/app"})),
        ("type=inline", Cache("inline")),
    ],
)
def test_a_cache_has_a_type(text: str, cache: Cache) -> None:
    assert attributes.cache(text, "--cache-from") == cache


@pytest.mark.parametrize(
    ("text", "limit"),
    [("nofile=1024", "nofile=1024:1024"), ("nofile=1024:2048", "nofile=1024:2048"), ("core=-1", "core=-1:-1")],
)
def test_a_limit_has_a_soft_and_a_hard_value(text: str, limit: str) -> None:
    assert attributes.ulimit(text) == limit


@pytest.mark.parametrize("text", ["nofile", "nofile=a", "nofile=2:1", "=1", "nofile=-1:5"])
def test_a_malformed_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        attributes.ulimit(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [("db:10.0.0.2", "db=10.0.0.2"), ("db=::1", "db=::1"), ("db:[::1]", "db=::1"), ("db:::1", "db=::1")],
)
def test_a_host_may_be_written_with_a_colon(text: str, host: str) -> None:
    assert attributes.host(text) == host


@given(st.text(alphabet='abcdeyptsn=,:"-[]/ ', max_size=40))
def test_no_text_upsets_the_parsers(text: str) -> None:
    parsers = [
        lambda: attributes.secret(text, {}),
        lambda: attributes.agent(text),
        lambda: attributes.output(text),
        lambda: attributes.cache(text, "--cache-to"),
        lambda: attributes.ulimit(text),
        lambda: attributes.host(text),
        lambda: attributes.named(text, "--x"),
    ]
    for parse in parsers:
        try:
            parse()
        except BoatyardError:
            pass
