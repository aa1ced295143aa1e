"""Where a registry server of this machine keeps what it has, for commands that serve it or look into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from boatyard.cli.console import Console
from boatyard.errors import NotFoundError

if TYPE_CHECKING:
    from boatyard.registry.server.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])


def root_option(function: F) -> F:
    return click.option("--root", metavar="DIR", default="", help="The registry's directory.")(function)


def root_of(console: Console, given: str) -> str:
    """Beside boatd's, unless another one is named."""
    from boatyard.client.places import places

    return given or os.path.join(os.path.dirname(places(console.environment, os.geteuid()).root), "boatyard-registry")


@contextmanager
def opened(console: Console, given: str, objects: str = "") -> Iterator[Registry]:
    """The registry itself, beside the server that may be running on it. NotFoundError."""
    from boatyard.registry.server.registry import open_registry
    from boatyard.registry.server.settings import Settings

    root = root_of(console, given)
    if not os.path.isdir(root):
        raise NotFoundError(f"there is no registry in {root}", hint="name its directory: --root DIR")
    registry = open_registry(Settings(root=root, objects=objects))
    try:
        yield registry
    finally:
        registry.close()
