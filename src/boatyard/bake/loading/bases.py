"""Contexts that are relative to the file that says them, not to the working directory.

A context that is another target's (`context = target.base.context`) stays where that one's is.

Specification: docker/buildx, docs/bake-reference.md ("target.context", BUILDX_BAKE_FILE_RELATIVE_PATHS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from boatyard.bake.definition import Group, Target
from boatyard.bake.hcl.tree import Attribute, Reference
from boatyard.bake.loading.blocks import Instance
from boatyard.bake.location import below, directory


def made(instance: Instance, targets: Mapping[str, Sequence[Instance]]) -> Target | Group:
    found = instance.made()
    if isinstance(found, Group):
        return found
    return based(found, _of(instance), _of(_sayer(instance, targets)))


def based(target: Target, base: str | None, context_base: str | None) -> Target:
    """`context_base` is that of the file which says the context itself."""
    contexts = target.contexts and {name: below(base, value) for name, value in target.contexts.items()}
    context = None if target.context is None else below(context_base, target.context)
    return replace(target, base=base, context=context, contexts=contexts)


def _of(instance: Instance) -> str | None:
    return directory(instance.block.span.source.name)


def _sayer(instance: Instance, targets: Mapping[str, Sequence[Instance]]) -> Instance:
    """Whose context it is: references lead to that of another target, and so on. Circles were refused before."""
    setting = instance.block.body.settings.get("context")
    match setting and setting.expression:
        case Reference("target", (Attribute(name=name), Attribute(name="context"))) if name in targets:
            sayers = [each for each in targets[name] if each.has("context")]
            return _sayer(sayers[-1], targets) if sayers else targets[name][-1]
    return instance
