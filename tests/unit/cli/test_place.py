from __future__ import annotations

import os
from pathlib import Path

import pytest

from boatyard.cli.build.place import Place, Stdin, locate
from boatyard.errors import InvalidError, NotFoundError


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def test_the_dockerfile_is_in_the_context(context: Path) -> None:
    assert locate("app", None) == Place(context="app", dockerfile="app", attrs={"filename": "Dockerfile"})


def test_a_lower_case_name_is_found(context: Path) -> None:
    (context / "app" / "Dockerfile").rename(context / "app" / "dockerfile")
    assert locate("app", None).attrs == {"filename": "dockerfile"}


def test_a_named_dockerfile_is_relative_to_the_working_directory(context: Path) -> None:
    (context / "docker").mkdir()
    (context / "docker" / "dev").write_text("FROM scratch\n")
    place = locate("app", "docker/dev")
    assert (place.context, place.dockerfile, place.filename) == ("app", "docker", "dev")


def test_a_dockerfile_of_the_working_directory_is_in_it(context: Path) -> None:
    (context / "dev").write_text("FROM scratch\n")
    assert locate("app", "dev").dockerfile == "."


def test_a_link_that_leaves_its_directory_is_followed_here(context: Path) -> None:
    (context / "real").write_text("FROM scratch\n")
    (context / "app" / "link").symlink_to("../real")
    place = locate("app", "app/link")
    assert (place.dockerfile, place.filename) == (str(context), "real")


def test_a_pipe_as_dockerfile_is_read_whole(context: Path) -> None:
    os.mkfifo(context / "pipe")
    assert locate("app", "pipe").dockerfile_source == "pipe"


def test_standard_input_is_the_dockerfile_or_the_context(context: Path) -> None:
    assert locate("app", "-").stdin is Stdin.DOCKERFILE
    assert locate("-", None) == Place(stdin=Stdin.CONTEXT)
    assert locate("-", "sub/Dockerfile").attrs == {"filename": "sub/Dockerfile"}


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/app.git#main:sub",
        "git@example.com:app.git",
        "git://example.com/app",
        "ssh://git@example.com/app",
        "github.com/user/app",
        "http://example.com/context.tar.gz",
    ],
)
def test_an_address_is_left_to_the_daemon(context: Path, address: str) -> None:
    assert locate(address, "sub/Dockerfile").attrs == {"context": address, "filename": "sub/Dockerfile"}
    assert locate(address, None).attrs == {"context": address}


def test_a_directory_that_looks_like_an_address_is_a_directory(context: Path) -> None:
    (context / "github.com" / "user").mkdir(parents=True)
    (context / "github.com" / "user" / "Dockerfile").write_text("FROM scratch\n")
    assert locate("github.com/user", None).context == "github.com/user"


@pytest.mark.parametrize(
    ("arguments", "kind", "what", "fix"),
    [
        (("missing", None), NotFoundError, "'missing' does not exist", "give a directory"),
        (("empty", None), NotFoundError, "the directory is empty", "write one"),
        (("other", None), NotFoundError, "but Dockerfile.dev", "-f other/Dockerfile.dev other"),
        (("app/Dockerfile", None), InvalidError, "is not a directory", "boat build -f app/Dockerfile app"),
        (("app/context.tar", None), InvalidError, "is not a directory", "boat build - < app/context.tar"),
        (("app", "app"), InvalidError, "is a directory, not a Dockerfile", "use -f app/Dockerfile"),
        (("app", "nowhere"), NotFoundError, "no Dockerfile 'nowhere'", "-f FILE"),
        (("app", "inner"), NotFoundError, "no Dockerfile 'inner'", "relative to the working directory: -f app/inner"),
        (("app", "broken"), NotFoundError, "a link to a file that does not exist", ""),
        (("-", "-"), InvalidError, "both the context and the Dockerfile", "give the context as a directory"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(
    context: Path, arguments: tuple[str, str | None], kind: type[Exception], what: str, fix: str
) -> None:
    (context / "empty").mkdir()
    (context / "other").mkdir()
    (context / "other" / "Dockerfile.dev").touch()
    (context / "app" / "context.tar").touch()
    (context / "app" / "inner").touch()
    (context / "broken").symlink_to("nothing")
    with pytest.raises(kind) as caught:
        locate(*arguments)
    assert what in str(caught.value)
    assert fix in (getattr(caught.value, "hint", "") or "")
