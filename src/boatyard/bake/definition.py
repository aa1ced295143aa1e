"""A build definition: targets and groups, as the files say them. None is "not said"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from boatyard.bake.entries import Agent, Attestation, Cache, Output, Policy, Secret, unique
from boatyard.bake.source import Span

NAME = re.compile(r"[a-zA-Z0-9_-]+")
DEFAULT = "default"
LINK = "target:"
"""What a named context begins with that is another target's result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One build. Field names are the attributes', with _ for -; `span`: where its block begins."""

    name: str
    description: str = ""
    inherits: tuple[str, ...] = ()
    annotations: tuple[str, ...] | None = None
    attest: tuple[Attestation, ...] | None = None
    context: str | None = None
    contexts: Mapping[str, str] | None = None
    dockerfile: str | None = None
    dockerfile_inline: str | None = None
    args: Mapping[str, str | None] | None = None
    labels: Mapping[str, str | None] | None = None
    tags: tuple[str, ...] | None = None
    cache_from: tuple[Cache, ...] | None = None
    cache_to: tuple[Cache, ...] | None = None
    target: str | None = None
    secret: tuple[Secret, ...] | None = None
    ssh: tuple[Agent, ...] | None = None
    platforms: tuple[str, ...] | None = None
    output: tuple[Output, ...] | None = None
    pull: bool | None = None
    no_cache: bool | None = None
    network: str | None = None
    no_cache_filter: tuple[str, ...] | None = None
    shm_size: str | None = None
    ulimits: tuple[str, ...] | None = None
    resources: Mapping[str, str] | None = None
    call: str | None = None
    entitlements: tuple[str, ...] | None = None
    extra_hosts: Mapping[str, str | None] | None = None
    policy: tuple[Policy, ...] | None = None
    base: str | None = None
    """Where the context is when nothing is said of it; None is the working directory."""
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    name: str
    targets: tuple[str, ...] = ()
    description: str = ""
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """`type` "" when it has none, `value` None for null."""

    name: str
    type: str = ""
    value: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """All of it, in the order in which it was read."""

    targets: Mapping[str, Target] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    variables: tuple[Variable, ...] = ()


def changed(target: Target, /, **changes: Any) -> Target:
    """`replace`, for attributes whose names are known at run time only."""
    return replace(target, **changes)


MERGED_MAPS = ("args", "labels", "extra_hosts", "contexts", "resources")
APPENDED = ("annotations", "policy", "no_cache_filter", "ulimits", "entitlements")
APPENDED_ONCE = ("attest", "secret", "ssh", "cache_from")


def merge(target: Target, other: Target) -> Target:
    """What `other` says goes before what `target` says; some attributes add to each other instead. The name stays."""
    changes: dict[str, Any] = {}
    for each in fields(Target):
        mine, theirs = getattr(target, each.name), getattr(other, each.name)
        if each.name in ("name", "span") or theirs is None or theirs == "":
            continue
        if each.name == "inherits":
            changes["inherits"] = (*mine, *theirs)
        elif each.name in MERGED_MAPS:
            changes[each.name] = {**(mine or {}), **{key: value for key, value in theirs.items() if value is not None}}
        elif each.name in APPENDED:
            changes[each.name] = (*(mine or ()), *theirs)
        elif each.name in APPENDED_ONCE:
            changes[each.name] = unique((*(mine or ()), *theirs))
        else:
            changes[each.name] = theirs
    # An empty text is something said, in all but the description.
    changes.update(
        {
            name: getattr(other, name)
            for name in ("context", "dockerfile", "dockerfile_inline", "target", "network", "shm_size", "call")
            if getattr(other, name) == ""
        }
    )
    return changed(target, **changes)
