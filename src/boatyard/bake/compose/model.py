"""The part of a compose model that builds are about: services with `image`, `build` and `environment`, and secrets.

Files are merged, `extends` and `include` followed, texts interpolated. What belongs to running containers is not looked
at.

Specification: compose-spec, 13-merge.md, 05-services.md (extends), 14-include.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boatyard.bake.compose import dotenv, yaml
from boatyard.bake.compose.interpolation import InterpolationError, interpolate
from boatyard.bake.compose.yaml import Document, Marked, Path
from boatyard.bake.source import Source, Span, did_you_mean, nearest
from boatyard.errors import BoatyardError, DefinitionError, NotFoundError

_MAPS_OR_LISTS = ("args", "labels", "additional_contexts", "ssh", "extra_hosts", "environment")
"""May be written as a list of NAME=VALUE, and are merged by name."""
_SERVICE = ("image", "build", "environment", "env_file", "extends")

Read = Callable[[str], Source]


@dataclass(slots=True)
class Service:
    """`fields`: plain values, merged and interpolated. `errors` tells of what is wrong with one of them."""

    name: str
    fields: dict[str, Any]
    document: Document

    def error(self, path: Path, message: str, *, hint: str | None = None) -> DefinitionError:
        return self.document.error(("services", self.name, *path), message, hint=hint)

    @property
    def span(self) -> Span:
        return self.document.places.get(("services", self.name)) or self.document.source.span(0, 1)


@dataclass(slots=True)
class Model:
    services: dict[str, Service] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    unset: set[str] = field(default_factory=set)
    """Variables without value or default."""


def looks_like(document: Document) -> bool:
    """Whether it is a compose file: a mapping with services, or with what else one may have at its top."""
    known = ("services", "secrets", "include")
    return isinstance(document.value, dict) and any(name in document.value for name in known)


def load(sources: Sequence[Source], environment: Mapping[str, str], read: Read) -> Model:
    """Later files go before earlier ones. `read` gives another file that one of them names, by its path."""
    loader = _Loader(environment, read)
    for source in sources:
        loader.file(yaml.parse(source), "", ())
    return loader.model


class _Loader:
    def __init__(self, environment: Mapping[str, str], read: Read) -> None:
        self._environment = environment
        self._read = read
        self.model = Model()

    def file(self, document: Document, directory: str, including: tuple[str, ...]) -> None:
        root = document.value
        if not isinstance(root, dict):
            raise document.error((), "a compose file is a mapping with services in it")
        self._includes(document, directory, (*including, document.source.name))
        services = _mapping(document, ("services",), _plain(root.get("services")))
        for name, fields in services.items():
            fields = self._service(
                document, name, _mapping(document, ("services", name), _plain(fields)), directory, ()
            )
            earlier = self.model.services.get(name)
            merged = fields if earlier is None else _merged(earlier.fields, fields, ())
            self.model.services[name] = Service(name, _bare(merged), document)
        for name, fields in _mapping(document, ("secrets",), _plain(root.get("secrets"))).items():
            path = ("secrets", name)
            found = self._interpolated(document, path, _mapping(document, path, _plain(fields)))
            if isinstance(found.get("file"), str):
                found["file"] = _rebased(found["file"], directory)
            self.model.secrets[name] = _bare({**self.model.secrets.get(name, {}), **found})

    def _includes(self, document: Document, directory: str, including: tuple[str, ...]) -> None:
        given = document.value.get("include") or []
        for index, entry in enumerate(given if isinstance(given, list) else [given]):
            place: Path = ("include", index)
            paths = entry.get("path") if isinstance(entry, dict) else entry
            for path in paths if isinstance(paths, list) else [paths]:
                if not isinstance(path, str):
                    raise document.error(place, "include names files")
                path = _rebased(self._text(document, place, path), directory)
                if path in including:
                    raise document.error(place, f"files include each other in a circle: {path}")
                inner = self._other(document, place, path)
                base = entry.get("project_directory") if isinstance(entry, dict) else None
                self.file(inner, _rebased(str(base), directory) if base else os.path.dirname(path), including)

    def _other(self, document: Document, place: Path, path: str) -> Document:
        try:
            return yaml.parse(self._read(path))
        except DefinitionError:
            raise
        except BoatyardError as error:
            raise document.error(place, error.message, hint=error.hint) from None

    def _service(
        self, document: Document, name: str, fields: dict[str, Any], directory: str, path: tuple[tuple[str, str], ...]
    ) -> dict[str, Any]:
        """Interpolated, with what it extends below it, paths relative to the project."""
        place: Path = ("services", name)
        self._check_typing(document, place, fields)
        known = {key: fields[key] for key in _SERVICE if key in fields}
        known = self._interpolated(document, place, known)
        known = _normal(document, place, known)
        if "environment" in known or "env_file" in known:
            known["environment"] = self._variables(document, place, known, directory)
        _rebase(known, directory)
        extends = _plain(known.pop("extends", None))
        if extends is None:
            return known
        base = {"service": extends} if isinstance(extends, str) else extends
        if not isinstance(base, dict) or not isinstance(base.get("service"), str):
            raise document.error((*place, "extends"), "extends names a service", hint="write extends: {service: NAME}")
        inner, inside = document, directory
        if file := base.get("file"):
            file = _rebased(str(file), directory)
            inner, inside = self._other(document, (*place, "extends"), file), os.path.dirname(file)
        step = (inner.source.name, base["service"])
        if step in path or step == (document.source.name, name):
            circle = " -> ".join([service for _, service in path[path.index(step) :]] if step in path else [name])
            raise document.error((*place, "extends"), f"services extend each other in a circle: {circle} -> {step[1]}")
        services = _mapping(inner, ("services",), _plain(inner.value.get("services")))
        if base["service"] not in services:
            hint = did_you_mean(base["service"], services)
            raise document.error((*place, "extends"), f"there is no service {base['service']!r} to extend", hint=hint)
        whole = _mapping(inner, ("services", base["service"]), _plain(services[base["service"]]))
        below = self._service(inner, base["service"], whole, inside, (*path, step))
        whole = _merged(below, known, ())
        assert isinstance(whole, dict)
        return whole

    def _check_typing(self, document: Document, place: Path, fields: dict[str, Any]) -> None:
        """Most of a service is not looked at; but one that would be built, were it not for a slip, is told."""
        if not any(key in fields for key in ("image", "build", "extends", "provider")):
            for key in fields:
                if nearest(str(key), ("image", "build")):
                    hint = did_you_mean(str(key), ("image", "build"))
                    raise document.error(
                        (*place, key), f"the service {place[-1]!r} has neither build nor image", hint=hint
                    )

    def _variables(self, document: Document, place: Path, fields: dict[str, Any], directory: str) -> dict[str, Any]:
        """The environment of a service: that of its files, and over it its own."""
        given = fields.pop("env_file", None)
        found: dict[str, Any] = {}
        for entry in given if isinstance(given, list) else [given] if given is not None else []:
            path = entry.get("path") if isinstance(entry, dict) else entry
            if not isinstance(path, str):
                raise document.error((*place, "env_file"), "env_file names files")
            try:
                source = self._read(_rebased(path, directory))
            except NotFoundError as error:
                if isinstance(entry, dict) and entry.get("required") is False:
                    continue
                raise document.error((*place, "env_file"), error.message) from None
            found.update(dotenv.parse(source, self._environment))
        return {**found, **(fields.get("environment") or {})}

    def _interpolated(self, document: Document, place: Path, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._interpolated(document, (*place, key), each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._interpolated(document, (*place, index), each) for index, each in enumerate(value)]
        if isinstance(value, Marked):
            return Marked(value.tag, self._interpolated(document, place, value.value))
        return self._text(document, place, value) if isinstance(value, str) else value

    def _text(self, document: Document, place: Path, text: str) -> str:
        if "$" not in text:
            return text
        try:
            return interpolate(text, self._environment, self.model.unset.add)
        except InterpolationError as error:
            raise document.error(place, str(error)) from None


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Marked) else value


def _mapping(document: Document, path: Path, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise document.error(path, f"{path[-1]} is a mapping")
    return value


# -- one form for all ways to write something ------------------------------------------------------------------------


def _normal(document: Document, place: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """`build` is a mapping, and what may be a list of NAME=VALUE one, too."""
    found = dict(fields)
    build = found.get("build")
    if isinstance(build, str):
        found["build"] = {"context": build}
    elif build is None and "build" in found:
        found["build"] = {}
    elif isinstance(build, dict):
        found["build"] = {
            key: _named(document, (*place, "build", key), key, value) if key in _MAPS_OR_LISTS else value
            for key, value in build.items()
        }
    elif build is not None and not isinstance(build, Marked):
        raise document.error((*place, "build"), "build is a path or a mapping")
    if "environment" in found:
        found["environment"] = _named(document, (*place, "environment"), "environment", found["environment"])
    return found


def _named(document: Document, place: Path, name: str, value: Any) -> Any:
    if value is None or isinstance(value, Marked):
        return value
    if isinstance(value, dict):
        return dict(value)
    if not isinstance(value, list):
        raise document.error(place, f"{name} is a mapping or a list")
    found: dict[str, Any] = {}
    for index, each in enumerate(value):
        if not isinstance(each, str | int | float) or isinstance(each, bool):
            raise document.error((*place, index), f"{name} has an entry that is no text")
        text = str(each)
        key, equals, rest = text.partition("=")
        if not equals and name == "extra_hosts":
            key, equals, rest = text.partition(":")
        if name == "extra_hosts" and key in found:
            rest = f"{found[key]},{rest}"
        found[key] = rest if equals else None
    return found


def _rebase(fields: dict[str, Any], directory: str) -> None:
    build = fields.get("build")
    if not isinstance(build, dict):
        return
    if isinstance(build.get("context"), str):
        build["context"] = _rebased(build["context"], directory)
    elif directory:
        build.setdefault("context", directory)
    contexts = build.get("additional_contexts")
    if isinstance(contexts, dict):
        for name, value in contexts.items():
            if isinstance(value, str):
                contexts[name] = _rebased(value, directory)


def _rebased(path: str, directory: str) -> str:
    """A path relative to the project; what is no path of this machine stays."""
    scheme = path.partition(":")[0]
    if (
        not path
        or "://" in path
        or scheme in ("service", "target", "docker-image", "oci-layout")
        or path.startswith("git@")
    ):
        return path
    if path.startswith("~"):
        return path
    return os.path.normpath(os.path.join(directory, path))


# -- merging ---------------------------------------------------------------------------------------------------------


def _merged(below: Any, above: Any, path: Path) -> Any:
    """Mappings by key, lists one after the other, else what is above."""
    if isinstance(above, Marked):
        return None if above.tag == "!reset" else above.value
    if isinstance(below, Marked):
        below = below.value
    if isinstance(below, dict) and isinstance(above, dict):
        found = dict(below)
        for key, value in above.items():
            if isinstance(value, Marked) and value.tag == "!reset":
                found.pop(key, None)
            else:
                found[key] = _merged(found[key], value, (*path, key)) if key in found else _bare(value)
        return found
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *(each for each in above if each not in below)]
    return below if above is None else above


def _bare(value: Any) -> Any:
    """Without marks: nothing is below that they could change."""
    if isinstance(value, Marked):
        return None if value.tag == "!reset" else _bare(value.value)
    if isinstance(value, dict):
        return {
            key: _bare(each) for key, each in value.items() if not (isinstance(each, Marked) and each.tag == "!reset")
        }
    return [_bare(each) for each in value] if isinstance(value, list) else value
