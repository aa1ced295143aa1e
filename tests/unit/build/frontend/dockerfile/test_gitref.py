"""Git addresses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.frontend.dockerfile.gitref import GitReference, parse
from boatyard.errors import InvalidError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "https://example.org/a/b.git",
            GitReference("https://example.org/a/b.git", "https", "example.org", "/a/b.git"),
        ),
        (
            "https://me:pw@example.org:8443/b.git#main:x/../y",
            GitReference("https://me:pw@example.org:8443/b.git", "https", "example.org:8443", "/b.git", "main", "y"),
        ),
        ("git://example.org/b", GitReference("git://example.org/b", "git", "example.org", "/b")),
        ("ssh://git@example.org/b", GitReference("ssh://git@example.org/b", "ssh", "example.org", "/b")),
        ("git@example.org:a/b#v1", GitReference("git@example.org:a/b", "ssh", "example.org", "a/b", "v1")),
        (
            "github.com/a/b",
            GitReference("https://github.com/a/b", "https", "github.com", "/a/b", ambiguous=True),
        ),
    ],
)
def test_addresses(text: str, expected: GitReference) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/a",
        "./a.git",
        "../a.git",
        "/a.git",
        "a/b.git",
        "file:///a.git",
        "",
        "http://[x/b.git",
        "a:b",
    ],
)
def test_what_is_no_git_address(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("ref=v1", {"ref": "v1"}),
        ("tag=v1", {"ref": "refs/tags/v1"}),
        ("tag=refs/tags/v1", {"ref": "refs/tags/v1"}),
        ("branch=main&subdir=docs", {"ref": "refs/heads/main", "subdirectory": "docs"}),
        ("checksum=abc", {"checksum": "abc"}),
        ("commit=abc", {"checksum": "abc"}),
        ("keep-git-dir", {"keep_git_dir": True}),
        ("keep-git-dir=0&submodules=false", {"keep_git_dir": False, "submodules": False}),
        ("mtime=commit&fetch-by-commit=1", {"mtime": "commit", "fetch_by_commit": True}),
    ],
)
def test_parameters(query: str, changes: dict[str, object]) -> None:
    found = parse(f"https://example.org/a.git?{query}")
    assert found is not None
    assert {name: getattr(found, name) for name in changes} == changes
    assert found.remote == "https://example.org/a.git"
    assert parse(f"git@example.org:a?{query}") is not None


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("?reff=a", r"unknown parameter 'reff'.*did you mean ref\?"),
        ("?ref=", "no value"),
        ("?ref=a&ref=b", "more than once"),
        ("?ref=a#b", "two values for ref"),
        ("?tag=a&branch=b", "both a tag and a branch"),
        ("?subdir=a#main:b", "two values for subdir"),
        ("?submodules=maybe", "invalid submodules"),
        ("?mtime=now", "invalid mtime"),
    ],
)
def test_parameters_that_make_no_sense(suffix: str, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        parse(f"https://example.org/a.git{suffix}")


@settings(max_examples=200, deadline=None)
@given(
    st.from_regex(
        r"(https://|git@|ssh://|github\.com/)?[a-z.:/@\[\]%#?&=-]{0,30}(\.git)?([#?].{0,20})?", fullmatch=True
    )
)
def test_no_text_crashes_it(text: str) -> None:
    try:
        parse(text)
    except InvalidError:
        pass
