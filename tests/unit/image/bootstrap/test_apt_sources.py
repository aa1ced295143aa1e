"""The host's apt sources, read from both of apt's formats."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import NotFoundError
from boatyard.image.bootstrap.debian import recipe
from boatyard.image.bootstrap.sources import AptSource, for_suite, host_sources
from boatyard.image.platform import Platform
from boatyard.image.reference import parse

ONE_LINE = {
    "deb http://h/debian bookworm main": [AptSource("http://h/debian", "bookworm", ("main",))],
    "deb\thttp://h/debian\tbookworm  main  contrib # why": [
        AptSource("http://h/debian", "bookworm", ("main", "contrib"))
    ],
    "deb [arch=amd64 signed-by=/k.gpg] http://h s main": [AptSource("http://h", "s", ("main",), "/k.gpg")],
    "deb http://h ./": [AptSource("http://h", "./", ())],
    "deb-src http://h s main": [],
    "# deb http://h s main": [],
    "deb http://h": [],
    "debby http://h s": [],
    "": [],
}
DEB822 = {
    "Types: deb\nURIs: http://h\nSuites: a a-updates\nComponents: main contrib\nSigned-By: /k.gpg\n": [
        AptSource("http://h", "a", ("main", "contrib"), "/k.gpg"),
        AptSource("http://h", "a-updates", ("main", "contrib"), "/k.gpg"),
    ],
    "types: deb deb-src\nuris: http://h\n http://i\nsuites: a\ncomponents: main\n": [
        AptSource("http://h", "a", ("main",)),
        AptSource("http://i", "a", ("main",)),
    ],
    "Types: deb-src\nURIs: http://h\nSuites: a\nComponents: main\n": [],
    "Enabled: no\nTypes: deb\nURIs: http://h\nSuites: a\nComponents: main\n": [],
    "# c\nTypes: deb\n# c\nURIs: http://h\nSuites: a\nComponents: main\n\n\nTypes: deb\nURIs: http://j\nSuites: b\n": [
        AptSource("http://h", "a", ("main",)),
        AptSource("http://j", "b", ()),
    ],
    "Types: deb\nURIs: http://h\nSuites: a\nComponents: main\nSigned-By:\n -----BEGIN PGP-----\n .\n abc\n": [
        AptSource("http://h", "a", ("main",))
    ],
    "Types: deb\r\nURIs: http://h\r\nSuites: a\r\nComponents: main\r\n\r\nTypes: deb\r\nURIs: http://i\r\nSuites: b": [
        AptSource("http://h", "a", ("main",)),
        AptSource("http://i", "b", ()),
    ],
    "no field\n: nothing\n": [],
}


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text('NAME="x"\nVERSION_CODENAME=bookworm\n')
    return tmp_path


@pytest.mark.parametrize("text", ONE_LINE)
def test_one_line_sources(etc: Path, text: str) -> None:
    (etc / "apt/sources.list").write_text(text + "\n")
    assert host_sources(etc) == ONE_LINE[text]


@pytest.mark.parametrize("text", DEB822)
def test_deb822_sources(etc: Path, text: str) -> None:
    (etc / "apt/sources.list.d/debian.sources").write_text(text)
    assert host_sources(etc) == DEB822[text]


def test_other_files_are_not_read(etc: Path) -> None:
    (etc / "apt/sources.list.d/old.list.save").write_text("deb http://h s main\n")
    (etc / "apt/sources.list.d/a.list").write_text("deb http://a s main\n")
    (etc / "apt/sources.list.d/sub").mkdir()
    assert [source.uri for source in host_sources(etc)] == ["http://a"]


def test_sources_are_turned_to_another_suite(etc: Path) -> None:
    (etc / "apt/sources.list").write_text(
        "deb [signed-by=/k.gpg] http://h bookworm main\ndeb http://h bookworm-updates main\n"
        "deb http://s bookworm-security main\ndeb http://third.test stable main\n"
    )
    assert [source.line() for source in for_suite("bookworm", etc)] == [
        "deb [signed-by=/k.gpg] http://h bookworm main",
        "deb http://h bookworm-updates main",
        "deb http://s bookworm-security main",
    ]
    assert [source.line() for source in for_suite("trixie", etc)] == [
        "deb http://h trixie main",
        "deb http://h trixie-updates main",
        "deb http://s trixie-security main",
    ]
    assert [source.line() for source in for_suite("sid", etc)] == ["deb http://h sid main"]


def test_a_host_without_sources_needs_a_mirror(etc: Path) -> None:
    with pytest.raises(NotFoundError) as raised:
        for_suite("bookworm", etc)
    assert "--mirror" in (raised.value.hint or "")


@given(st.text(max_size=300), st.sampled_from(["x.list", "x.sources"]))
def test_any_text_is_read(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    etc = tmp_path_factory.mktemp("etc")
    (etc / "apt/sources.list.d").mkdir(parents=True)
    (etc / "apt/sources.list.d" / name).write_text(text.encode("utf-8", "replace").decode())
    assert all(source.line().startswith("deb ") for source in host_sources(etc))


NAMES = {
    "debian:bookworm-slim": ("bookworm", True),
    "debian:12": ("bookworm", False),
    "debian:13-slim": ("trixie", True),
    "debian": ("stable", False),
    "debian:sid": ("sid", False),
}


@pytest.mark.parametrize("name", NAMES)
def test_tags_name_suites(name: str) -> None:
    made = recipe(parse(name), Platform(os="linux", architecture="amd64"))
    assert (made.suite, made.slim) == NAMES[name]
