"""What somebody may do: actions on repositories, as the token protocol writes them. Pure.

Specification: distribution, "Token Scope Documentation".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from boatyard.errors import InvalidError
from boatyard.registry.server.route import is_name

ACTIONS = ("pull", "push", "delete")
_SCOPE = re.compile(r"([a-z]+)(?:\([a-z0-9]+\))?:([^: ]{1,300}):([a-z*,]{1,100})")
_PATTERN = re.compile(r"[a-z0-9*?._/-]{1,255}")


@dataclass(frozen=True, slots=True)
class Grant:
    """`pattern`: of repositories' names, in which `*` is anything (slashes, too) and `?` any one character."""

    pattern: str
    actions: frozenset[str]

    def __str__(self) -> str:
        return f"{self.pattern}={','.join(action for action in ACTIONS if action in self.actions)}"


EVERYTHING = (Grant("*", frozenset(ACTIONS)),)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is asked for, or gives: `type` is repository or registry."""

    type: str
    name: str
    actions: tuple[str, ...]


def parse_grant(text: str) -> Grant:
    """`PATTERN=ACTION,...`; a pattern alone grants pulling. InvalidError."""
    pattern, separator, actions = text.partition("=")
    wanted = frozenset(actions.split(",")) if separator else frozenset(("pull",))
    if not _PATTERN.fullmatch(pattern) or not wanted <= frozenset(ACTIONS):
        raise InvalidError(
            f"{text!r} grants nothing that there is",
            hint="write PATTERN=pull,push,delete, such as 'team/*=pull,push'",
        )
    return Grant(pattern, wanted)


def parse_scopes(texts: Iterable[str]) -> list[Scope]:
    """Of requests for tokens: those that make sense, in which several are divided by spaces."""
    found = []
    for text in texts:
        for each in text.split():
            match = _SCOPE.fullmatch(each)
            if match and (match[1] == "registry" or (match[1] == "repository" and is_name(match[2]))):
                found.append(Scope(match[1], match[2], tuple(dict.fromkeys(match[3].split(",")))))
    return found[:50]


def allowed(grants: Sequence[Grant], name: str) -> frozenset[str]:
    """Actions on a repository."""
    found: frozenset[str] = frozenset()
    for grant in grants:
        if fnmatchcase(name, grant.pattern):
            found |= grant.actions
    return found


def narrowed(scopes: Iterable[Scope], *limits: Sequence[Grant]) -> list[Scope]:
    """What is left of the scopes that were asked for when all of these limits hold. The list of all repositories is for
    those who may pull all of them."""
    found = []
    for scope in scopes:
        if scope.type == "registry":
            everywhere = all("pull" in allowed(grants, "*") for grants in limits)
            if scope.name == "catalog" and everywhere:
                found.append(Scope("registry", "catalog", ("*",)))
            continue
        wanted = ACTIONS if "*" in scope.actions else scope.actions
        actions = tuple(action for action in wanted if all(action in allowed(grants, scope.name) for grants in limits))
        if actions:
            found.append(Scope("repository", scope.name, actions))
    return found
