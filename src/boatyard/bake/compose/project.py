"""A compose project: its files, its environment, and the targets they come to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from boatyard.bake import location
from boatyard.bake.compose import dotenv, model, services, yaml
from boatyard.bake.definition import Definition
from boatyard.bake.loading import bases
from boatyard.bake.source import Source, decode
from boatyard.errors import DefinitionError, DeniedError, NotFoundError


def is_compose(source: Source) -> bool:
    try:
        return model.looks_like(yaml.parse(source))
    except DefinitionError:
        return False


def read(
    sources: Sequence[Source],
    directory: str,
    environment: Mapping[str, str],
    variables: Mapping[str, str],
    *,
    relative: bool,
) -> tuple[Definition, tuple[str, ...]]:
    """With the variables that the files use, and that nobody has set. `variables` go before the environment;
    `relative`: contexts are relative to the first file's directory."""
    whole = {**_with_file(directory, environment), **variables}
    project = model.load(sources, whole, lambda path: _other(path, directory))
    definition = services.definition(project, whole)
    if relative:
        base = location.directory(sources[0].name)
        targets = {name: bases.based(target, base, base) for name, target in definition.targets.items()}
        definition = replace(definition, targets=targets)
    return definition, tuple(sorted(project.unset))


def _with_file(directory: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, and what `.env` beside the project has more."""
    path = os.path.join(directory, ".env")
    if not os.path.isfile(path):
        return dict(environment)
    try:
        with open(path, "rb") as file:
            source = decode(".env", file.read())
    except OSError as error:
        raise DeniedError(f"can't read {path}: {error.strerror}") from error
    return {**dotenv.parse(source, environment), **environment}


def _other(path: str, directory: str) -> Source:
    try:
        with open(os.path.join(directory, path), "rb") as file:
            return decode(path, file.read())
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path!r}") from error
    except OSError as error:
        raise DeniedError(f"can't read {path!r}: {error.strerror}") from error
