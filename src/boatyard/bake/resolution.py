"""From a definition and what is asked for to the targets that are built: groups opened, inheritance done, overrides
applied, links followed.

Specification: docker/buildx, bake/bake.go (ReadTargets).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from boatyard.bake import overrides as overriding
from boatyard.bake.definition import DEFAULT, LINK, Definition, Group, Target, merge
from boatyard.bake.entries import Output, unique
from boatyard.bake.location import below
from boatyard.bake.overrides import Overrides
from boatyard.bake.source import did_you_mean
from boatyard.errors import BoatyardError, InvalidError, NotFoundError

_DEFAULT_CONTEXT = "."
_DEFAULT_DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class Resolved:
    """`targets`: everything that is needed, complete; `asked`: those that are asked for, in order. The others are only
    linked to."""

    targets: Mapping[str, Target]
    groups: Mapping[str, Group]
    asked: tuple[str, ...]


def resolve(definition: Definition, names: Sequence[str], overrides: Overrides) -> Resolved:
    """`names` may have patterns; without any it is the default. DefinitionError, InvalidError or NotFoundError."""
    wanted = _wanted(definition, names or (DEFAULT,))
    resolver = _Resolver(definition, overrides)
    asked: list[str] = []
    groups: dict[str, Group] = {}
    for name in wanted:
        targets, opened = _opened(definition, name, {})
        asked += targets
        groups.update({each: definition.groups[each] for each in opened})
    asked = list(dict.fromkeys(asked))
    for name in asked:
        resolver.targets[name] = resolver.complete(name, None)
    for name in asked:
        resolver.link(name, ())
    return Resolved(resolver.targets, _with_default(groups, wanted), tuple(asked))


def sanitized(name: str) -> str:
    """A service of a compose file may have a dot in its name, a target may not."""
    return name.replace(".", "_")


def _wanted(definition: Definition, names: Sequence[str]) -> list[str]:
    found: list[str] = []
    known = (*definition.groups, *definition.targets)
    for name in map(sanitized, names):
        if not overriding.is_pattern(name):
            found.append(name)
            continue
        matching = overriding.matches(name, known)
        if not matching:
            raise NotFoundError(f"there is no target that matches {name!r}")
        found += matching
    return list(dict.fromkeys(found))


def _opened(
    definition: Definition, name: str, seen: dict[str, tuple[list[str], list[str]]]
) -> tuple[list[str], list[str]]:
    """The targets of a group, and the groups in it; a group that is in itself stands for the target of its name."""
    if name in seen:
        return seen[name]
    group = definition.groups.get(name)
    if group is None:
        return [name], []
    seen[name] = [], []
    targets: list[str] = []
    groups = [name]
    for each in group.targets:
        inner, opened = _opened(definition, each, seen)
        targets += inner or [each]
        groups += opened
    seen[name] = list(dict.fromkeys(targets)), list(dict.fromkeys(groups))
    return seen[name]


def _with_default(groups: Mapping[str, Group], wanted: Sequence[str]) -> dict[str, Group]:
    """The default group has what is asked for. A target `default` is in it only when it comes first."""
    default = groups.get(DEFAULT)
    for name in wanted:
        if default is None:
            default = Group(name=DEFAULT, targets=(name,))
        elif name != DEFAULT:
            default = replace(default, targets=(*default.targets, name))
    if default is None:
        return dict(groups)
    return {**groups, DEFAULT: replace(default, targets=tuple(sorted(dict.fromkeys(default.targets))))}


@dataclass(slots=True)
class _Resolver:
    definition: Definition
    overrides: Overrides
    targets: dict[str, Target] = field(default_factory=dict)
    _inherited: dict[str, Target] = field(default_factory=dict)

    def complete(self, name: str, asker: Target | None) -> Target:
        target = self._whole(name, asker, ())
        return replace(
            target,
            inherits=(),
            context=below(target.base, _DEFAULT_CONTEXT) if target.context is None else target.context,
            dockerfile=target.dockerfile or _DEFAULT_DOCKERFILE,
        )

    def _whole(self, name: str, asker: Target | None, path: tuple[str, ...]) -> Target:
        """With all it inherits, and its overrides."""
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise self._wrong(self.definition.targets[name], f"targets inherit from each other in a circle: {circle}")
        if name not in self._inherited:
            own = self.definition.targets.get(name)
            if own is None:
                raise self._unknown(name, asker)
            target = Target(name=name, span=own.span)
            for parent in own.inherits:
                target = merge(target, self._whole(parent, own, (*path, name)))
            target = overriding.apply(merge(target, own), self.overrides.get(name, ()))
            self._inherited[name] = _normal(target)
        return self._inherited[name]

    def link(self, name: str, path: tuple[str, ...]) -> None:
        """Resolve what a target is linked to. What those need to be allowed, it needs, too."""
        path = (*path, name)
        target = self.targets[name]
        for context in (target.contexts or {}).values():
            if not context.startswith(LINK):
                continue
            linked = context.removeprefix(LINK)
            if linked in path:
                circle = " -> ".join((*path[path.index(linked) :], linked))
                raise self._wrong(target, f"targets are linked to each other in a circle: {circle}")
            if linked not in self.targets:
                self.targets[linked] = replace(self.complete(linked, target), output=(Output("cacheonly"),))
            self.link(linked, path)
            other = self.targets[linked]
            needed = tuple(dict.fromkeys((*(target.entitlements or ()), *(other.entitlements or ()))))
            target = replace(target, entitlements=needed or None)
            self.targets[name] = target
            self._check_platforms(target, other)

    def _check_platforms(self, target: Target, linked: Target) -> None:
        mine, theirs = target.platforms or (), linked.platforms or ()
        if len(mine) > 1 and len(theirs) > 1 and not set(mine) <= set(theirs):
            missing = ", ".join(platform for platform in mine if platform not in theirs)
            raise self._wrong(
                target, f"target {target.name} can't be built on {linked.name}, which isn't built for {missing}"
            )

    def _unknown(self, name: str, asker: Target | None) -> BoatyardError:
        known = self.definition.targets
        hint = did_you_mean(name, (*known, *self.definition.groups))
        group = self.definition.groups.get(name)
        if group is not None:
            hint = f"there is a group {name!r}, but a target is wanted"
        if asker is not None:
            return self._wrong(asker, f"target {asker.name} refers to a target {name!r} that isn't there", hint)
        if group is not None and group.span is not None:
            return group.span.error(f"the group {name!r} contains itself, and there is no target of its name")
        holders = [each for each in self.definition.groups.values() if name in each.targets]
        if holders and holders[0].span is not None:
            holder = holders[0]
            assert holder.span is not None
            return holder.span.error(f"group {holder.name} has a target {name!r} that isn't there", hint=hint)
        if name == DEFAULT and known:
            listed = ", ".join(sorted((*self.definition.groups, *known))[:12])
            return NotFoundError("there is no default target or group", hint=f"name what to build: {listed}")
        if not known and not self.definition.groups:
            return NotFoundError("the definition has no targets")
        return NotFoundError(f"there is no target {name!r}", hint=hint or "`boat bake --list=targets` lists them")

    def _wrong(self, target: Target, message: str, hint: str | None = None) -> BoatyardError:
        if target.span is None:
            return InvalidError(message, hint=hint)
        return target.span.error(message, hint=hint)


def _normal(target: Target) -> Target:
    """Without what is there twice, or says nothing."""
    contexts = {name: value for name, value in (target.contexts or {}).items() if value}
    needed = ("network.host",) if target.network == "host" else ()
    return replace(
        target,
        annotations=_distinct(target.annotations),
        attest=unique(target.attest or ()) or None,
        tags=_distinct(target.tags),
        secret=unique(target.secret or ()) or None,
        ssh=unique(target.ssh or ()) or None,
        platforms=_distinct(target.platforms),
        cache_from=unique(target.cache_from or ()) or None,
        cache_to=unique(target.cache_to or ()) or None,
        output=unique(target.output or ()) or None,
        no_cache_filter=_distinct(target.no_cache_filter),
        ulimits=_distinct(target.ulimits),
        entitlements=_distinct((*(target.entitlements or ()), *needed)),
        contexts=contexts or None,
    )


def _distinct(texts: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(text for text in dict.fromkeys(texts or ()) if text) or None
