"""The packages frontend: reading its document, and what it says of mistakes in it."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import FrontendError
from boatyard.frontend.packages.recipe import Recipe, read
from boatyard.frontend.packages.remarks import remarks
from boatyard.frontend.place import SourceFile

WHOLE = """\
    # syntax=python:packages
    arguments:
      VERSION: "3.0"
      HOME: /srv/app
    base: debian:bookworm-slim
    apt: [ca-certificates, "libc6:amd64=2.36*"]
    pip:
      - flask==${VERSION}
      - requests[socks]>=2
    files:
      - from: app
        to: ${HOME}
        owner: app:app
        mode: u=rwX,go=rX
      - to: /etc/motd
        text: |
          costs 5$$
        mode: 0640
    environment:
      PORT: 8080
      DEBUG: true
    user: {name: app, id: 1000, home: "${HOME}"}
    directory: ${HOME}
    entrypoint: [python3, -m]
    command: [app]
    ports: [8080, 53/udp]
    volumes: /data
    labels: {org.example.team: boats}
    """


def of(text: str, **arguments: str) -> Recipe:
    return read(SourceFile("image.yaml", dedent(text)), arguments)


def test_a_whole_document() -> None:
    recipe = of(WHOLE, VERSION="3.1")
    assert recipe.base.value == "debian:bookworm-slim"
    assert [each.value for each in recipe.apt] == ["ca-certificates", "libc6:amd64=2.36*"]
    assert [each.value for each in recipe.pip] == ["flask==3.1", "requests[socks]>=2"]
    app, motd = recipe.files
    assert (app.path, app.to, app.owner, app.mode) == ("app", "/srv/app", "app:app", "u=rwX,go=rX")
    assert (motd.text, motd.to, motd.mode) == ("costs 5$\n", "/etc/motd", "0640")
    assert (app.at.start, app.at.end) == (11, 14)
    assert (motd.at.start, motd.at.end) == (15, 18)
    assert recipe.environment == {"PORT": "8080", "DEBUG": "true"}
    assert recipe.user is not None
    assert (recipe.user.name, recipe.user.id, recipe.user.home) == ("app", 1000, "/srv/app")
    assert recipe.entrypoint == ("python3", "-m") and recipe.command == ("app",)
    assert recipe.ports == ("8080", "53/udp") and recipe.volumes == ("/data",)
    assert recipe.labels == {"org.example.team": "boats"}
    assert recipe.used == {"VERSION", "HOME"}


MISTAKES = {
    "a key that is none": ("base: x\napts: [a]\n", 2, "no key 'apts' (did you mean apt?)"),
    "a key of a file": ("base: x\nfiles:\n  - form: a\n    to: /a\n", 3, "no key 'form' (did you mean from?)"),
    "no base": ("apt: [a]\n", 1, "no base"),
    "a key twice": ("base: x\nbase: y\n", 2, "given twice"),
    "a mapping for a list": ("base: x\napt: {a: b}\n", 2, "apt is a mapping, and has to be a list"),
    "a list for a text": ("base: [x]\n", 1, "base is a list, and has to be a text"),
    "nothing": ("base:\n", 1, "base is nothing"),
    "a package that can't be": ("base: x\napt:\n  - curl\n  - 'b; rm -rf /'\n", 4, "no Debian package"),
    "an option for a package": ("base: x\npip: ['--index-url=http://x']\n", 2, "no Python package"),
    "an unknown argument": ("arguments: {NAME: a}\nbase: x:${NAEM}\n", 2, "no argument 'NAEM' (did you mean NAME?)"),
    "an open reference": ("base: 'x${'\n", 1, "not closed"),
    "a relative target": ("base: x\nfiles:\n  - {from: a, to: b}\n", 3, "not an absolute path"),
    "neither source": ("base: x\nfiles:\n  - {to: /b}\n", 3, "either `from`"),
    "both sources": ("base: x\nfiles:\n  - {to: /b, from: a, text: b}\n", 3, "either `from`"),
    "no target": ("base: x\nfiles:\n  - {from: a}\n", 3, "no `to`"),
    "text for a directory": ("base: x\nfiles:\n  - {to: /b/, text: a}\n", 3, "is a directory"),
    "a mode": ("base: x\nfiles:\n  - from: a\n    to: /b\n    mode: rwx\n", 5, "invalid mode"),
    "a change of no mode": ("base: x\nfiles:\n  - text: a\n    to: /b\n    mode: u+x\n", 5, "has none yet"),
    "a user's number": ("base: x\nuser: {name: a, id: -1}\n", 2, "no user ID"),
    "a user's name": ("base: x\nuser: {name: A B}\n", 2, "can't be the name of a user"),
    "a variable": ("base: x\nenvironment: {A-B: c}\n", 2, "can't be the name of a variable"),
    "a port": ("base: x\nports: [http]\n", 2, "no port"),
    "no YAML": ("base: x\n  apt: [\n", 2, "no YAML"),
    "a tab": ("base: x\napt:\n\t- a\n", 3, "no YAML"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_told_with_its_line(what: str) -> None:
    text, line, reason = MISTAKES[what]
    with pytest.raises(FrontendError) as caught:
        of(text)
    assert reason in str(caught.value)
    assert caught.value.source is not None
    assert caught.value.source.start == line
    assert caught.value.source.filename == "image.yaml"


def test_an_empty_or_huge_document_says_so() -> None:
    with pytest.raises(FrontendError, match="is empty"):
        of("# nothing\n")
    with pytest.raises(FrontendError, match="larger than"):
        of("base: x\n" + "#" * (1 << 20))


def test_anchors_work_and_can_not_be_abused() -> None:
    recipe = of("base: x\napt: &names [a1, b1]\npip: *names\n")
    assert [each.value for each in recipe.pip] == ["a1", "b1"]
    with pytest.raises(FrontendError):
        of("base: x\napt: &a [*a]\n")
    layers = "".join(f"  - &l{n} [{', '.join([f'*l{n - 1}'] * 9) if n else 'x'}]\n" for n in range(12))
    with pytest.raises(FrontendError, match="no key"):
        of(f"base: x\nbomb:\n{layers}")


def test_what_is_doubtful_is_a_remark_with_its_line() -> None:
    recipe = of("arguments: {A: '1', B: '2'}\nbase: x:${A}\napt:\n  - one\n  - one\npip:\n  - flask\n  - a==1\n")
    assert [(each.code, each.range.start) for each in remarks(recipe) if each.range] == [
        ("DuplicatePackage", 5),
        ("UnpinnedPackage", 7),
        ("UnusedArgument", 1),
    ]


@given(st.text())
def test_any_text_is_a_recipe_or_a_told_mistake(text: str) -> None:
    try:
        of(text)
    except FrontendError as error:
        assert str(error)


_value = st.recursive(
    st.text("ab$ {}[]:-\n", max_size=8) | st.none() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["base", "apt", "pip", "files", "user", "ports", "arguments", "labels"]), _value)
)
def test_any_document_is_a_recipe_or_a_told_mistake(document: dict[str, object]) -> None:
    import json

    try:
        of(json.dumps(document))
    except FrontendError as error:
        assert error.source is not None
