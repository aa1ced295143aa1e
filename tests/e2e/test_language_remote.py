"""ADD from URLs and repositories."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from e2e.project import Project, outcomes
from e2e.served import Served, commit_all, git
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "adding")


def test_a_url_is_downloaded_with_name_mode_owner_and_time(project: Project, served: Served) -> None:
    (served.directory / "file.txt").write_text("x")
    os.utime(served.directory / "file.txt", (1_000_000_000, 1_000_000_000))
    with tarfile.open(served.directory / "some.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("in/side")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"y"))
    checksum = hashlib.sha256(b"x").hexdigest()
    project.dockerfile(f"""
        FROM scratch
        ARG URL={served.url}
        ADD $URL/file.txt /
        ADD $URL/file.txt?query=1#fragment /renamed
        ADD --chmod=750 --chown=3:4 $URL/file.txt /owned/
        ADD --checksum=sha256:{checksum} --link $URL/file.txt /checked/
        ADD $URL/some.tar.gz /packed/
        ADD --unpack=true $URL/some.tar.gz /unpacked/
        """)
    tree = project.tree()
    assert tree.text("file.txt") == tree.text("renamed") == tree.text("checked/file.txt") == "x"
    assert tree.mode("file.txt") == "600"
    assert tree.entries["file.txt"].mtime == 1_000_000_000
    assert (tree.mode("owned/file.txt"), tree.owner("owned/file.txt")) == ("750", (3, 4))
    assert tree.below("packed") == ["some.tar.gz"]
    assert tree.below("unpacked") == ["in", "in/side"]


def test_a_url_is_asked_for_again_and_downloaded_when_it_changed(project: Project, served: Served) -> None:
    path = served.directory / "file"
    path.write_text("one")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    project.dockerfile(f"FROM scratch\nADD {served.url}/file /file\n")
    project.build()
    told = project.build()
    assert served.asked("/file") == [200, 304]
    assert outcomes(told)[f"ADD {served.url}/file /file"] == "CACHED"
    path.write_text("two")
    assert project.tree().text("file") == "two"
    assert served.asked("/file")[-1] == 200


def test_a_wrong_checksum_and_a_missing_file_are_told_with_their_line(project: Project, served: Served) -> None:
    (served.directory / "file").write_text("x")
    wrong = "0" * 64
    project.dockerfile(f"FROM scratch\nADD --checksum=sha256:{wrong} {served.url}/file /\n")
    told = project.fails()
    assert wrong in told
    assert hashlib.sha256(b"x").hexdigest() in told
    assert "Dockerfile:2" in told
    project.dockerfile(f"FROM scratch\nADD {served.url}/missing /\n")
    told = project.fails()
    assert "404" in told
    assert "Dockerfile:2" in told
    project.dockerfile("FROM scratch\nADD http://127.0.0.1:1/x /\n")
    assert "refused" in project.fails()
    project.dockerfile(f"FROM scratch\nADD --checksum=md5:00 {served.url}/file /\n")
    assert "md5" in project.fails()


@pytest.fixture
def repository(served: Served) -> Path:
    """Two commits, the first tagged v1, with a submodule."""
    module = write_files(served.directory / "module", {"inner": "submodule"})
    commit_all(module)
    source = write_files(served.directory / "repo", {"f": "1", "sub/g": "2"})
    commit_all(source)
    git(source, "tag", "-a", "-m", "first", "v1")
    git(source, "submodule", "--quiet", "add", f"{served.url}/module/.git", "mod")
    (source / "f").write_text("changed")
    commit_all(source)
    return source


def test_a_repository_is_checked_out(project: Project, served: Served, repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    first = git(repository, "rev-parse", "v1^{commit}")
    url = f"{served.url}/repo/.git"
    project.dockerfile(f"""
        FROM scratch
        ADD {url} /head
        ADD {url}#v1 /tagged
        ADD {url}#main:sub /sub
        ADD {url}#{first} /commit
        ADD --keep-git-dir=true {url}#v1 /kept
        ADD --checksum={head} {url}#main /checked
        ADD --chown=5:6 --chmod=700 {url}#v1 /owned
        """)
    tree = project.tree()
    assert tree.text("head/f") == "changed"
    assert tree.text("head/mod/inner") == "submodule"
    assert tree.below("tagged") == ["f", "sub", "sub/g"]
    assert tree.text("tagged/f") == tree.text("commit/f") == "1"
    assert tree.below("sub") == ["g"]
    assert tree.text("kept/.git/HEAD").strip() == first
    assert tree.text("checked/f") == "changed"
    assert (tree.mode("owned/f"), tree.owner("owned/sub/g")) == ("700", (5, 6))
    assert not [name for name in tree.entries if ".git/" in name and not name.startswith("kept/")]
    told = project.build()
    assert {how for name, how in outcomes(told).items()} == {"CACHED"}


def test_what_is_wrong_with_a_repository_is_told(project: Project, served: Served, repository: Path) -> None:
    url = f"{served.url}/repo/.git"
    for source, reason in {
        f"{url}#nosuchref": "no branch or tag 'nosuchref'",
        f"{url}#main:nosuchdir": "no directory 'nosuchdir'",
        f"{served.url}/none/.git": "git",
        f"--checksum={'0' * 40} {url}#main": "checksum",
    }.items():
        project.dockerfile(f"FROM scratch\nADD {source} /x\n")
        told = project.fails()
        assert reason in told
        assert "Dockerfile:2" in told
