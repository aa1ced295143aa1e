"""Where contexts and Dockerfiles are, and which targets a pattern means."""

from __future__ import annotations

import pytest

from boatyard.bake import overrides, places
from boatyard.bake.definition import Target
from boatyard.bake.resolution import Resolved
from boatyard.errors import InvalidError, UnsupportedError


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("https://example.org/r.git", ".", "https://example.org/r.git"),
        ("https://example.org/r.git", "sub", "https://example.org/r.git#:sub"),
        ("https://example.org/r.git#main", "a/b", "https://example.org/r.git#main:a/b"),
        ("https://example.org/r.git#main:sub", "../other", "https://example.org/r.git#main:other"),
        ("git@example.org:r.git#v1", "sub", "git@example.org:r.git#v1:sub"),
        ("https://example.org/r.git?branch=x&subdir=a", "b", "https://example.org/r.git?branch=x&subdir=a%2Fb"),
    ],
)
def test_a_directory_of_a_repository_is_a_url(url: str, path: str, expected: str) -> None:
    assert places.within(url, path) == expected


def test_a_directory_of_an_archive_is_not_supported() -> None:
    with pytest.raises(UnsupportedError, match="only a whole archive"):
        places.within("https://example.org/archive.tar.gz", "sub")


def placed(target: Target, url: str = "") -> Target:
    resolved = places.placed(Resolved({target.name: target}, {}, (target.name,)), url)
    assert resolved.targets[target.name].contexts == target.contexts
    return places.reached(resolved, url).targets[target.name]


def test_paths_of_a_remote_definition_are_there_and_cwd_is_here() -> None:
    url = "https://example.org/r.git"
    contexts = {"a": "target:a", "b": "docker-image://b", "c": "c", "d": "cwd://d", "e": "https://example.org/e.git"}
    target = placed(Target(name="t", context="./sub/", contexts=contexts), url)
    assert target.context == f"{url}#:sub"
    assert target.contexts == {**contexts, "c": f"{url}#:c", "d": "d"}
    assert placed(Target(name="t", context="cwd://", dockerfile="cwd://D"), url).context == "."
    assert placed(Target(name="t", context="a/../b")).context == "b"


@pytest.mark.parametrize(
    ("context", "dockerfile", "expected"),
    [
        (".", "Dockerfile", "Dockerfile"),
        ("sub", "Dockerfile", "sub/Dockerfile"),
        ("sub", "../other/Dockerfile", "other/Dockerfile"),
        ("sub", "/etc/Dockerfile", "/etc/Dockerfile"),
        ("https://example.org/r.git", "./a/Dockerfile", "a/Dockerfile"),
    ],
)
def test_a_dockerfile_is_in_its_context(context: str, dockerfile: str, expected: str) -> None:
    assert places.dockerfile(Target(name="t", context=context, dockerfile=dockerfile)) == expected


def test_a_dockerfile_that_is_there_has_no_context_that_is_here() -> None:
    with pytest.raises(UnsupportedError, match="target t: the Dockerfile of a remote definition"):
        placed(Target(name="t", context="cwd://"), "https://example.org/r.git")


def test_standard_input_is_no_context_of_a_target() -> None:
    with pytest.raises(InvalidError, match="target t: the context can't come from standard input"):
        placed(Target(name="t", context="-"))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["app", "app-web", "db"]),
        ("app*", ["app", "app-web"]),
        ("?b", ["db"]),
        ("[a-c]pp", ["app"]),
        ("[^a]*", ["db"]),
        ("app", ["app"]),
        ("\\app", ["app"]),
        ("x*", []),
        ("[", []),
    ],
)
def test_patterns_mean_targets_as_paths_are_matched(pattern: str, expected: list[str]) -> None:
    assert overrides.matches(pattern, ["app", "app-web", "db"]) == expected


def test_a_malformed_pattern_is_told() -> None:
    with pytest.raises(InvalidError, match="the pattern '\\[z-a\\]' is malformed"):
        overrides.matches("[z-a]", ["app"])
