"""The main job, through the real command."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from e2e.yard import Yard, write, write_files

pytestmark = pytest.mark.runtime


def test_an_image_is_built_and_run(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox\nRUN echo hello > /greeting\nCMD cat /greeting\n")
    yard.run("build", "-t", "greeting", context)
    assert yard.run("run", "--rm", "greeting").stdout == "hello\n"


def test_the_second_build_is_cached_and_makes_the_same_image(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox\nCOPY a /a\nRUN cat /a > /b\n", a="1")
    first = yard.run("build", "-q", "-t", "same", context).stdout
    again = yard.run("build", "--progress=plain", "--iidfile", tmp_path / "iid", "-t", "same", context)
    assert again.stderr.count("CACHED") >= 2
    assert first.strip() == (tmp_path / "iid").read_text().strip()


def test_a_changed_file_is_named_by_explain(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path / "explained", Dockerfile="FROM busybox\nCOPY . /src\n", a="1", b="1")
    yard.run("build", context)
    (context / "b").write_text("2")
    told = yard.run("build", "--progress=plain", "--explain", context)
    assert "file b changed" in told.stderr + told.stdout


def test_a_failed_step_shows_its_output_and_its_line(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox\nRUN echo before\nRUN echo reason >&2; exit 3\n")
    told = yard.fails("build", context)
    assert "exit code: 3" in told
    assert "Dockerfile:3" in told
    assert "reason" in told


def test_stages_that_nothing_needs_do_not_run(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox AS broken\nRUN exit 1\nFROM busybox\nRUN true\n")
    yard.run("build", context)


def test_a_secret_is_in_the_step_and_nowhere_else(yard: Yard, tmp_path: Path) -> None:
    secret = "s3cr3t-" + os.urandom(8).hex()
    (tmp_path / "secret").write_text(secret)
    context = write(
        tmp_path / "context",
        Dockerfile="FROM busybox\n"
        "RUN --mount=type=secret,id=token test -s /run/secrets/token && wc -c < /run/secrets/token > /size\n"
        'RUN --mount=type=secret,id=token,env=TOKEN test -n "$TOKEN"\n',
    )
    yard.run("build", "--secret", f"id=token,src={tmp_path}/secret", "-t", "with-secret", context)
    assert yard.run("run", "--rm", "with-secret", "cat", "/size").stdout.strip() == str(len(secret))
    found = subprocess.run(["grep", "-rlF", secret, yard.data, yard.root / "run"], capture_output=True, text=True)
    assert found.stdout == ""


def test_a_required_secret_that_is_missing_says_how_to_give_it(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox\nRUN --mount=type=secret,id=token,required=true true\n")
    told = yard.fails("build", context)
    assert "token" in told and "--secret" in told


def test_an_unused_secret_is_a_warning(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    context = write(tmp_path / "context", Dockerfile="FROM busybox\nRUN true\n")
    told = yard.run("build", "--progress=plain", "--secret", f"id=unused,src={tmp_path}/secret", context)
    assert "unused" in told.stderr


def test_outputs_as_tar_local_oci_and_docker(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path / "context", Dockerfile="FROM scratch\nCOPY file /dir/file\n", file="content")
    out = tmp_path / "out"
    yard.run(
        "build",
        "-o",
        f"type=tar,dest={out}.tar",
        "-o",
        f"type=local,dest={out}",
        "-o",
        f"type=oci,dest={out}.oci",
        context,
    )
    assert (out / "dir/file").read_text() == "content"
    with tarfile.open(f"{out}.tar") as tar:
        assert tar.extractfile("dir/file").read() == b"content"  # type: ignore[union-attr]
    with tarfile.open(f"{out}.oci") as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        assert index["manifests"][0]["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    streamed = subprocess.run(
        yard.command("build", "-o", "type=docker,name=x:1,dest=-", context),
        env=yard.variables(),
        capture_output=True,
        check=True,
    )
    assert b"manifest.json" in streamed.stdout


def test_the_same_inputs_give_the_same_digest(yard: Yard, tmp_path: Path) -> None:
    files = {
        "Dockerfile": "FROM busybox\nARG SOURCE_DATE_EPOCH\nCOPY a /a\nRUN date > /dev/null; echo x > /b\n",
        "a": "1",
    }
    digests = set()
    for number in range(2):
        context = write_files(tmp_path / f"c{number}", files)
        metadata = tmp_path / f"meta{number}"
        yard.run(
            "build", "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--metadata-file", metadata,
            "-o", f"type=oci,dest={tmp_path}/{number}.tar,rewrite-timestamp=true", context,
        )  # fmt: skip
        digests.add(json.loads(metadata.read_text())["containerimage.digest"])
    assert len(digests) == 1
    assert (tmp_path / "0.tar").read_bytes() == (tmp_path / "1.tar").read_bytes()


def test_a_saved_image_is_loaded_again(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox\nRUN echo kept > /kept\nLABEL a=b\n")
    yard.run("build", "-t", "kept:1", context)
    yard.run("image", "save", "-o", tmp_path / "kept.tar", "kept:1")
    yard.run("image", "rm", "kept:1")
    yard.run("image", "load", "-i", tmp_path / "kept.tar")
    assert yard.run("run", "--rm", "kept:1", "cat", "/kept").stdout == "kept\n"


def test_cache_mounts_outlive_steps_and_travel(yard: Yard, tmp_path: Path) -> None:
    context = write(
        tmp_path, Dockerfile="FROM busybox\nRUN --mount=type=cache,id=travels,target=/c echo x >> /c/f; cat /c/f > /n\n"
    )
    yard.run("build", "-t", "counted", context)
    yard.run("build", "--no-cache", "-t", "counted", context)
    assert yard.run("run", "--rm", "counted", "cat", "/n").stdout == "x\nx\n"
    exported = subprocess.run(
        yard.command("builder", "cache-mount", "export", "travels"),
        env=yard.variables(),
        capture_output=True,
        check=True,
    )
    yard.run("builder", "cache-mount", "rm", "travels")
    yard.run("builder", "cache-mount", "import", "travels", input=exported.stdout)
    yard.run("build", "--no-cache", "-t", "counted", context)
    assert yard.run("run", "--rm", "counted", "cat", "/n").stdout == "x\nx\nx\n"


def test_the_history_replays_a_build(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile=f"FROM busybox\nRUN echo said-{os.urandom(4).hex()}\n")
    yard.run("build", context)
    assert "said-" in yard.run("builder", "logs", "latest").stdout


def test_images_are_listed_inspected_tagged_and_removed(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM busybox\nENV A=1\nRUN true\n")
    yard.run("build", "-t", "listed:1", "-t", "listed:2", context)
    assert yard.run("image", "ls").stdout.count("listed") == 2
    yard.run("image", "tag", "listed:1", "other:3")
    assert "A=1" in yard.run("image", "inspect", "other:3").stdout
    assert "RUN" in yard.run("image", "history", "other:3").stdout
    yard.run("image", "rm", "listed:1", "listed:2", "other:3")
    assert "listed" not in yard.run("image", "ls").stdout


def test_exit_codes_environment_and_volumes_of_runs(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    assert yard.run("run", "--rm", "busybox", "sh", "-c", "exit 7", check=False).returncode == 7
    told = yard.run(
        "run", "--rm", "-e", "X=y", "-w", "/tmp", "-v", f"{tmp_path}/v:/v", "busybox", "sh", "-c", "echo $X $PWD > /v/o"
    )
    assert told.returncode == 0
    assert (tmp_path / "v/o").read_text() == "y /tmp\n"
