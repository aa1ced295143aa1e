"""Frontends in Python: files of the context, installed packages; what they may, what is said of their mistakes."""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.project import Project, outcomes
from e2e.served import Served, commit_all, git
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime

ALLOW = "--allow=frontend.python"

GREETING = '''\
"""Writes what the file says, one file a line."""
from boatyard.frontend import Bridge, Context, Image, Options, Result, make_file, scratch

async def frontend(bridge: Bridge, options: Options, context: Context) -> Result:
    print("making", options.arguments.get("WHAT", "things"))
    state = scratch()
    for number, line in enumerate(context.file.text.splitlines()[1:], 2):
        name, _, text = line.partition(" ")
        if not text:
            raise context.file.place(number).error(f"{name!r} has no text", hint="write NAME TEXT")
        state = state.file(make_file(f"/{name}", text), name=f"write {name}", at=context.file.place(number))
    images = [Image.of(state, platform, command=["/a"]) for platform in options.platforms or (bridge.platform,)]
    return Result(tuple(images), multi_platform=options.multi_platform)
'''


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "made")


def fails(project: Project, *arguments: str) -> str:
    """What was said, a frontend's traceback in its log among it."""
    done = project.yard.run("build", "--progress=plain", *arguments, project.directory, check=False)
    assert done.returncode not in (0, 70), done.stderr
    return done.stderr


def python(project: Project, frontend: str, dockerfile: str = "", **files: str) -> Project:
    return project.write(
        {"Dockerfile": f"# syntax=python:./frontend.py\n{dockerfile}", "frontend.py": frontend, **files}
    )


def test_a_file_of_the_context_is_a_frontend_when_the_client_says_so(project: Project) -> None:
    python(project, GREETING, "a hello\nb you\n")
    told = fails(project)
    assert "names the Python file ./frontend.py as its frontend" in told
    assert "--allow frontend.python" in told
    assert ">>> # syntax=python:./frontend.py" in told
    tree = project.tree(ALLOW)
    assert (tree.text("a"), tree.text("b")) == ("hello", "you")
    progress = project.build(ALLOW, "--build-arg", "WHAT=words")
    assert "making words" in progress
    assert outcomes(progress) == {}
    assert re.search(r"^#\d+ write a\n#\d+ CACHED", progress, re.MULTILINE)


def test_naming_it_is_saying_so(project: Project) -> None:
    project.write({"Dockerfile": "# a file\na hello\n", "tools/maker.py": GREETING.replace("def frontend", "def make")})
    tree = project.tree("--build-arg", "BUILDKIT_SYNTAX=python:./tools/maker.py:make")
    assert tree.text("a") == "hello"


def test_a_mistake_in_the_file_is_told_with_its_line(project: Project) -> None:
    python(project, GREETING, "a hello\nb\n")
    told = fails(project, ALLOW)
    assert "error: 'b' has no text" in told
    assert "fix: write NAME TEXT" in told
    assert "Dockerfile:3\n" in told and ">>> b" in told


DEFECTS = {
    "an exception": ("    return [][3]\n", "IndexError: list index out of range", 4),
    "a result that is none": ("    return 3\n", "the frontend returned 3", 0),
    "a module that isn't there": ("    import nosuchmodule\n", "No module named 'nosuchmodule'", 4),
    "the end of the program": ("    raise SystemExit('over')\n", "SystemExit: over", 4),
    "an assertion": ("    assert options.target, 'no target'\n", "AssertionError: no target", 4),
}


@pytest.mark.parametrize("what", DEFECTS)
def test_a_defect_is_told_with_the_line_of_the_frontend(project: Project, what: str) -> None:
    body, message, line = DEFECTS[what]
    python(project, f"\n\nasync def frontend(bridge, options, context):\n{body}")
    told = fails(project, ALLOW)
    assert message in told
    if line:
        assert f"\nfrontend.py:{line}\n" in told
        assert "boatyard/frontend" not in told
        assert f">>> {body.rstrip()}" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("async def frontend(bridge, options context): ...\n", "\nfrontend.py:1\n"),
        ("\n\nx = (1\n", ">>> x = (1"),
        ("def frontend(bridge, options, context): ...\n", "is no frontend"),
        ("x = 1\n", "has no 'frontend'"),
        ("import os\nos._exit(7)\n", "ended without a result: exit code: 7"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("\x00", "null bytes"),
    ],
)
def test_a_file_that_is_no_frontend(project: Project, text: str, message: str) -> None:
    python(project, text)
    assert message in fails(project, ALLOW)


def test_a_failed_step_is_told_as_one_of_a_dockerfile_is(project: Project) -> None:
    python(
        project,
        """
async def frontend(bridge, options, context):
    base = await context.image("busybox")
    at = context.file.place(2)
    from boatyard.frontend import Image
    state = base.state.run("echo a reason; exit 3", name="try it", at=at)
    if options.arguments.get("LOOK"):
        await (await bridge.solve(state)).read_file("/x")
    return Image.of(state, bridge.platform, base=base.config)
""",
        "this fails\n" + "# as long as a file may be\n" * 8000,
    )
    for arguments in ((), ("--build-arg", "LOOK=1")):
        told = fails(project, ALLOW, *arguments)
        assert "error: a step failed: try it" in told
        assert "  | a reason" in told
        assert "exit code: 3" in told
        assert ">>> this fails" in told
        assert "boat builder debug" in told


def test_a_frontend_may_try_something_and_go_on(project: Project) -> None:
    python(
        project,
        """
from boatyard.frontend import BridgeError, Image, make_file, scratch

async def frontend(bridge, options, context):
    base = await context.image("busybox")
    try:
        await (await bridge.solve(base.state.run("exit 3"))).evaluate()
    except BridgeError as error:
        said = str(error)
    made = await bridge.solve(base.state.run("mkdir /d && echo one > /d/1 && ln -s 1 /d/2"))
    entries = {entry.name: (entry.size, entry.link) for entry in await made.read_dir("/d")}
    text = (await made.read_file("/d/2")).decode() + (await made.read_file("/d/1", offset=1, length=1)).decode()
    missing = ""
    try:
        await made.stat("/nosuch")
    except BridgeError as error:
        missing = f"{error.missing}"
    return Image.of(scratch().file(make_file("/found", f"{said}|{entries}|{text}|{missing}")), bridge.platform)
""",
    )
    found = project.tree(ALLOW).text("found")
    said, entries, text, missing = found.split("|")
    assert "exit code: 3" in said
    assert entries == "{'1': (4, ''), '2': (1, '1')}"
    assert text == "one\nn"
    assert missing == "True"


SEES = """
import json, os, socket
from boatyard.frontend import Image, make_file, scratch

def tried(what):
    try:
        return str(what())
    except Exception as error:
        return type(error).__name__

async def frontend(bridge, options, context):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    seen = {
        "root": sorted(os.listdir("/")),
        "etc": sorted(os.listdir("/etc")),
        "me": os.getuid(),
        "capabilities": status["CapEff"].strip() + status["CapBnd"].strip(),
        "privileges": status["NoNewPrivs"].strip(),
        "filter": status["Seccomp"].strip(),
        "processes": [name for name in os.listdir("/proc") if name.isdigit()],
        "write": tried(lambda: open("/frontend/x", "w")),
        "usr": tried(lambda: open("/usr/x", "w")),
        "tmp": tried(lambda: open("/tmp/x", "w").write("1")),
        "network": tried(lambda: socket.create_connection(("10.0.0.1", 80), 1)),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "memory": tried(lambda: len(bytearray(3 << 30))),
        "environment": sorted(name for name in os.environ if not name.startswith("BUILDKIT_")),
        "data": tried(lambda: os.listdir("@DATA@")),
        "mount": tried(lambda: os.unshare(os.CLONE_NEWNS) if hasattr(os, "unshare") else 1 / 0),
    }
    return Image.of(scratch().file(make_file("/seen", json.dumps(seen))), bridge.platform)
"""


def test_a_frontend_sees_the_daemons_python_and_nothing_else(project: Project) -> None:
    python(project, SEES.replace("@DATA@", str(project.yard.data)))
    seen = json.loads(project.tree(ALLOW).text("seen"))
    assert set(seen["etc"]) <= {"group", "hosts", "passwd", "resolv.conf"}
    needed = {Path(path).parts[1] for path in (sys.prefix, sys.base_prefix)}
    assert not {"var", "boot", "opt", "run", "mnt"} - needed & set(seen["root"])
    assert seen["me"] == 65534
    assert seen["capabilities"].strip("0") == ""
    assert seen["privileges"] == "1" and seen["filter"] == "2"
    assert len(seen["processes"]) == 1
    assert seen["write"] == seen["usr"] == "OSError"
    assert seen["tmp"] == "1"
    assert seen["network"] in ("OSError", "TimeoutError") and seen["interfaces"] in ([], ["lo"])
    assert seen["memory"] == "MemoryError"
    assert set(seen["environment"]) <= {
        "HOME", "LANG", "LC_CTYPE", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED",
    }  # fmt: skip
    assert seen["data"] in ("FileNotFoundError", "PermissionError")
    assert seen["mount"] in ("PermissionError", "ZeroDivisionError")


def test_a_path_that_leads_out_of_the_context_is_refused(project: Project) -> None:
    python(project, GREETING)
    (project.directory / "Dockerfile").write_text("# syntax=python:../frontend.py\n")
    assert "not within the build context" in fails(project, ALLOW)
    (project.directory / "Dockerfile").write_text("# syntax=python:./nosuch.py\n")
    assert "there is no file 'nosuch.py' in the build context" in fails(project, ALLOW)
    (project.directory / "Dockerfile").write_text("# syntax=python:nosuch\n")
    assert "there is no frontend 'nosuch'" in fails(project)


def test_several_platforms_make_an_index(project: Project, tmp_path: Path) -> None:
    python(project, GREETING, "a hello\n")
    out = tmp_path / "out.tar"
    project.build(ALLOW, "--platform", "linux/amd64,linux/arm64", "-o", f"type=oci,dest={out}")
    project.yard.run("image", "load", "-i", out)
    project.build(ALLOW, "--platform", "linux/arm64", "-t", "for-arm")
    shown = project.yard.run("image", "inspect", "--format", "{{json .}}", "for-arm").stdout
    assert '"arm64"' in shown


COUNTS = """
from boatyard.frontend import Image, copy, make_file, scratch

async def frontend(bridge, options, context):
    kept = scratch().file(copy(context.files("data"), "data", "/data"))
    missing = [path for path in ("data/a", "nosuch", "d*", "x*") if not await context.has(path)]
    given = await context.named("more", paths=["m"])
    if given is not None:
        kept = kept.file(copy(given.state, "m", "/m"))
    text = (await context.read_file("data/a")).decode()
    return Image.of(kept.file(make_file("/told", f"{text}|{missing}")), bridge.platform)
"""


def test_contexts_are_those_of_dockerfiles(project: Project, served: Served, tmp_path: Path) -> None:
    files = {"Dockerfile": "# syntax=python:./tools/f.py\n", "tools/f.py": COUNTS, "data/a": "1"}
    project.write({**files, ".dockerignore": "tools\ndata/b\n", "data/b": "2"})
    more = write_files(tmp_path / "more", {"m": "3", "n": "4"})
    tree = project.tree(ALLOW, "--build-context", f"more={more}")
    assert tree.text("told") == "1|['nosuch', 'x*']"
    assert tree.below("data") == ["a"] and tree.text("m") == "3"

    repository = write_files(served.directory / "repository", files)
    commit_all(repository, "one")
    tree = project.tree(ALLOW, context=f"{served.url}/repository/.git#{git(repository, 'rev-parse', 'HEAD')}")
    assert tree.text("data/a") == "1"

    with tarfile.open(served.directory / "context.tar", "w") as archive:
        archive.add(repository / "tools", "tools")
        archive.add(repository / "data", "data")
        archive.add(repository / "Dockerfile", "Dockerfile")
    tree = project.tree(ALLOW, context=f"{served.url}/context.tar")
    assert tree.text("data/a") == "1"


def test_a_frontend_may_use_another_one(project: Project) -> None:
    python(
        project,
        """
from boatyard.frontend import State, copy, local, make_file, scratch

async def frontend(bridge, options, context):
    inner = scratch().file(make_file("/Dockerfile", "FROM made\\nCOPY --from=more /m /m\\nENV A=1\\n"))
    return await bridge.frontend(
        "dockerfile.v0",
        {"context:made": "input:made", "context:more": "input:more", "context": "input:", "filename": "Dockerfile"},
        {
            "made": scratch().file(make_file("/one", "1")),
            "more": scratch().file(make_file("/m", "2")),
            "dockerfile": inner,
            "context": inner,
        },
    )
""",
    )
    tree = project.tree(ALLOW)
    assert (tree.text("one"), tree.text("m")) == ("1", "2")
    assert "A=1" in json.dumps(project.image(ALLOW))


def test_frontends_that_call_each_other_without_end_are_stopped(project: Project) -> None:
    python(
        project,
        "async def frontend(bridge, options, context):\n    return await bridge.frontend('python.v0', options.raw)\n",
    )
    assert "frontends call each other" in fails(project, ALLOW)


def test_remarks_come_with_their_lines(project: Project) -> None:
    python(
        project,
        """
from boatyard.frontend import Image, scratch, make_file
async def frontend(bridge, options, context):
    await bridge.warn(context.file.place(2).warning("doubtful", code="Odd"), text=context.file.text)
    return Image.of(scratch().file(make_file("/a")), bridge.platform)
""",
        "a line\n",
    )
    assert "Odd: doubtful (Dockerfile:2)" in project.build(ALLOW)


PACKAGES = """\
# syntax=python:packages
arguments:
  GREETING: hello
base: busybox
files:
  - from: app
    to: /srv/app/
    mode: 0750
    owner: "7:8"
  - to: /etc/deep/er/greeting
    text: |
      ${GREETING}, $$
environment: {WHO: you}
user: "7"
directory: /srv/app
entrypoint: [/bin/cat]
command: [/etc/deep/er/greeting]
ports: [80]
"""


@pytest.fixture
def packages(project: Project) -> Project:
    return project.write({"image.yaml": PACKAGES, "app/main": "1", ".dockerignore": "ignored\n"})


FILE = ("-f", "image.yaml")


def built(project: Project, *arguments: str) -> str:
    return project.build("-f", project.directory / "image.yaml", *arguments)


def test_the_packages_frontend_is_installed_and_needs_no_leave(packages: Project) -> None:
    file = packages.directory / "image.yaml"
    assert packages.image("-f", file)["Config"]["ExposedPorts"] == {"80/tcp": {}}
    tree = packages.tree("-f", file, "--build-arg", "GREETING=welcome")
    assert tree.text("etc/deep/er/greeting") == "welcome, $\n"
    assert tree.mode("srv/app/main") == "750" and tree.owner("srv/app/main") == (7, 8)
    built(packages, "-t", "packaged", "--label", "a=b")
    assert packages.yard.run("run", "--rm", "packaged").stdout == "hello, $\n"
    config = json.loads(packages.yard.run("image", "inspect", "--format", "{{json .Config}}", "packaged").stdout)
    assert config["Labels"] == {"a": "b"}
    assert config["WorkingDir"] == "/srv/app" and config["User"] == "7"
    assert "WHO=you" in config["Env"]


def test_its_mistakes_have_lines(packages: Project) -> None:
    packages.write({"image.yaml": PACKAGES.replace("from: app", "from: nosuch")})
    told = packages.fails("-f", str(packages.directory / "image.yaml"))
    assert "there is no file 'nosuch' in the build context" in told
    assert "image.yaml:6\n" in told and told.count(">>>") == 4
    packages.write({"image.yaml": PACKAGES.replace("base: busybox", "base: nosuch")})
    told = packages.fails("-f", str(packages.directory / "image.yaml"))
    assert ">>> base: nosuch" in told and "not in the local store" in told


def test_it_is_asked_as_a_dockerfile_is(packages: Project) -> None:
    file = str(packages.directory / "image.yaml")

    def ask(*arguments: str) -> tuple[int, str]:
        done = packages.yard.run("build", *arguments, "-f", file, packages.directory, check=False)
        return done.returncode, done.stdout + done.stderr

    code, text = ask("--call=outline")
    assert code == 0 and "GREETING" in text and "hello" in text
    assert json.loads(ask("--call=targets,format=json")[1])["targets"][0]["default"] is True
    code, text = ask("--check")
    assert (code, text.strip()) == (0, "Check complete, no warnings found.")
    code, text = ask("--call=describe")
    assert code == 0 and "outline" in text and "lint" in text and "convertllb" not in text
    code, text = ask("--call=frontend.convertllb")
    assert code != 0 and "doesn't answer 'frontend.convertllb'" in text
    packages.write({"image.yaml": PACKAGES.replace("GREETING: hello", "GREETING: hello\n  UNUSED: x")})
    code, text = ask("--check")
    assert code == 1 and "UnusedArgument" in text and ">>>   UNUSED: x" in text
    packages.write({"image.yaml": PACKAGES.replace("base:", "bace:")})
    code, text = ask("--check")
    assert code == 1 and "did you mean base?" in text and ">>> bace: busybox" in text


def test_a_package_of_somebody_elses_is_a_frontend_by_its_entry_point(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip lays it out, in a directory of the daemon's own."""
    installed = tmp_path_factory.mktemp("installed")
    write_files(
        installed,
        {
            "loud_words/__init__.py": "from loud_words.building import build as shout\n",
            "loud_words/building.py": "from boatyard.frontend import Image, make_file, scratch\n"
            "async def build(bridge, options, context):\n"
            "    data = context.data.upper()\n"
            "    return Image.of(scratch().file(make_file('/said', data)), bridge.platform)\n",
            "loud_words-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: loud-words\nVersion: 1.0\n",
            "loud_words-1.0.dist-info/entry_points.txt": "[boatyard.frontends]\nloud = loud_words:shout\n",
        },
    )
    installed.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(installed))
    yard = Yard(tmp_path_factory.mktemp("extended"))
    yard.start()
    try:
        project = Project(yard, tmp_path / "made").write({"Dockerfile": "# syntax=python:loud\nhello\n"})
        assert project.tree().text("said") == "# SYNTAX=PYTHON:LOUD\nHELLO\n"
        project.write({"Dockerfile": "# syntax=python:lout\n"})
        assert "installed are: loud, packages" in project.fails()
        project.write({"Dockerfile": "# syntax=python:loud_words.building:build\nhi\n"})
        assert project.tree().text("said").endswith("HI\n")
    finally:
        assert yard.stop() == 0


@pytest.fixture
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A daemon whose configuration is careful with frontends."""
    yard = Yard(tmp_path_factory.mktemp("strict"))
    (yard.root / "boatd.toml").write_text(
        '[frontend]\npython = false\ngateway_repositories = ["docker.io/trusted/frontend"]\nquiet_timeout = "1s"\n'
    )
    yard.flags = ("--config", str(yard.root / "boatd.toml"))
    yard.start()
    yield yard
    assert yard.stop() == 0


def test_a_daemon_can_forbid_them(strict: Yard, tmp_path: Path) -> None:
    project = python(Project(strict, tmp_path / "made"), GREETING)
    told = fails(project, ALLOW)
    assert "allows no frontends in Python" in told and "frontend.python = true" in told
    assert "frontend.python = true" in fails(project, "--build-arg", "BUILDKIT_SYNTAX=python:packages")
    project.dockerfile("# syntax=other/frontend:1\n")
    told = fails(project)
    assert "doesn't let the image other/frontend:1 be a frontend" in told
    assert "docker.io/trusted/frontend" in told


def test_a_frontend_that_hangs_is_ended(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    yard = Yard(tmp_path_factory.mktemp("quiet"))
    (yard.root / "boatd.toml").write_text('[frontend]\nquiet_timeout = "2s"\n')
    yard.flags = ("--config", str(yard.root / "boatd.toml"))
    yard.start()
    try:
        hang = "import time\nasync def frontend(bridge, options, context):\n    time.sleep(98765)\n"
        project = Project(yard, tmp_path / "made").write({"Dockerfile": "", "hanging.py": hang})
        told = fails(project, "--build-arg", "BUILDKIT_SYNTAX=python:./hanging.py")
        assert "asked for nothing and said nothing for 2 s" in told, told
        assert not [name for name in os.listdir("/proc") if name.isdigit() and _is_frontend(name)]
    finally:
        assert yard.stop() == 0


def _is_frontend(pid: str) -> bool:
    try:
        return b"/frontend/hanging.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
