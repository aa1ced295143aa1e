"""COPY against a naive model of it: random trees, random options, the same outcome."""

from __future__ import annotations

import fnmatch
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boatyard.errors import BoatyardError
from fixtures.filework import Workshop

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("private_mounts")]


@dataclass(frozen=True)
class Thing:
    """`kind` is "d", "f" or "l"; `text` is a file's content or a link's target."""

    kind: str
    text: str = ""
    mode: int = 0o755


Model = dict[str, Thing]
"""By path; "" is the root."""


class RefusedError(Exception):
    pass


def lookup(model: Model, path: str) -> Thing | None:
    return model.get(path)


def resolve(model: Model, path: str, follow: bool = True) -> str:
    todo = [part for part in path.split("/") if part and part != "."]
    real: list[str] = []
    for _ in range(10_000):
        if not todo:
            return "/".join(real)
        part = todo.pop(0)
        if part == "..":
            real = real[:-1]
            continue
        real.append(part)
        thing = model.get("/".join(real))
        if thing is not None and thing.kind == "l" and (todo or follow):
            real.pop()
            if thing.text.startswith("/"):
                real = []
            todo = [part for part in thing.text.split("/") if part and part != "."] + todo
    raise RefusedError("loop")


def children(model: Model, path: str) -> list[str]:
    inside = path + "/" if path else ""
    return sorted(each for each in model if each and each.startswith(inside) and "/" not in each[len(inside) :])


def remove(model: Model, path: str) -> None:
    for each in [each for each in model if each == path or each.startswith(path + "/")]:
        del model[each]


def make_directories(model: Model, path: str, mode: int) -> None:
    parts = path.split("/") if path else []
    for depth in range(1, len(parts) + 1):
        thing = model.setdefault("/".join(parts[:depth]), Thing("d", mode=mode))
        if thing.kind != "d":
            raise RefusedError("not a directory")


@dataclass(frozen=True)
class Options:
    src: str
    dest: str
    follow_symlink: bool
    dir_copy_contents: bool
    mode: int
    exclude_patterns: tuple[str, ...]
    always_replace_existing: bool

    def copy(self, source: Model, target: Model) -> None:
        for match in self.sources(source):
            found = resolve(source, match, self.follow_symlink)
            if found not in source:
                raise RefusedError("not found")
            if source[found].kind != "d" and self.excluded(os.path.basename(match)):
                continue
            perm = self.mode if self.mode != -1 else 0o755
            above = self.dest if self.dest.endswith("/") else os.path.dirname(self.dest)
            make_directories(target, resolve(target, above), perm)
            place = resolve(target, self.dest)
            thing, there = source[found], target.get(place)
            contents = thing.kind == "d" and self.dir_copy_contents
            if there is not None and not contents and (thing.kind == "d" or there.kind == "d"):
                name = os.path.basename(match)
                place = f"{place}/{name}".strip("/") if name else place
                there = target.get(place)
            make_directories(target, place if contents and there is None else os.path.dirname(place), perm)
            self.put(source, found, target, place, found, top=True)

    def sources(self, source: Model) -> list[str]:
        if "*" not in self.src:
            return [os.path.normpath(self.src).strip("/").removeprefix(".")]
        above, name = os.path.split(self.src.strip("/"))
        directory = resolve(source, above, self.follow_symlink)
        if source.get(directory) is None:
            raise RefusedError("not found")
        return [each for each in children(source, directory) if fnmatch.fnmatchcase(os.path.basename(each), name)]

    def excluded(self, path: str) -> bool:
        return any(path == pattern or path.startswith(pattern + "/") for pattern in self.exclude_patterns)

    def put(self, source: Model, found: str, target: Model, place: str, start: str, *, top: bool) -> None:
        relative = found[len(start) :].strip("/")
        if relative and self.excluded(relative):
            return
        thing, there = source[found], target.get(place)
        mode = thing.mode if self.mode == -1 or thing.kind == "l" else self.mode
        if self.always_replace_existing and there is not None and (thing.kind, there.kind) != ("d", "d"):
            remove(target, place)
            there = None
        if thing.kind == "d":
            if there is not None and there.kind != "d":
                raise RefusedError("not a directory")
            if there is None or not top:
                target[place] = Thing("d", mode=mode)
            for child in children(source, found):
                name = os.path.basename(child)
                self.put(source, child, target, f"{place}/{name}".strip("/"), start, top=False)
            return
        if there is not None and there.kind == "d":
            raise RefusedError("a directory")
        target[place] = Thing(thing.kind, thing.text, mode)


NAMES = ["a", "b", "d", "d/a", "d/c", "d/e", "d/e/a", "l", "d/l", "b/a"]
THINGS = st.one_of(
    st.builds(Thing, st.just("f"), st.sampled_from(["1", "22", "333"]), st.sampled_from([0o644, 0o755, 0o4711])),
    st.builds(Thing, st.just("d"), st.just(""), st.sampled_from([0o755, 0o711])),
    st.builds(Thing, st.just("l"), st.sampled_from(["a", "d", "/d/e", "..", "../a", "l", "none", "/"]), st.just(0o777)),
)
OPTIONS = st.builds(
    Options,
    src=st.sampled_from(["/", "a", "d", "d/", "b", "l", "d/e", "*", "d/*", "l/*", "none", "d/../a"]),
    dest=st.sampled_from(["/", "/a", "/d", "/d/", "/d/e/x", "/l", "/l/", "/l/x", "/new", "/new/", "/n/e/w/"]),
    follow_symlink=st.booleans(),
    dir_copy_contents=st.booleans(),
    mode=st.sampled_from([-1, -1, 0o700]),
    exclude_patterns=st.sampled_from([(), (), ("a",), ("e", "l"), ("e/a",)]),
    always_replace_existing=st.booleans(),
)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """A tree in which everything is in a directory."""
    model: Model = {"": Thing("d")}
    for path, thing in sorted(draw(st.dictionaries(st.sampled_from(NAMES), THINGS)).items()):
        above = os.path.dirname(path)
        make = [part for part in above.split("/") if part]
        if all(model.get("/".join(make[:depth]), Thing("d")).kind == "d" for depth in range(1, len(make) + 1)):
            make_directories(model, above, 0o755)
            model[path] = thing
    return model


def build(root: Path, model: Model) -> None:
    for path, thing in sorted(model.items()):
        if thing.kind == "l":
            (root / path).symlink_to(thing.text)
        elif thing.kind == "f":
            (root / path).write_text(thing.text)
            (root / path).chmod(thing.mode)
        elif path:
            (root / path).mkdir()
            (root / path).chmod(thing.mode)


def read(root: Path) -> Model:
    model = {"": Thing("d")}
    for above, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = Path(above, name)
            status = path.lstat()
            kind = "l" if path.is_symlink() else "d" if path.is_dir() else "f"
            text = os.readlink(path) if kind == "l" else path.read_text() if kind == "f" else ""
            model[str(path.relative_to(root))] = Thing(kind, text, stat.S_IMODE(status.st_mode))
    return model


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("model"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(models(), st.lists(models(), min_size=1, max_size=2), OPTIONS, st.booleans())
async def test_copying_does_what_the_model_does(
    workshop: Workshop, context: Model, bases: list[Model], options: Options, from_layer: bool
) -> None:
    layers = [workshop.layers({}) for _ in bases]
    for layer, base in zip(layers, bases, strict=True):
        build(workshop.store.directories(layer.layers)[0], base)
    base = type(layers[0])(tuple(layer.layers[0] for layer in layers), workshop.store)
    async with base.tree() as tree:
        expected = read(tree)
    given_model = context
    if from_layer:
        source = workshop.layers({})
        build(workshop.store.directories(source.layers)[0], context)
    else:
        workshop.context = workshop.root / f"context{os.urandom(4).hex()}"
        workshop.context.mkdir()
        build(workshop.context, context)
        source = await workshop.local()
    refused = None
    try:
        options.copy(given_model, expected)
    except RefusedError as error:
        refused = error
    settings_of_copy = {name: getattr(options, name) for name in options.__dataclass_fields__}
    try:
        result = await workshop.copy(source, base, **settings_of_copy)
    except BoatyardError as error:
        assert refused is not None, f"it refused: {error}"
        return
    assert refused is None, f"it should have refused: {refused}"
    async with result.tree() as tree:
        assert read(tree) == expected
