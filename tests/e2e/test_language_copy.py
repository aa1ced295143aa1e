"""COPY and ADD: what lands where, whose it is, and what is refused."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from e2e.project import Project
from e2e.yard import Yard

pytestmark = pytest.mark.runtime


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "copying")


FILES: dict[str, str | bytes] = {
    "a.txt": "a",
    "b.txt": "b",
    "c.md": "c",
    "dir/one": "1",
    "dir/sub/two": "2",
    "dir/sub/three.tmp": "3",
    "[odd] name/with space": "odd",
}

# Instructions (destination below /N), and what is there then.
PLACES: list[tuple[str, list[str]]] = [
    ("COPY a.txt /N", [""]),
    ("COPY a.txt /N/", ["a.txt"]),
    ("COPY a.txt b.txt /N/", ["a.txt", "b.txt"]),
    ("COPY dir /N", ["one", "sub", "sub/three.tmp", "sub/two"]),
    ("COPY dir/ /N/", ["one", "sub", "sub/three.tmp", "sub/two"]),
    ("COPY dir /N/dir", ["dir", "dir/one", "dir/sub", "dir/sub/three.tmp", "dir/sub/two"]),
    ("COPY *.txt /N/", ["a.txt", "b.txt"]),
    ("COPY ?.m[cd] /N/", ["c.md"]),
    ("COPY dir/* /N/", ["one", "three.tmp", "two"]),
    ("COPY dir/sub/../one /N/", ["one"]),
    ("COPY ../../a.txt /N/", ["a.txt"]),
    ("COPY /dir/one /N/", ["one"]),
    ("COPY [[]odd]*/with* /N/", ["with space"]),
    ('COPY ["[[]odd] name", "/N/"]', ["with space"]),
    ("COPY --exclude=*.tmp dir /N", ["one", "sub", "sub/three.tmp", "sub/two"]),
    ("COPY --exclude=**/*.tmp --exclude=one dir /N", ["sub", "sub/two"]),
    ("COPY --parents dir/sub/two a.txt /N/", ["a.txt", "dir", "dir/sub", "dir/sub/two"]),
    ("COPY --parents dir/./sub/two /N/", ["sub", "sub/two"]),
    ("COPY --parents dir/**/two /N/", ["dir", "dir/sub", "dir/sub/two"]),
    ("COPY --parents --exclude=**/*.tmp dir/./sub /N/", ["sub", "sub/two"]),
    ("COPY --link a.txt /N/deep/er/", ["deep", "deep/er", "deep/er/a.txt"]),
    ("COPY --link --exclude=b.txt *.txt /N/", ["a.txt"]),
    ("ADD a.txt dir /N/", ["a.txt", "one", "sub", "sub/three.tmp", "sub/two"]),
    ("ADD --exclude=sub dir /N/", ["one"]),
]


def test_files_land_where_docker_puts_them(project: Project) -> None:
    lines = [line.replace("/N", f"/{number}") for number, (line, _) in enumerate(PLACES)]
    tree = project.write({**FILES, "Dockerfile": "FROM scratch\n" + "\n".join(lines) + "\n"}).tree()
    found = {
        line: tree.below(str(number)) or ([""] if str(number) in tree else [])
        for number, (line, _) in enumerate(PLACES)
    }
    assert found == dict(PLACES)


def test_a_destination_is_relative_to_the_working_directory_and_made_with_its_parents(project: Project) -> None:
    project.write({
        "Dockerfile": """
            FROM scratch
            WORKDIR /w
            COPY a.txt one
            COPY a.txt ./two/
            COPY a.txt .
            WORKDIR deeper
            COPY --chown=5 dir new/dir
            """,
        **FILES,
    })  # fmt: skip
    tree = project.tree()
    assert tree.below("w") == [
        "a.txt", "deeper", "deeper/new", "deeper/new/dir", "deeper/new/dir/one", "deeper/new/dir/sub",
        "deeper/new/dir/sub/three.tmp", "deeper/new/dir/sub/two", "one", "two", "two/a.txt",
    ]  # fmt: skip
    assert tree.mode("w/deeper/new") == "755"
    assert tree.owner("w/deeper/new/dir/one") == (5, 5)
    assert tree.owner("w/deeper/new") == (5, 5)  # parents that COPY makes are whose the copy is


# Flags, the mode of a file that is 0640 in the context, and of a directory 0750.
MODES = [
    ("", "640", "750"),
    ("--chmod=755", "755", "755"),
    ("--chmod=0600", "600", "600"),
    ("--chmod=u+x", "740", "750"),
    ("--chmod=go=", "600", "700"),
    ("--chmod=a=rX", "444", "555"),
    ("--chmod=u=rwX,go=rX", "644", "755"),
    ("--chmod=4755", "4755", "4755"),
    ("--link --chmod=o+r", "644", "754"),
]


def test_chmod_takes_numbers_and_symbols(project: Project) -> None:
    lines = [f"COPY {flags} d /{number}" for number, (flags, _, _) in enumerate(MODES)]
    project.write({"d/s/file": "x", "Dockerfile": "FROM scratch\n" + "\n".join(lines) + "\n"})
    (project.directory / "d/s/file").chmod(0o640)
    (project.directory / "d/s").chmod(0o750)
    tree = project.tree()
    found = [(flags, tree.mode(f"{n}/s/file"), tree.mode(f"{n}/s")) for n, (flags, _, _) in enumerate(MODES)]
    assert found == MODES


def test_chown_takes_names_and_numbers(project: Project) -> None:
    owners = {
        "1": (1, 1), "1:2": (1, 2), ":3": (0, 3), "app": (1001, 1002), "app:video": (1001, 44), "app:7": (1001, 7),
        "7:app": (7, 1002), "root": (0, 0),
    }  # fmt: skip
    lines = [f"COPY --chown={owner} f /out/{number}" for number, owner in enumerate(owners)]
    project.write({
        "f": "x",
        "passwd": "root:x:0:0::/:\napp:x:1001:1002::/:\n",
        "group": "root:x:0:\nvideo:x:44:\napp:x:1002:\n",
        "Dockerfile": "FROM scratch\nARG ME=app\nCOPY passwd group /etc/\n" + "\n".join(lines)
        + "\nCOPY --link --chown=8:9 f /out/linked\nADD --chown=${ME} f /out/argument\n",
    })  # fmt: skip
    tree = project.tree()
    assert {owner: tree.owner(f"out/{number}") for number, owner in enumerate(owners)} == owners
    assert tree.owner("out/linked") == (8, 9)
    assert tree.owner("out/argument") == (1001, 1002)
    project.dockerfile("FROM scratch\nCOPY passwd /etc/\nCOPY --chown=nobody passwd /x\n")
    assert "no user 'nobody'" in project.build()


def test_owners_and_times_of_the_context_are_not_taken_over_but_modes_and_links_are(project: Project) -> None:
    project.write({"d/file": "x", "Dockerfile": "FROM scratch\nCOPY d /d\n"})
    os.chown(project.directory / "d/file", 12, 34)
    os.chmod(project.directory / "d/file", 0o751)
    os.symlink("file", project.directory / "d/relative")
    os.symlink("/nowhere", project.directory / "d/dangling")
    os.link(project.directory / "d/file", project.directory / "d/hard")
    os.utime(project.directory / "d/file", (1000000000, 1000000000))
    tree = project.tree()
    assert (tree.mode("d/file"), tree.owner("d/file")) == ("751", (0, 0))
    assert tree.entries["d/relative"].linkname == "file"
    assert tree.entries["d/dangling"].linkname == "/nowhere"
    assert tree.text("d/hard") == "x"
    assert tree.entries["d/file"].mtime == 1000000000


def test_a_symlink_as_source_is_followed_and_one_in_the_destination_stays_inside(project: Project) -> None:
    project.write({"d/file": "x", "Dockerfile": """
        FROM busybox AS links
        RUN mkdir -p /real /out && ln -s /real /out/absolute && ln -s ../real /out/relative && \
            ln -s ../../../../../../real /out/climbing && ln -s /new /out/dangling
        COPY link /out/copied
        COPY links/ /out/links
        COPY d/file /out/absolute/a
        COPY d /out/relative/
        COPY d/file /out/climbing/c
        COPY d/file /out/dangling/d
        FROM scratch
        COPY --from=links /out /out
        COPY --from=links /real /real
        COPY --from=links /new /new
        COPY --from=links /out/absolute/a /through
        """})  # fmt: skip
    (project.directory / "links").mkdir()
    os.symlink("d/file", project.directory / "link")
    os.symlink("../d/file", project.directory / "links/kept")
    tree = project.tree()
    assert tree.text("out/copied") == "x"
    assert tree.entries["out/links/kept"].issym()
    assert tree.below("real") == ["a", "c", "file"]
    assert tree.below("new") == ["d"]
    assert tree.text("through") == "x"


def test_link_replaces_a_symlink_in_the_destination(project: Project) -> None:
    project.write({"d/file": "x", "Dockerfile": """
        FROM busybox
        RUN mkdir /real && ln -s /real /place
        COPY --link d /place/
        """})  # fmt: skip
    tree = project.tree()
    assert tree.entries["place"].isdir()
    assert tree.below("place") == ["file"]
    assert tree.below("real") == []


def test_files_and_directories_take_each_others_place_or_say_that_they_cannot(project: Project) -> None:
    project.write({"f": "x", "d/g": "y", "Dockerfile": "FROM scratch\nCOPY f /place\nCOPY d /place\n"})
    told = project.fails()
    assert "/place" in told
    assert "Dockerfile:3" in told
    project.dockerfile("FROM scratch\nCOPY d /place\nCOPY f /place\n")
    assert project.tree().below("place") == ["f", "g"]


@pytest.mark.parametrize("sources", ["a.txt b.txt", "*.txt"])
def test_several_files_to_one_name_are_remarked_on(project: Project, sources: str) -> None:
    """BuildKit keeps the last one and says nothing."""
    project.write({**FILES, "Dockerfile": f"FROM busybox\nCOPY {sources} /x\nCOPY {sources} /tmp\n"})
    told = project.build("--no-cache")
    assert "/b.txt takes the place of /a.txt as /x: several files need a directory, /x/" in told
    assert "as /tmp" not in told


REFUSED = {
    "COPY missing /x": ['"/missing"', "not found"],
    "COPY miss*.txt other /x/": ["not found"],
    "COPY https://example.com/f /x": ["ADD"],
    "COPY --chmod=9z a.txt /x": ["9z"],
    "COPY --form=x a.txt /x": ["did you mean", "--from"],
    "COPY --from=build a.txt /x": ["build"],
    "COPY a.txt": ["COPY"],
    "ADD --checksum=sha256:00 a.txt /x": ["checksum"],
    "COPY <<EOF /x\nopen": ["EOF"],
}


@pytest.mark.parametrize("line", REFUSED)
def test_mistakes_are_told_with_their_line(project: Project, line: str) -> None:
    project.write({**FILES, "Dockerfile": f"FROM scratch\n{line}\n"})
    told = project.fails()
    assert all(part in told for part in REFUSED[line]), told
    assert "Dockerfile:2" in told
    assert ">>> " in told


def test_a_misspelt_file_is_guessed(project: Project) -> None:
    project.write({**FILES, "Dockerfile": "FROM scratch\nCOPY dir/oen /x\n", ".dockerignore": "*.md\n"})
    project.fails()
    project.dockerfile("FROM scratch\nCOPY c.md /x\n")
    told = project.fails()
    assert ".dockerignore" in told


def archive(kind: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=f"w:{kind}" if kind in ("gz", "xz", "bz2") else "w") as tar:
        entry = tarfile.TarInfo("in/side")
        entry.size, entry.mode, entry.uid, entry.gid, entry.mtime = 5, 0o751, 12, 34, 1000000000
        tar.addfile(entry, io.BytesIO(b"inner"))
        link = tarfile.TarInfo("in/link")
        link.type, link.linkname = tarfile.SYMTYPE, "side"
        tar.addfile(link)
    data = raw.getvalue()
    return zstandard.ZstdCompressor().compress(data) if kind == "zst" else data


def test_add_unpacks_archives_and_copy_does_not(project: Project) -> None:
    kinds = ["tar", "gz", "xz", "bz2", "zst"]
    lines = [f"ADD archive.{kind} /{kind}/" for kind in kinds]
    project.write({f"archive.{kind}": archive(kind) for kind in kinds})
    project.write({
        "plain.tar": "not an archive",
        "Dockerfile": "FROM scratch\n" + "\n".join(lines) + """
ADD plain.tar /plain/
COPY archive.gz /copied/
ADD --unpack=false archive.gz /kept/
ADD --chown=7:8 archive.tar /owned/
ADD --link archive.gz /linked/
ADD archive.gz plain.tar /both/
""",
    })  # fmt: skip
    tree = project.tree()
    for kind in kinds:
        assert tree.below(kind) == ["in", "in/link", "in/side"], kind
        assert tree.text(f"{kind}/in/side") == "inner"
        assert (tree.mode(f"{kind}/in/side"), tree.owner(f"{kind}/in/side")) == ("751", (12, 34))
        assert tree.entries[f"{kind}/in/side"].mtime == 1000000000
    assert tree.below("plain") == ["plain.tar"]
    assert tree.below("copied") == ["archive.gz"]
    assert tree.below("kept") == ["archive.gz"]
    assert tree.owner("owned/in/side") == (7, 8)
    assert tree.below("linked") == ["in", "in/link", "in/side"]
    assert tree.below("both") == ["in", "in/link", "in/side", "plain.tar"]


IGNORING = [
    (".dockerignore", "*.md\ndir/sub\n", ["a.txt", "b.txt", "dir", "dir/one"]),
    (".dockerignore", "# all but\n*\n!dir/sub/two\n", ["dir", "dir/sub", "dir/sub/two"]),
    (".dockerignore", "**/*.tmp\n!keep\n/a.txt\ndir/one  \n", ["b.txt", "c.md", "dir", "dir/sub", "dir/sub/two"]),
    ("Dockerfile.dockerignore", "*.txt\n", ["c.md", "dir", "dir/one", "dir/sub", "dir/sub/three.tmp", "dir/sub/two"]),
]


@pytest.mark.parametrize(("name", "rules", "left"), IGNORING)
def test_ignore_files_decide_what_is_sent(project: Project, name: str, rules: str, left: list[str]) -> None:
    """The one beside the Dockerfile counts before the context's."""
    if name != ".dockerignore":
        project.write({".dockerignore": "*\n"})
    project.write(
        {
            **FILES,
            name: rules + "\n[[]odd]*\n.dockerignore\nDockerfile*\n",
            "Dockerfile": "FROM scratch\nCOPY . /all/\n",
        }
    )
    assert project.tree().below("all") == left


def test_an_ignore_file_that_excludes_everything_still_builds(project: Project) -> None:
    project.write({".dockerignore": "**\n", "a": "1", "Dockerfile": "FROM scratch\nCOPY . /all/\nCOPY <<EOF /b\nEOF\n"})
    tree = project.tree()
    assert "b" in tree
    assert tree.below("all") == []


def test_xattrs_and_capabilities_survive_a_copy_between_stages(project: Project) -> None:
    project.write({"Dockerfile": "FROM busybox AS a\nCOPY f /d/f\nFROM scratch\nCOPY --from=a /d /d\n", "f": "x"})
    os.setxattr(project.directory / "f", "user.note", b"kept")
    if shutil.which("setcap"):
        subprocess.run(["setcap", "cap_net_raw+ep", project.directory / "f"], check=True)
    entry = project.tree().entries["d/f"]
    assert entry.pax_headers["SCHILY.xattr.user.note"] == "kept"


def test_special_files_of_a_stage_are_copied(project: Project) -> None:
    project.dockerfile(
        "FROM busybox AS a\nRUN mkdir /d && mkfifo /d/pipe && truncate -s 100M /d/sparse && chmod 6755 /d/sparse\n"
        "FROM busybox\nCOPY --from=a /d /d\nRUN test -p /d/pipe && stat -c '%s %b %a' /d/sparse\n"
    )
    assert "104857600 0 6755" in project.build("--no-cache")
