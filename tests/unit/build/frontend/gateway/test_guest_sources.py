"""What names a guest: images and what they say of themselves, files and packages of Python; what a Python sees."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from boatyard.build.frontend.base import FrontendRequest
from boatyard.build.frontend.gateway import image, sandbox
from boatyard.build.frontend.gateway.image import FrontendImage
from boatyard.build.frontend.gateway.python import PythonSource, parse
from boatyard.errors import DeniedError, InvalidError, UnsupportedError
from boatyard.image.spec import RunConfig
from unit.build.frontend.dockerfile.converting import Yard


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("./frontend.py", PythonSource("/frontend/frontend.py", "frontend.py")),
        ("tools/maker.py:make", PythonSource("/frontend/tools/maker.py:make", "tools/maker.py")),
        (".//a/./b.py", PythonSource("/frontend/a/b.py", "a/b.py")),
        ("packages", PythonSource("packages")),
        ("boatyard.frontend.packages:frontend", PythonSource("boatyard.frontend.packages:frontend")),
    ],
)
def test_sources_in_python(source: str, found: PythonSource) -> None:
    assert parse(source) == found


@pytest.mark.parametrize(
    "source", ["", "../f.py", "/etc/f.py", "a/../../f.py", "a b", "-m", "x:", "./f", "a/b", "f.py;x"]
)
def test_sources_that_can_not_be(source: str) -> None:
    with pytest.raises(InvalidError):
        parse(source)


def test_only_images_of_named_repositories() -> None:
    image.check_allowed("anything/at-all:1", ())
    image.check_allowed("trusted/frontend:2", ("docker.io/trusted/frontend",))
    with pytest.raises(DeniedError, match="other/frontend") as raised:
        image.check_allowed("other/frontend", ("trusted/frontend", "registry.example/x"))
    assert "registry.example/x" in str(raised.value.hint)


def test_what_an_image_says_it_can() -> None:
    labels = {image.CAPS: "moby.buildkit.frontend.subrequests, moby.buildkit.frontend.contexts"}
    found = FrontendImage("f", None, RunConfig(labels=labels))
    image.check_capabilities(found, FrontendRequest({"frontend.caps": "moby.buildkit.frontend.contexts+forward"}))
    with pytest.raises(UnsupportedError, match=r"frontend\.inputs"):
        image.check_capabilities(found, FrontendRequest({}, {"made": None}))
    with pytest.raises(UnsupportedError, match="teleport"):
        image.check_capabilities(found, FrontendRequest({"frontend.caps": "teleport"}))
    assert found.needs_network
    assert not FrontendImage("f", None, RunConfig(labels={image.NO_NETWORK: "true"})).needs_network


def test_an_image_is_found_by_name_or_by_a_context_of_that_name() -> None:
    bridge = Yard(images={"docker.io/example/frontend:2": {"config": {"Entrypoint": ["/f"], "Env": ["A=1"]}}})
    found = asyncio.run(image.find(bridge, FrontendRequest({}), "example/frontend:2"))  # type: ignore[arg-type]
    assert found.config.entrypoint == ("/f",)
    assert found.edge is not None and "example/frontend:2@sha256:" in found.edge.vertex.op.identifier  # type: ignore[union-attr]
    options = {"context:example/frontend:2": "docker-image://other"}
    found = asyncio.run(image.find(bridge, FrontendRequest(options), "example/frontend:2"))  # type: ignore[arg-type]
    assert "library/other" in found.edge.vertex.op.identifier  # type: ignore[union-attr]
    with pytest.raises(InvalidError, match="names no frontend"):
        asyncio.run(image.find(bridge, FrontendRequest({}), "UPPER/CASE"))  # type: ignore[arg-type]


def test_options_reach_an_image_one_by_one() -> None:
    found = FrontendImage("f", None, RunConfig(env=("A=1",)))
    assert image.environment(found, {"target": "t", "build-arg:X": "a=b"}, {"BUILDKIT_SESSION_ID": "s"}) == (
        "A=1",
        "BUILDKIT_FRONTEND_OPT_0=target=t",
        "BUILDKIT_FRONTEND_OPT_1=build-arg:X=a=b",
        "BUILDKIT_SESSION_ID=s",
    )


def test_paths_beneath_others_are_left_out() -> None:
    assert sandbox.outermost(["/usr", "/usr/lib/x", "/opt/a", "/opt/ab", "/opt/a/", "/opt/a/b"]) == (
        "/opt/a",
        "/opt/ab",
        "/usr",
    )


def test_the_places_of_this_python(tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    found = sandbox.find(environ={"PYTHONPATH": str(tmp_path / "extra"), "SECRET": "x"})
    assert found.interpreter == sys.executable
    covered = [path for path in found.paths if sys.executable.startswith(path + "/")]
    assert covered
    assert str(tmp_path / "extra") in found.paths and found.search == (str(tmp_path / "extra"),)
    assert "/" not in found.paths and str(Path.cwd()) not in found.paths
    assert all(mount.readonly and str(mount.source) == mount.target for mount in found.mounts())


def test_a_python_that_others_can_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    with pytest.raises(UnsupportedError, match=str(secret)) as raised:
        sandbox.find(environ={"PYTHONPATH": str(secret)})
    assert "chmod" in str(raised.value.hint)
    with pytest.raises(UnsupportedError, match="can't be asked"):
        sandbox.find("/nonexistent/python")


def test_the_root_has_the_systems_links(tmp_path: Path) -> None:
    sandbox.furnish(tmp_path)
    for path in sandbox.LINKED:
        outside = Path(path)
        assert (tmp_path / path[1:]).is_symlink() == outside.is_symlink()
    assert "65534" in (tmp_path / "etc/passwd").read_text()
