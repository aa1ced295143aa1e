"""Read the files of a definition into one: which are compose files, which are bake files, and how they come together.

Specification: docker/buildx, bake/bake.go (ParseFiles): compose files come first, whatever their place in the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from boatyard.bake.definition import Definition
from boatyard.bake.entries import TRUTHS
from boatyard.bake.functions.table import Surroundings
from boatyard.bake.hcl.tree import File
from boatyard.bake.loading import loader
from boatyard.bake.source import Source

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
        from boatyard.bake.compose import project  # YAML takes some milliseconds

        before, unset = project.read(
            composed, outside.directory, outside.visible, outside.variables, relative=outside.relative
        )
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
    from boatyard.bake.compose import project

    # What is neither is HCL, most likely; if it isn't, HCL's error is the one that is told.
    return None if project.is_compose(source) else loader.parse_native(source)
