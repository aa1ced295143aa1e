"""The parser directives at the head of a Dockerfile: `# syntax=`, `# escape=`, `# check=`.

Specification: the Dockerfile reference, "Parser directives".
"""

from __future__ import annotations

from dataclasses import dataclass

from boatyard.build.frontend.dockerfile.ast import Range


@dataclass(frozen=True, slots=True)
class Directive:
    name: str
    value: str
    range: Range


@dataclass(frozen=True, slots=True)
class Directives:
    """What the head of the file asks for. `syntax` and `check` are None when they aren't there."""

    syntax: Directive | None = None
    check: Directive | None = None
    escape: str = "\\"
