"""What a request asks of a frontend, read from its options.

Specification: BuildKit's frontend attributes (reference/builder.md 5.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from boatyard.build.frontend.dockerfile import options as dockerfile
from boatyard.image.platform import Platform

PREFIX = "BUILDKIT_FRONTEND_OPT_"


@dataclass(frozen=True, slots=True)
class Options:
    """`arguments` are the request's build arguments. `platforms` is empty when none is asked for: then it is the
    builder's own. `question` names a subrequest (`frontend.lint`), "" is a build. `raw` has everything as it came."""

    filename: str = ""
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[Platform, ...] = ()
    multi_platform: bool = False
    no_cache: bool = False
    resolve_mode: str = "default"
    question: str = ""
    raw: Mapping[str, str] = field(default_factory=dict)


def parse(raw: Mapping[str, str]) -> Options:
    """InvalidError names the option whose value makes no sense."""
    read = dockerfile.parse(raw)
    return Options(
        filename=raw.get("filename", ""),
        target=read.target,
        arguments=read.arguments,
        labels=read.labels,
        platforms=read.platforms,
        multi_platform=read.multi_platform,
        no_cache=read.no_cache is not None,
        resolve_mode=read.resolve_mode,
        question=raw.get("requestid", ""),
        raw=dict(raw),
    )


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The options that a builder put into the environment: `BUILDKIT_FRONTEND_OPT_0=name=value`, in any order."""
    found = {}
    for variable, text in environ.items():
        if variable.startswith(PREFIX):
            name, _, value = text.partition("=")
            found[name] = value
    return found


def to_environment(raw: Mapping[str, str]) -> dict[str, str]:
    """The reverse."""
    return {f"{PREFIX}{number}": f"{name}={value}" for number, (name, value) in enumerate(raw.items())}
