"""Every command's main path against a real daemon, its machine-readable output, and what it says when it can't."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.yard import Yard, write

pytestmark = pytest.mark.runtime

Context = Callable[..., Path]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return write(
        tmp_path / "context",
        Dockerfile="FROM busybox AS base\nARG WORD=one\nLABEL team=blue\nRUN echo $WORD > /word\nCOPY file /file\n",
        file="a\n",
    )


@pytest.fixture
def tag(request: pytest.FixtureRequest) -> str:
    return f"commands/{abs(hash(request.node.name)) % 10**9}:1"


@pytest.fixture
def built(yard: Yard, context: Path, tag: str) -> Iterator[str]:
    yard.run("build", "-q", "-t", tag, context)
    yield tag
    yard.run("rmi", "-f", tag)


# build


def test_quiet_prints_the_id_that_the_id_file_has(yard: Yard, context: Path, tmp_path: Path) -> None:
    told = yard.run("build", "-q", "--iidfile", tmp_path / "iid", context)
    assert told.stdout.strip() == (tmp_path / "iid").read_text()
    assert told.stderr == ""


def test_the_metadata_file_names_the_image_and_the_build(yard: Yard, context: Path, tmp_path: Path) -> None:
    yard.run("build", "--metadata-file", tmp_path / "meta", context)
    told = json.loads((tmp_path / "meta").read_text())
    assert told["containerimage.digest"] == told["containerimage.descriptor"]["digest"]
    assert yard.run("builder", "history", "-q", told["boat.build.ref"]).returncode == 0


def test_raw_progress_is_buildkits_json(yard: Yard, context: Path) -> None:
    lines = yard.run("build", "--progress=rawjson", context).stderr.splitlines()
    kinds = {kind for line in lines for kind in json.loads(line)}
    assert {"vertexes", "statuses"} <= kinds


def test_an_argument_and_a_file_are_named_as_reasons(yard: Yard, context: Path) -> None:
    text = (context / "Dockerfile").read_text()
    write(context, Dockerfile=text.replace("/word", f"/word-{os.urandom(4).hex()}"))
    yard.run("build", context)
    changed = yard.run("build", "--explain", "--build-arg", "WORD=two", context).stderr
    assert "WORD" in changed and "one" in changed and "two" in changed
    (context / "file").write_text("b\n")
    changed = yard.run("build", "--explain", "--build-arg", "WORD=two", context).stderr
    assert "file file changed" in changed


def test_the_context_report_tells_what_was_read_and_left_out(yard: Yard, context: Path) -> None:
    (context / "big.log").write_bytes(bytes(5000))
    (context / ".dockerignore").write_text("*.log\n")
    write(context, Dockerfile="FROM scratch\nCOPY . /\n")
    told = yard.run("build", "--context-report", context).stdout
    assert "largest files:" in told
    assert "big.log (*.log)" in told


def test_questions_are_answered_on_standard_output(yard: Yard, context: Path) -> None:
    assert "no warnings" in yard.run("build", "--check", context).stdout
    assert "WORD" in yard.run("build", "--call=outline", context).stdout
    assert "base" in yard.run("build", "--call=targets", context).stdout
    assert json.loads(yard.run("build", "--call=outline,format=json", context).stdout)["args"][0]["name"] == "WORD"
    write(context, Dockerfile="from busybox\nRUN true\nrun true\n")
    assert yard.run("build", "--check", context, check=False).returncode == 1


def test_the_same_build_makes_the_same_image_after_an_export(yard: Yard, context: Path, tmp_path: Path) -> None:
    metadata = [tmp_path / "before", tmp_path / "after"]
    yard.run("build", "--metadata-file", metadata[0], context)
    yard.run("build", "-o", f"type=oci,dest={tmp_path}/out.tar", context)
    yard.run("build", "--metadata-file", metadata[1], context)
    before, after = (json.loads(path.read_text())["containerimage.digest"] for path in metadata)
    assert before == after


def test_an_output_beside_the_dockerfile_is_not_in_the_context(yard: Yard, tmp_path: Path) -> None:
    context = write(tmp_path, Dockerfile="FROM scratch\nCOPY . /\n", file="a")
    yard.run("build", "-o", "type=tar,dest=out.tar", ".", cwd=context)
    with tarfile.open(context / "out.tar") as tar:
        assert sorted(tar.getnames()) == ["Dockerfile", "file"]
    assert sorted(path.name for path in context.iterdir()) == ["Dockerfile", "file", "out.tar"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--taget", "x"], 2, ["--target"]),
        (["--target", "nosuch"], 3, ["nosuch", "base"]),
        (["-f", "nosuch"], 3, ["nosuch", "-f"]),
        (["-o", "type=nosuch"], 2, ["nosuch", "oci"]),
        (["-t", "UPPER"], 2, ["UPPER", "upper"]),
        (["-t", "two words"], 2, ["white space"]),
        (["--platform", "nosuch"], 2, ["nosuch", "linux/amd64"]),
        (["--push"], 2, ["no name", "-t"]),
        (["--secret", "id=x,src=/nosuch"], 3, ["/nosuch", "env="]),
        (["--progress", "nosuch"], 2, ["rawjson"]),
        (["--network", "host"], 5, ["network.host", "entitlements"]),
        (["--shm-size", "lots"], 2, ["512m"]),
        (["-o", "/proc/nosuch"], 8, ["/proc/nosuch"]),
        (["--iidfile", "/proc/nosuch"], 8, ["/proc/nosuch"]),
    ],
)
def test_wrong_flags_of_build_say_what_is_right(
    yard: Yard, context: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    told = yard.run("build", *arguments, context, check=False)
    assert told.returncode == code
    for word in words:
        assert word in told.stderr
    assert "Traceback" not in told.stderr


def test_a_name_that_is_none_is_found_before_anything_is_built(yard: Yard, context: Path) -> None:
    assert "#1 " not in yard.fails("build", "-t", "two words", context)


# images


def test_lists_of_images_as_table_json_and_template(yard: Yard, built: str) -> None:
    name, _, version = built.partition(":")
    assert name in yard.run("images").stdout
    rows = [json.loads(line) for line in yard.run("image", "ls", "--format", "json", name).stdout.splitlines()]
    assert [(row["Repository"], row["Tag"], row["Labels"]) for row in rows] == [(name, version, {"team": "blue"})]
    assert yard.run("images", "--format", "{{.Repository}}:{{.Tag}}", name).stdout.strip() == built
    assert yard.run("images", "--format", "table {{.Tag}}\\t{{.ID}}", name).stdout.split()[0] == "TAG"
    assert yard.run("images", "-q", "--no-trunc", name).stdout.startswith("sha256:")
    assert "there are: .Repository" in yard.fails("images", "--format", "{{.Nosuch}}")


def test_filters_of_images(yard: Yard, built: str) -> None:
    name = built.partition(":")[0]

    def found(*filters: str) -> bool:
        flags = [word for text in filters for word in ("--filter", text)]
        return name in yard.run("images", *flags).stdout

    assert found("label=team") and found("label=team=blue") and not found("label=team=red")
    assert found("reference=commands/*") and not found("reference=other/*")
    assert found("since=busybox") and not found("before=busybox")
    assert not found("dangling=true") and found("dangling=false")
    assert "use dangling" in yard.fails("images", "--filter", "nosuch=1")


def test_an_image_is_inspected_and_told(yard: Yard, built: str) -> None:
    (detail,) = json.loads(yard.run("image", "inspect", built).stdout)
    assert detail["RepoTags"] == [built]
    assert detail["Config"]["Labels"] == {"team": "blue"}
    assert len(detail["RootFS"]["Layers"]) == 3
    assert yard.run("image", "inspect", "-f", "{{.Id}}", built).stdout.strip() == detail["Id"]
    assert yard.run("image", "inspect", "-f", "{{.Os}}", detail["Id"][7:19]).stdout == "linux\n"
    entries = [json.loads(line) for line in yard.run("history", "--format", "json", built).stdout.splitlines()]
    assert entries[0]["CreatedBy"].startswith("COPY file /file")
    assert entries[0]["Tags"] == [built]


def test_names_come_and_go(yard: Yard, built: str) -> None:
    yard.run("tag", built, "commands/other:2")
    assert "several repositories" in yard.fails(
        "rmi", yard.run("image", "inspect", "-f", "{{.Id}}", built).stdout.strip()
    )
    assert "Untagged: commands/other:2" in yard.run("rmi", "commands/other:2").stdout
    assert yard.run("rmi", "commands/other:2", check=False).returncode == 3
    assert yard.run("rmi", "-f", "commands/other:2").stdout == ""
    assert "did you mean" in yard.fails("image", "inspect", built.partition(":")[0])


def test_archives_go_out_and_come_in(yard: Yard, built: str, tmp_path: Path) -> None:
    for form in ("docker", "oci"):
        path = tmp_path / f"{form}.tar"
        yard.run("save", "--format", form, "--compression", "zstd", "-o", path, built)
        with tarfile.open(path) as archive:
            assert "index.json" in archive.getnames()
        yard.run("rmi", built)
        assert f"Loaded image: {built}" in yard.run("load", "-i", path).stdout
    assert "is a directory" in yard.fails("load", "-i", tmp_path)
    assert "no image archive" in yard.fails("load", input=b"")
    assert yard.run("save", "-o", tmp_path / "none.tar", "nosuch", check=False).returncode == 3
    assert not (tmp_path / "none.tar").exists()


def test_files_become_an_image(yard: Yard, tmp_path: Path) -> None:
    archive = tmp_path / "files.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(__file__, "hello")
    id = yard.run("import", "-c", 'CMD ["/hello"]', "-m", "mine", archive, "commands/imported").stdout.strip()
    assert yard.run("image", "inspect", "-f", "{{json .Config.Cmd}}", id).stdout == '["/hello"]\n'
    assert "only instructions" in yard.fails("import", "-c", "RUN true", archive)
    yard.run("rmi", "commands/imported")


# run


def test_commands_that_are_none_end_as_in_a_shell(yard: Yard) -> None:
    assert yard.run("run", "--rm", "busybox", "nosuch", check=False).returncode == 127
    assert yard.run("run", "--rm", "busybox", "/etc", check=False).returncode == 126
    assert yard.run("run", "--rm", "nosuch", check=False).returncode == 125
    assert yard.run("run", "busybox", "true", check=False).returncode == 6


def test_the_flags_of_run_reach_the_container(yard: Yard, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "env").write_text("FROM_FILE=1\n# a remark\nHOST_HAS\nHOST_LACKS\n")
    told = yard.run(
        "run", "--rm", "-e", "GIVEN=2", "--env-file", tmp_path / "env", "-w", "/somewhere", "-u", "12:34",
        "-h", "boat", "--network", "none", "--add-host", "elsewhere:1.2.3.4", "--tmpfs", "/scratch", "--read-only",
        "-v", f"{tmp_path}:/given:ro", "--shm-size", "1m", "--ulimit", "nofile=77", "busybox", "sh", "-c",
        "env; pwd; id -u; hostname; cat /etc/hosts; touch /x /given/x; touch /scratch/x && echo scratched; ulimit -n",
        environment={"HOST_HAS": "3"}, check=False,
    )  # fmt: skip
    for expected in ("FROM_FILE=1", "GIVEN=2", "HOST_HAS=3", "/somewhere", "12", "boat", "1.2.3.4\telsewhere", "77"):
        assert expected in told.stdout.splitlines(), expected
    assert "HOST_LACKS" not in told.stdout
    assert told.stderr.count("Read-only file system") == 2
    assert "not for linux/s390x" in yard.fails("run", "--rm", "--platform", "linux/s390x", "busybox", "true")


# builder


def test_the_cache_is_told_and_pruned(own_yard: Yard, tmp_path: Path) -> None:
    own_yard.run("bootstrap", "busybox")
    context = write(
        tmp_path, Dockerfile="FROM busybox\nRUN --mount=type=cache,target=/cache dd if=/dev/zero of=/f bs=1M count=2\n"
    )
    own_yard.run("build", context)
    rows = [json.loads(line) for line in own_yard.run("builder", "du", "--format", "json").stdout.splitlines()]
    assert {"regular", "exec.cachemount"} <= {row["Type"] for row in rows}
    assert "Reclaimable:" in own_yard.run("builder", "du").stdout
    assert "ID:" in own_yard.run("builder", "du", "-v", "--filter", "type=exec.cachemount").stdout
    assert "fields:" in own_yard.fails("builder", "du", "--filter", "nosuch=1")
    assert "--force" in own_yard.fails("builder", "prune")
    assert "Would reclaim: 0B" in own_yard.run("builder", "prune", "--dry-run", "--filter", "until=1h").stdout
    assert "Would reclaim: 0B" in own_yard.run("builder", "prune", "--dry-run", "--keep-storage", "1GB").stdout
    assert "cachemount" in own_yard.run("builder", "prune", "-f", "--filter", "type=exec.cachemount").stdout
    assert own_yard.run("builder", "cache-mount", "ls", "-q").stdout == ""
    own_yard.run("builder", "prune", "-af")
    assert "RUN" not in own_yard.run("builder", "du").stdout
    assert own_yard.run("run", "--rm", "busybox", "true").returncode == 0


def test_past_builds_are_listed_and_removed(yard: Yard, context: Path) -> None:
    yard.run("build", "-t", "commands/past", context)
    (row,) = (
        json.loads(line) for line in yard.run("builder", "history", "-n", "1", "--format", "json").stdout.splitlines()
    )
    assert (row["Name"], row["Status"]) == ("commands/past", "Completed")
    (detail,) = (
        json.loads(line) for line in yard.run("builder", "history", row["ID"], "--format", "json").stdout.splitlines()
    )
    assert {step["State"] for step in detail["StepList"]} <= {"done", "cached", "skipped"}
    assert "not running" in yard.fails("builder", "cancel", row["ID"])
    assert yard.run("builder", "history", "--rm", row["ID"]).stdout.strip() == row["Ref"]
    assert yard.run("builder", "logs", row["ID"], check=False).returncode == 3
    assert "--rm needs" in yard.fails("builder", "history", "--rm")


def test_cache_mounts_are_called_as_the_dockerfile_calls_them(yard: Yard, tmp_path: Path) -> None:
    context = write(
        tmp_path,
        Dockerfile="FROM busybox\n"
        "RUN --mount=type=cache,target=/by/target --mount=type=cache,id=by-id,target=/x echo x > /x/f\n",
    )
    yard.run("build", context)
    assert {"/by/target", "by-id"} <= set(yard.run("builder", "cache-mount", "ls", "-q").stdout.splitlines())
    assert "1 file," in yard.run("builder", "cache-mount", "export", "by-id", "-o", tmp_path / "c.tar.gz").stderr
    assert "can't write the archive: No space left" in yard.fails(
        "builder", "cache-mount", "export", "by-id", "-o", "/dev/full"
    )
    yard.run("builder", "cache-mount", "import", "another", "-i", tmp_path / "c.tar.gz")
    yard.run("builder", "cache-mount", "rm", "another", "by-id", "/by/target")
    assert "no cache mount" in yard.fails("builder", "cache-mount", "export", "by-id")


def test_a_disk_that_is_full_when_a_small_archive_ends_is_told(yard: Yard, tmp_path: Path) -> None:
    """Smaller than what is buffered: nothing is written before the file is closed."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL small=1\n")
    yard.run("build", "-t", "small", tmp_path)
    assert "can't write the archive: No space left" in yard.fails("save", "-o", "/dev/full", "small")


# the rest


def test_base_images_get_the_names_that_are_asked_for(yard: Yard) -> None:
    environment = {"SOURCE_DATE_EPOCH": "1700000000"}
    ids = {
        yard.run("bootstrap", "-q", "-t", f"commands/base:{n}", "busybox", environment=environment).stdout for n in "12"
    }
    assert len(ids) == 1
    assert "commands/base" in yard.run("images").stdout
    yard.run("rmi", "commands/base:1", "commands/base:2")
    assert yard.run("image", "inspect", "busybox").returncode == 0
    assert "debian:bookworm-slim" in yard.fails("bootstrap", "fedora")
    assert "linux/nosuch" in yard.fails("bootstrap", "--arch", "nosuch", "busybox")


def test_the_doctor_names_what_is_missing_and_brings_it(own_yard: Yard, tmp_path: Path) -> None:
    checks = {check["name"]: check for check in json.loads(own_yard.run("doctor", "--format", "json").stdout)}
    assert checks["daemon"]["status"] == checks["runtime"]["status"] == checks["git"]["status"] == "ok"
    told = own_yard.run(
        "doctor", environment={"BOAT_HOST": f"unix://{tmp_path}/none", "PATH": str(tmp_path)}, check=False
    )
    assert told.returncode == 1
    assert "apt-get install mmdebstrap" in told.stdout
    assert "apt-get install git" in told.stdout


def test_versions_and_the_state_of_the_daemon(yard: Yard) -> None:
    assert json.loads(yard.run("version", "--format", "json").stdout)["Server"]["Version"]
    status = json.loads(yard.run("daemon", "status", "--format", "json").stdout)
    assert status["Pid"] == yard.daemon.pid if yard.daemon else False
    assert status["Root"] == str(yard.data)


def test_no_daemon_where_one_was_named(yard: Yard, tmp_path: Path) -> None:
    there_is_none = {"BOAT_HOST": f"unix://{tmp_path}/none.sock"}
    assert yard.run("images", check=False, environment=there_is_none).returncode == 9
    assert yard.run("daemon", "status", check=False, environment=there_is_none).returncode == 1
    assert yard.run("version", check=False, environment=there_is_none).returncode == 9
    assert "no daemon answers at tcp://there.invalid:1234" in yard.fails(
        "images", environment={"BOAT_HOST": "tcp://there.invalid:1234"}
    )


def test_who_may_not_talk_to_the_daemon_is_told_how(yard: Yard) -> None:
    for directory in (yard.root, *yard.root.parents[:-2]):
        directory.chmod(directory.stat().st_mode | 0o011)
    try:
        told = subprocess.run(
            yard.command("images"), env=yard.variables(), capture_output=True, text=True, user=65534, group=65534
        )
    except PermissionError:
        pytest.skip("others may not run this checkout's Python")
    if told.returncode == 126 or "ermission denied: " in told.stderr.split("\n")[0]:
        pytest.skip("others may not read this checkout")
    assert told.returncode == 5
    assert "join the group" in told.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_what_the_shell_reads(yard: Yard, shell: str) -> None:
    script = yard.run("completion", shell).stdout
    try:
        checked = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip(f"no {shell} here")
    assert checked.returncode == 0, checked.stderr
    assert "on-error" in script


def shell(yard: Yard, line: str) -> subprocess.CompletedProcess[str]:
    variables = {**yard.variables(), "PATH": f"{Path(yard.command()[0]).parent}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", line], env=variables, text=True, capture_output=True)


def test_closed_and_full_outputs_end_a_command_in_order(yard: Yard, context: Path) -> None:
    assert shell(yard, "boat images >&-").returncode == 0
    assert shell(yard, f"boat build {context} >&- 2>&- <&-").returncode == 0
    told = shell(yard, "boat images > /dev/full")
    assert told.returncode == 8
    assert "can't write to <stdout>: No space left on device" in told.stderr
    for line in (f"boat build -o - {context}", "boat save busybox", f"boat build -o type=oci,dest=- {context}"):
        told = shell(yard, f"set -o pipefail; {line} | head -c 1 > /dev/null")
        assert told.returncode != 0
        assert "went away" in told.stderr
    assert shell(yard, "boat builder history | head -1").returncode == 0


def test_misspelt_commands_are_answered_with_the_nearest(yard: Yard) -> None:
    assert "did you mean `boat build`?" in yard.fails("buidl")
    assert "did you mean `boat builder prune`?" in yard.fails("builder", "purne")
    assert yard.run("nosuch", check=False).returncode == 2
