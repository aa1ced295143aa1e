from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.errors import InvalidError
from boatyard.image.digest import Digest
from boatyard.image.reference import Reference, parse

HEX = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX}"
SHA512 = f"sha512:{HEX}{HEX}"


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:bookworm-slim", "docker.io/library/debian:bookworm-slim", "debian:bookworm-slim"),
        ("library/debian", "docker.io/library/debian", "debian"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        ("docker.io/library/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/me/tool", "docker.io/me/tool", "me/tool"),
        ("me/tool:1.0", "docker.io/me/tool:1.0", "me/tool:1.0"),
        ("a/b/c/d", "docker.io/a/b/c/d", "a/b/c/d"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/tool", "localhost/tool", "localhost/tool"),
        ("localhost:5000/tool", "localhost:5000/tool", "localhost:5000/tool"),
        ("localhost", "docker.io/library/localhost", "localhost"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("example.org/tool", "example.org/tool", "example.org/tool"),
        ("example.org:443/a/b:t", "example.org:443/a/b:t", "example.org:443/a/b:t"),
        ("127.0.0.1:5000/tool", "127.0.0.1:5000/tool", "127.0.0.1:5000/tool"),
        ("[::1]:5000/tool", "[::1]:5000/tool", "[::1]:5000/tool"),
        ("[fd00:1:2::3]/tool", "[fd00:1:2::3]/tool", "[fd00:1:2::3]/tool"),
        ("HOST/tool", "HOST/tool", "HOST/tool"),
        ("Example.ORG/tool", "Example.ORG/tool", "Example.ORG/tool"),
        ("host:80/a", "host:80/a", "host:80/a"),
        ("a--b/c__d/e.f-g", "docker.io/a--b/c__d/e.f-g", "a--b/c__d/e.f-g"),
        (f"debian@{SHA256}", f"docker.io/library/debian@{SHA256}", f"debian@{SHA256}"),
        (f"debian:12@{SHA256}", f"docker.io/library/debian:12@{SHA256}", f"debian:12@{SHA256}"),
        (f"debian@{SHA512}", f"docker.io/library/debian@{SHA512}", f"debian@{SHA512}"),
        ("t:" + "x" * 128, "docker.io/library/t:" + "x" * 128, "t:" + "x" * 128),
        ("docker.io/localhost/tool", "docker.io/localhost/tool", "docker.io/localhost/tool"),
        ("docker.io/a.b/tool", "docker.io/a.b/tool", "docker.io/a.b/tool"),
        (f"docker.io/{HEX}", f"docker.io/library/{HEX}", f"library/{HEX}"),
        ("docker.io", "docker.io/library/docker.io", "docker.io"),
    ],
)
def test_names_are_normalised_as_docker_does(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.familiar()) == (canonical, familiar)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" debian", "white space around"),
        ("debian latest", "white space"),
        ("Debian", "lowercase"),
        ("me/Tool", "lowercase"),
        ("example.org/Tool", "lowercase"),
        ("https://example.org/tool", "URL"),
        (HEX, "image ID"),
        (SHA256, "without a name"),
        ("debian:", "after the colon"),
        ("debian:.x", "not a tag"),
        ("debian:-x", "not a tag"),
        ("debian:a/b", "not a host name"),
        ("debian:" + "x" * 129, "129 characters"),
        ("debian@", "not a digest"),
        ("debian@sha256:abc", "not a digest"),
        (f"debian@sha256:{HEX.upper()}", "not a digest"),
        (f"debian@md5:{HEX[:32]}", "not a digest"),
        (f"debian@{SHA256}:tag", "not a digest"),
        ("a//b", "empty path element"),
        ("/a", "empty path element"),
        ("a/", "empty path element"),
        ("example.org/", "nothing after the domain"),
        ("-a", "dash"),
        ("a-", "between letters"),
        ("a..b", "between letters"),
        ("a___b", "between letters"),
        ("a/_b", "between letters"),
        ("a$b", "'$'"),
        ("äb", "'ä'"),
        ("..:80/a", "not a host name"),
        ("host:port/a", "not a host name"),
        ("-host.org/a", "dash"),
        ("[::1/a", "not a host name"),
        ("a\x00b", r"'\x00'"),
        ("x" * 300, "characters"),
        ("x" * 5000, "5000 characters"),
        ("debian\n", "white space around"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_an_uppercase_name_is_corrected_in_the_hint() -> None:
    with pytest.raises(InvalidError) as caught:
        parse("MyTool:v1")
    assert caught.value.hint == "use 'mytool'"


def test_latest_is_added_only_where_nothing_else_is_said() -> None:
    assert str(parse("a").with_default_tag()) == "docker.io/library/a:latest"
    assert str(parse("a:1").with_default_tag()) == "docker.io/library/a:1"
    assert str(parse(f"a@{SHA256}").with_default_tag()) == f"docker.io/library/a@{SHA256}"


def test_parts_can_be_exchanged() -> None:
    reference = parse(f"a:1@{SHA256}")
    assert str(reference.with_tag("2")) == "docker.io/library/a:2"
    assert str(parse("a:1").with_digest(Digest(SHA256))) == f"docker.io/library/a:1@{SHA256}"
    assert str(reference.repository()) == reference.name == "docker.io/library/a"
    with pytest.raises(InvalidError):
        reference.with_tag("no tag")


ELEMENTS = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
DOMAINS = st.from_regex(r"([a-zA-Z0-9]{1,5}(\.[a-z]{1,4}){0,2}|localhost)(:[0-9]{1,5})?", fullmatch=True)
REFERENCES = st.builds(
    lambda domain, path, tag, digest: "/".join([*([domain] if domain else []), *path]) + tag + digest,
    st.none() | DOMAINS | st.sampled_from(["docker.io", "index.docker.io"]),
    st.lists(ELEMENTS | st.sampled_from(["library", "localhost", HEX]), min_size=1, max_size=4),
    st.just("") | st.from_regex(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True),
    st.sampled_from(["", "@" + SHA256, "@" + SHA512]),
)


@settings(max_examples=200)
@given(REFERENCES)
def test_both_forms_read_back_to_the_same_reference(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidError:
        # A first part with a dot is a domain, in which an underscore can't be; and names end at 255 characters.
        assert text == HEX or "_" in text.partition("/")[0] or len(text) > 255
        return
    assert parse(str(reference)) == reference
    assert parse(reference.familiar()) == reference


@settings(max_examples=200)
@given(st.text(max_size=60) | st.text(alphabet="aA0./:@-_[] sha256", max_size=60))
def test_any_text_is_a_reference_or_an_invalid_error(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidError as error:
        assert error.message
    else:
        assert isinstance(reference, Reference)
        assert parse(str(reference)) == reference
