"""Where a frontend's code is: a Python file, a module, an entry point of an installed package."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable

from boatyard.errors import InvalidError, NotFoundError

GROUP = "boatyard.frontends"
"""The entry points that are frontends, by name."""

ATTRIBUTE = "frontend"
"""What a file or a module calls its frontend, unless told."""


def finder(text: str) -> Callable[[], object]:
    """`PATH.py`, `MODULE` or `NAME` of an entry point, each with `:ATTRIBUTE` behind it where it isn't `frontend`.
    Nothing is imported before the finder is called."""
    where, _, attribute = text.partition(":")
    if where.endswith(".py") or "/" in where:
        return lambda: _attribute(_load(where), attribute or ATTRIBUTE, where)
    return lambda: _named(where, attribute)


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Of the packages that are installed here."""
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def _named(name: str, attribute: str) -> object:
    points = entry_points()
    if name in points and not attribute:
        return points[name].load()
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # the module is there, and misses another one
        known = ", ".join(sorted(points)) or "none"
        raise NotFoundError(f"there is no frontend {name!r} in Python here", hint=f"installed are: {known}") from error
    return _attribute(module, attribute or ATTRIBUTE, name)


def _load(path: str) -> object:
    path = os.path.abspath(path)
    spec = importlib.util.spec_from_file_location("__frontend__", path)
    if spec is None or spec.loader is None or not os.path.exists(path):
        raise NotFoundError(f"there is no frontend at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _attribute(module: object, name: str, where: str) -> object:
    try:
        return getattr(module, name)
    except AttributeError:
        raise InvalidError(
            f"{where} has no {name!r}", hint=f"write `async def {name}(bridge, options, context)` in it"
        ) from None
