"""What of the client needs no daemon: errors as documents, addresses, and what it costs to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from boatyard import errors
from boatyard.client.documents.envelope import ErrorDocument
from boatyard.client.endpoint import UnixEndpoint
from boatyard.client.failure import describe, restore
from boatyard.client.places import find_daemon, places, read_card


def every_error() -> list[errors.BoatyardError]:
    source = errors.SourceExcerpt("Dockerfile", "FROM x\nRUN y\n", 2, 2)
    found: list[errors.BoatyardError] = []
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.BoatyardError):
            if kind is errors.ExitError:
                found.append(kind("m", exit_code=3, hint="h", source=source))
            elif kind is errors.ExecutableError:
                found.append(kind("m", exit_code=126, hint="h"))
            elif kind is errors.SolveError:
                found.append(kind("m", vertex="sha256:a", vertex_name="n", hint="h", source=source))
            elif issubclass(kind, errors.BuildError):
                found.append(kind("m", hint="h", source=source))
            else:
                found.append(kind("m", hint="h"))
    return found


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_was(error: errors.BoatyardError) -> None:
    error.__cause__ = errors.InvalidError("reason")
    restored = restore(describe(error))
    assert type(restored) is type(error)
    assert vars(restored) == vars(error)
    assert str(restored.__cause__) == "reason"


def test_an_unknown_kind_of_error_is_still_an_error_of_ours() -> None:
    assert type(restore(ErrorDocument(kind="FutureError", message="m"))) is errors.BoatyardError
    assert type(restore(ErrorDocument(kind="dataclass", message="m"))) is errors.BoatyardError


def test_a_cycle_of_causes_ends() -> None:
    error = errors.InvalidError("a")
    error.__cause__ = error
    assert restore(describe(error)).message == "a"


def test_root_lives_in_the_systems_directories() -> None:
    found = places({}, 0)
    assert (found.root, found.socket) == ("/var/lib/boatyard", "/run/boatyard/boatd.sock")


def test_others_live_in_their_own_directories() -> None:
    found = places({"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/7"}, 7)
    assert found.root == "/h/.local/share/boatyard"
    assert found.run == "/run/user/7/boatyard"
    assert found.config == "/h/.config/boatyard/boatd.toml"
    assert places({"HOME": "/h"}, 7).run == "/h/.local/share/boatyard/run"


def test_the_environment_moves_them() -> None:
    found = places({"BOATD_ROOT": "/a", "BOATD_RUN": "/b"}, 0)
    assert (found.root, found.run) == ("/a", "/b")


def test_a_daemon_is_started_only_where_nobody_chose_an_address() -> None:
    assert find_daemon(None, {"BOATD_RUN": "/b"}, 0) == (UnixEndpoint("/b/boatd.sock"), True)
    assert find_daemon("unix:///x", {"BOAT_HOST": "unix:///y"}, 0) == (UnixEndpoint("/x"), False)
    assert find_daemon(None, {"BOAT_HOST": "unix:///y"}, 0) == (UnixEndpoint("/y"), False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_a_damaged_card_is_no_card(tmp_path: Path, content: str) -> None:
    (tmp_path / "boatd.json").write_text(content)
    assert read_card(str(tmp_path / "boatd.sock")) is None


def test_the_synchronous_client_loads_little() -> None:
    code = (
        "import sys, msgspec, socket; before = set(sys.modules)\n"
        "import boatyard.client.sync, boatyard.client.calls.builds\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "asyncio",
        "http",
        "ssl",
        "email",
        "json",
        "logging",
        "subprocess",
        "pathlib",
        "urllib",
        "starlette",
        "h11",
    }
    assert not heavy & {name.partition(".")[0] for name in loaded}
    assert len(loaded) < 40
