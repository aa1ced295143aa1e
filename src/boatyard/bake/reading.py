"""Read the files of a definition into one: which are compose files, which are bake files, and how they come together.

Specification: docker/buildx, bake/bake.go (ParseFiles): compose files come first, whatever their place in the order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from boatyard.bake import location
from boatyard.bake.compose import dotenv, services, yaml
from boatyard.bake.compose import model as compose
from boatyard.bake.definition import Definition
from boatyard.bake.entries import TRUTHS
from boatyard.bake.functions.table import Surroundings
from boatyard.bake.hcl.tree import File
from boatyard.bake.loading import bases, loader
from boatyard.bake.source import Source, decode
from boatyard.errors import DefinitionError, DeniedError, NotFoundError

_YAML = (".yml", ".yaml")


@dataclass(frozen=True, slots=True)
class Outside:
    """What a definition is told from outside. `variables` are those of --var, and go before the environment's;
    `builtin` are bake's own; relative paths are from `directory`."""

    directory: str
    environment: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    builtin: Mapping[str, str] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)

    @property
    def visible(self) -> Mapping[str, str]:
        """The environment, unless BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP hides it."""
        hidden = TRUTHS.get(self.environment.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", ""), False)
        return {} if hidden else self.environment

    @property
    def relative(self) -> bool:
        """Whether contexts are relative to the files that say them, not to the working directory."""
        return TRUTHS.get(self.environment.get("BUILDX_BAKE_FILE_RELATIVE_PATHS", "").strip(), False)

    def lookup(self, name: str) -> str | None:
        found = self.variables.get(name)
        return self.visible.get(name) if found is None else found


@dataclass(frozen=True, slots=True)
class Read:
    """`unset`: variables that compose files use, and that nobody has set."""

    definition: Definition
    unset: tuple[str, ...] = ()


def read(sources: Sequence[Source], outside: Outside) -> Read:
    composed: list[Source] = []
    files: list[File] = []
    for source in sources:
        file = _bake_file(source)
        if file is None:
            composed.append(source)
        else:
            files.append(file)
    before = Definition()
    unset: tuple[str, ...] = ()
    if composed:
        environment = _compose_environment(outside)
        model = compose.load(composed, environment, lambda path: _other(path, outside.directory))
        before = services.definition(model, environment)
        if outside.relative:
            before = _based(before, location.directory(composed[0].name))
        unset = tuple(sorted(model.unset))
    if not files:
        return Read(before, unset)
    found = loader.load(
        files,
        builtin=outside.builtin,
        lookup=outside.lookup,
        surroundings=outside.surroundings,
        before=before,
        relative=outside.relative,
    )
    return Read(found, unset)


def _based(definition: Definition, base: str | None) -> Definition:
    """With the contexts of compose files, whose directory is that of the first of them."""
    targets = {name: bases.based(target, base, base) for name, target in definition.targets.items()}
    return replace(definition, targets=targets)


def _bake_file(source: Source) -> File | None:
    """None for a compose file. Names tell; where they don't, the text does."""
    name = source.name.lower()
    if name.endswith(_YAML):
        return None
    if name.endswith(".json"):
        return loader.parse_json(source)
    if name.endswith(".hcl"):
        return loader.parse_native(source)
    if source.text.lstrip().startswith("{"):
        return loader.parse_json(source)
    try:
        if compose.looks_like(yaml.parse(source)):
            return None
    except DefinitionError:
        pass  # HCL, most likely; if not, HCL's error is the one that is told
    return loader.parse_native(source)


def _compose_environment(outside: Outside) -> dict[str, str]:
    """The environment, what `.env` beside the project has more, and over both --var."""
    environment = dict(outside.visible)
    path = os.path.join(outside.directory, ".env")
    if os.path.isfile(path):
        try:
            with open(path, "rb") as file:
                source = decode(".env", file.read())
        except OSError as error:
            raise DeniedError(f"can't read {path}: {error.strerror}") from error
        environment = {**dotenv.parse(source, environment), **environment}
    return {**environment, **outside.variables}


def _other(path: str, directory: str) -> Source:
    try:
        with open(os.path.join(directory, path), "rb") as file:
            return decode(path, file.read())
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path!r}") from error
    except OSError as error:
        raise DeniedError(f"can't read {path!r}: {error.strerror}") from error
