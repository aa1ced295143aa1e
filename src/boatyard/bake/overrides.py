"""`--set PATTERN.KEY[.NAME]=VALUE`: attributes of targets, set from the command line.

Specification: docker/buildx, docs/reference/buildx_bake.md ("--set").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from boatyard.bake.definition import Definition, Target, changed
from boatyard.bake.entries import TRUTHS, Agent, Attestation, Cache, E, EntryError, Output, Policy, Secret, unique
from boatyard.bake.loading.schema import RESOURCES
from boatyard.bake.source import did_you_mean
from boatyard.errors import InvalidError, NotFoundError

_TEXTS = {"context": "context", "dockerfile": "dockerfile", "target": "target", "call": "call", "network": "network"}
_TEXTS |= {"shm-size": "shm_size"}
_MAPS = {"args": "args", "contexts": "contexts", "labels": "labels", "extra-hosts": "extra_hosts"}
_MAPS |= {"resources": "resources"}
_LISTS = {"tags": "tags", "platform": "platforms", "no-cache-filter": "no_cache_filter", "ulimits": "ulimits"}
_ADDED = {"entitlements": "entitlements", "annotations": "annotations"}
_TRUTHS = {"no-cache": "no_cache", "pull": "pull"}
_PUSHES = ("push", "load")
_ENTRIES = ("cache-from", "cache-to", "secrets", "ssh", "output", "attest", "policy")
KEYS = (*_TEXTS, *_MAPS, *_LISTS, *_ADDED, *_TRUTHS, *_PUSHES, *_ENTRIES, "secret")
APPENDABLE = (*_LISTS, *_ADDED, *_ENTRIES)


@dataclass(slots=True)
class Override:
    """What is set of one attribute of one target; `values` of all flags that do."""

    key: str
    name: str
    values: list[str]
    append: bool = False


Overrides = Mapping[str, Sequence[Override]]
"""By target."""


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    """`*`, `?`, `[a-z]`, `[^a-z]`, a backslash before what means itself (Go's path.Match)."""
    done, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        if character in "*?":
            done += "[^/]*" if character == "*" else "[^/]"
        elif character == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            done += f"[{inside}]"
            at = end
        else:
            at += character == "\\"
            done += re.escape(pattern[at : at + 1])
        at += 1
    try:
        return re.compile(done)
    except re.error as error:
        raise InvalidError(f"the pattern {pattern!r} is malformed: {error}") from None


def matches(pattern: str, names: Iterable[str]) -> list[str]:
    expression = _glob(pattern)
    return [name for name in names if expression.fullmatch(name)]


def is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[]")


def parse(given: Sequence[str], definition: Definition, lookup: Callable[[str], str | None]) -> Overrides:
    """`lookup`: the environment's value for an argument without one. InvalidError and NotFoundError say which flag."""
    found: dict[str, dict[tuple[str, str], Override]] = {}
    for text in given:
        path, equals, value = text.partition("=")
        append = path.endswith("+")
        pattern, _, rest = path.removesuffix("+").partition(".")
        key, _, name = rest.partition(".")
        _check(text, key, name, bool(equals), append)
        if not equals:
            variable = lookup(name)
            if variable is None:
                continue
            value = variable
        for target in _targets(pattern, definition):
            earlier = found.setdefault(target, {}).setdefault((key, name), Override(key, name, []))
            earlier.append = append
            earlier.values.append(value)
    return {target: tuple(each.values()) for target, each in found.items()}


def _check(text: str, key: str, name: str, valued: bool, append: bool) -> None:
    if not key:
        raise InvalidError(f"--set {text!r} is malformed", hint="write it as --set TARGET.KEY=VALUE")
    if key not in KEYS:
        raise InvalidError(
            f"--set: there is no key {key!r}",
            hint=did_you_mean(key, KEYS, otherwise=f"there are: {', '.join(sorted(KEYS))}"),
        )
    if (key in _MAPS or key == "secret") and not name:
        raise InvalidError(f"--set {text!r}: {key} needs a name", hint=f"write it as --set TARGET.{key}.NAME=VALUE")
    if name and key not in _MAPS and key != "secret":
        raise InvalidError(f"--set {text!r}: {key} has no parts", hint=f"write it as --set TARGET.{key}=VALUE")
    if not valued and key != "args":
        raise InvalidError(f"--set {text!r} has no value", hint=f"write it as --set TARGET.{key}=VALUE")
    if append and key not in APPENDABLE:
        raise InvalidError(f"--set {text!r}: {key} can't be added to", hint="write = instead of +=")


def _targets(pattern: str, definition: Definition) -> list[str]:
    if pattern in definition.targets:
        return [pattern]
    names = matches(pattern, definition.targets)
    if not names:
        raise NotFoundError(
            f"--set: there is no target that matches {pattern!r}", hint=did_you_mean(pattern, definition.targets)
        )
    return names


def apply(target: Target, overrides: Sequence[Override]) -> Target:
    """Sources of secrets that are declared are replaced last."""
    for override in sorted(overrides, key=lambda each: each.key == "secret"):
        try:
            target = _applied(target, override)
        except EntryError as error:
            raise InvalidError(f"--set {target.name}.{override.key}: {error}", hint=error.hint) from None
    return target


def _applied(target: Target, override: Override) -> Target:
    key, value = override.key, override.values[-1]
    if key in _TEXTS:
        return changed(target, **{_TEXTS[key]: value})
    if key in _MAPS:
        if key == "resources" and override.name not in RESOURCES:
            raise EntryError(f"there is no resource {override.name!r}", f"there are: {', '.join(RESOURCES)}")
        before = getattr(target, _MAPS[key]) or {}
        return changed(target, **{_MAPS[key]: {**before, override.name: value}})
    if key in _LISTS or key in _ADDED:
        attribute = {**_LISTS, **_ADDED}[key]
        before = (getattr(target, attribute) or ()) if override.append or key in _ADDED else ()
        return changed(target, **{attribute: (*before, *override.values)})
    if key in _TRUTHS:
        return changed(target, **{_TRUTHS[key]: _truth(key, value)})
    if key == "push":
        return replace(target, output=pushed(target.output or (), _truth(key, value)))
    if key == "load":
        return replace(target, output=loaded(target.output or ()) if _truth(key, value) else target.output)
    if key == "secret":
        return replace(target, secret=_with_source(target.secret or (), override.name, value))
    return _with_entries(target, override)


def _truth(key: str, value: str) -> bool:
    if value not in TRUTHS:
        raise EntryError(f"{value!r} is neither true nor false")
    return TRUTHS[value]


def _with_entries(target: Target, override: Override) -> Target:
    match override.key:
        case "cache-from":
            return replace(target, cache_from=_entries(Cache, target.cache_from, override))
        case "cache-to":
            return replace(target, cache_to=_entries(Cache, target.cache_to, override))
        case "secrets":
            return replace(target, secret=_entries(Secret, target.secret, override))
        case "ssh":
            return replace(target, ssh=_entries(Agent, target.ssh, override))
        case "output":
            return replace(target, output=_entries(Output, target.output, override))
        case "policy":
            return replace(target, policy=_entries(Policy, target.policy, override))
        case _:
            return replace(target, attest=_entries(Attestation, target.attest, override, always=True))


def _entries(kind: type[E], before: tuple[E, ...] | None, override: Override, *, always: bool = False) -> tuple[E, ...]:
    given: list[E] = []
    for text in override.values:
        given.extend(kind.parse(text) if text else ())
    if before and (override.append or always):
        return unique(before + tuple(given))
    return unique(given)


def _with_source(secrets: tuple[Secret, ...], id: str, text: str) -> tuple[Secret, ...]:
    if not any(each.id == id for each in secrets):
        raise EntryError(f"the target has no secret {id!r}", did_you_mean(id, [each.id for each in secrets]))
    (given,) = Secret.parse(text)
    if given.id not in ("", id):
        raise EntryError(f"the id {given.id!r} is not that of the secret {id!r}")
    return tuple(replace(given, id=id) if each.id == id else each for each in secrets)


def pushed(outputs: tuple[Output, ...], push: bool) -> tuple[Output, ...]:
    """Images are pushed, or not; where nothing would be, and only images for Docker are made, one more is."""
    changed = tuple(
        replace(each, attrs={**each.attrs, "push": "true" if push else "false"}) if each.type == "image" else each
        for each in outputs
        if push or each.type != "registry"
    )
    if push and all(each.type == "docker" for each in outputs):
        return (*changed, Output("image", "", {"push": "true"}))
    return changed


def loaded(outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    """One more image for the store, unless there is one, or the result is no image."""
    if any(each.type == "docker" and not each.dest for each in outputs):
        return outputs
    if any(each.type not in ("docker", "image", "registry", "oci") for each in outputs):
        return outputs
    return (*outputs, Output("docker"))
