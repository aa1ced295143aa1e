"""What makes a step run again, and what doesn't; CACHED and SKIPPED."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.project import Project, outcomes
from e2e.yard import Yard

pytestmark = pytest.mark.runtime

DOCKERFILE = """
    FROM busybox AS base
    ARG UNUSED=1
    ARG USED=1
    RUN echo $USED > /used
    COPY dir /dir
    RUN cat /dir/a > /from-dir
    COPY --from=busybox /bin/busybox /copy
"""


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    """Built once. No other test's layers are in the way: each has a text of its own in the first file."""
    project = Project(yard, tmp_path / "cached")
    project.write({"dir/a": os.urandom(8).hex(), "dir/b": "b", "ignored": "1", "Dockerfile": DOCKERFILE})
    project.build("--build-arg", f"USED={tmp_path}")
    return project


def ran(progress: str) -> list[str]:
    """The steps that were executed."""
    return [name.split(" ")[0] + " " + name.split(" ")[1] for name, how in outcomes(progress).items() if how == "DONE"]


def touch(project: Project) -> None:
    os.utime(project.directory / "dir/a", (1, 1))


def rewrite_the_same(project: Project) -> None:
    path = project.directory / "dir/a"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def change_another_file(project: Project) -> None:
    (project.directory / "ignored").write_text("2")


def change(project: Project) -> None:
    """The same size and times: only the bytes are others."""
    path = project.directory / "dir/a"
    status = path.stat()
    path.write_text("x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def chmod(project: Project) -> None:
    (project.directory / "dir/b").chmod(0o755)


def add(project: Project) -> None:
    (project.directory / "dir/c").write_text("c")


def rename(project: Project) -> None:
    (project.directory / "dir/b").rename(project.directory / "dir/bb")


def link(project: Project) -> None:
    (project.directory / "dir/b").unlink()
    (project.directory / "dir/b").symlink_to("a")


COPIES = ["COPY dir", "RUN cat", "COPY --from=busybox"]
CHANGES: dict[Callable[[Project], None], list[str]] = {
    touch: [],
    rewrite_the_same: [],
    change_another_file: [],
    change: COPIES,
    chmod: COPIES,
    add: COPIES,
    rename: COPIES,
    link: COPIES,
}


@pytest.mark.parametrize("happens", CHANGES, ids=lambda happens: happens.__name__)
def test_what_changes_in_the_context_decides(
    project: Project, tmp_path: Path, happens: Callable[[Project], None]
) -> None:
    happens(project)
    assert ran(project.build("--build-arg", f"USED={tmp_path}")) == CHANGES[happens]


def test_arguments_count_once_they_are_declared_where_a_step_runs(project: Project, tmp_path: Path) -> None:
    same = ["--build-arg", f"USED={tmp_path}"]
    assert ran(project.build(*same, "--build-arg", "NEVER=declared")) == []
    # As in BuildKit: a declared argument is in the environment of the steps below, used or not.
    assert ran(project.build(*same, "--build-arg", "UNUSED=2"))[0] == "RUN echo"
    assert ran(project.build("--build-arg", f"USED={tmp_path}2"))[0] == "RUN echo"
    project.dockerfile("""
        ARG GLOBAL=1
        FROM busybox
        RUN echo hi > /a
        ARG LATE=1
        LABEL late=$LATE
    """)
    project.build()
    assert ran(project.build("--build-arg", "LATE=2", "--build-arg", "GLOBAL=2")) == []


def test_config_instructions_run_nothing_again(project: Project, tmp_path: Path) -> None:
    text = DOCKERFILE + "    LABEL a=1\n    CMD true\n    EXPOSE 1\n    HEALTHCHECK CMD true\n    # comment\n"
    assert ran(project.dockerfile(text).build("--build-arg", f"USED={tmp_path}")) == []
    text = DOCKERFILE.replace("    RUN cat", "    LABEL b=2\n    RUN   cat")
    assert ran(project.dockerfile(text).build("--build-arg", f"USED={tmp_path}")) == []
    text = DOCKERFILE.replace("    RUN cat", "    ENV B=2\n    RUN cat")
    assert ran(project.dockerfile(text).build("--build-arg", f"USED={tmp_path}"))[0] == "RUN cat"


def test_a_copy_is_found_by_what_it_copies_when_its_stage_ran_again(project: Project) -> None:
    text = """
        FROM busybox AS build
        ARG NONCE
        RUN echo $NONCE > /log; echo {} > /product
        FROM busybox
        COPY --from=build /product /product
        RUN cat /product
    """
    unique = os.urandom(8).hex()
    project.dockerfile(text.format(unique))
    project.build("--build-arg", f"NONCE={unique}1")
    told = project.build("--build-arg", f"NONCE={unique}2")
    assert ran(told) == ["RUN echo"]
    assert outcomes(told)["RUN cat /product"] == "CACHED"
    project.dockerfile(text.format(unique + "changed"))
    assert ran(project.build()) == ["RUN echo", "COPY --from=build", "RUN cat"]


def test_linked_copies_outlive_a_change_of_what_is_below(project: Project) -> None:
    text = "FROM busybox\nRUN echo {0}{1} > /below\nCOPY --link dir /linked\nCOPY dir /plain\n"
    unique = os.urandom(8).hex()
    project.dockerfile(text.format(unique, 1)).build()
    tree = project.dockerfile(text.format(unique, 2)).tree()
    assert tree.below("linked") == tree.below("plain") == ["a", "b"]
    told = project.dockerfile(text.format(unique, 3)).build("--explain")
    steps = outcomes(told)
    assert steps["COPY --link dir /linked"] == "CACHED"
    assert steps["COPY dir /plain"] == "DONE"


def test_no_cache_runs_everything_and_no_cache_filter_some_stages(project: Project) -> None:
    project.dockerfile("""
        FROM busybox AS one
        RUN date > /one
        FROM busybox AS two
        RUN date > /two
        FROM busybox
        COPY --from=one /one /
        COPY --from=two /two /
    """)
    project.build()
    assert ran(project.build()) == []
    assert ran(project.build("--no-cache-filter", "two"))[:1] == ["RUN date"]
    told = outcomes(project.build("--no-cache-filter", "two"))
    assert (told["RUN date > /one"], told["RUN date > /two"]) == ("CACHED", "DONE")
    everything = outcomes(project.build("--no-cache"))
    assert {how for name, how in everything.items() if not name.startswith("FROM")} == {"DONE"}


def test_steps_that_were_not_needed_are_skipped_not_cached(project: Project) -> None:
    """A COPY found by its content makes needless what is below the stage it copies from: that was found, too."""
    unique = os.urandom(8).hex()
    project.dockerfile(f"FROM busybox AS a\nRUN echo {unique} > /a\nFROM scratch\nCOPY --from=a /a /a\n")
    project.build()
    steps = outcomes(project.build())
    assert steps[f"RUN echo {unique} > /a"] == "CACHED"
    assert steps["COPY --from=a /a /a"] == "CACHED"


def test_a_rebuilt_base_image_runs_again_what_stands_on_it(project: Project) -> None:
    base = Project(project.yard, project.directory.parent / "base")
    tag = f"base-{os.urandom(4).hex()}"
    project.dockerfile(f"FROM {tag}\nRUN cat /v > /w\nRUN true\n")
    base.dockerfile("FROM busybox\nRUN echo 1 > /v\n").build("-t", tag)
    assert ran(project.build())[:1] == ["RUN cat"] or "RUN cat" in ran(project.build("--no-cache"))
    base.dockerfile("FROM busybox\nRUN echo 1 > /v\nLABEL only=config\n").build("-t", tag)
    assert ran(project.build()) == []  # the same files
    base.dockerfile("FROM busybox\nRUN echo 2 > /v\n").build("-t", tag)
    told = project.build("--explain")
    assert "RUN cat" in ran(told)


def test_concurrent_builds_share_a_step(project: Project, tmp_path: Path) -> None:
    """Two builds of the same text at once: each line is executed once."""
    import concurrent.futures

    unique = os.urandom(8).hex()
    projects = [Project(project.yard, tmp_path / name) for name in ("left", "right")]
    for each in projects:
        each.dockerfile(
            f"FROM busybox\nRUN --mount=type=cache,id=n{unique},target=/c echo x >> /c/n; cat /c/n > /n; usleep 99999\n"
        )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        trees = list(pool.map(lambda each: each.tree(), projects))
    assert [tree.text("n") for tree in trees] == ["x\n", "x\n"]
