"""Load bake files, in HCL or JSON, into one definition.

parse -> declare variables, functions, attributes -> name the blocks -> evaluate all -> merge by name
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from boatyard.bake.definition import Definition, Group, Target, merge
from boatyard.bake.functions.table import Surroundings, functions
from boatyard.bake.hcl import documents, parser
from boatyard.bake.hcl.tree import Block, File
from boatyard.bake.loading import bases, schema, variables
from boatyard.bake.loading.blocks import instances
from boatyard.bake.loading.scope import Globals
from boatyard.bake.loading.variables import Lookup
from boatyard.bake.source import Source, did_you_mean
from boatyard.errors import DefinitionError


def parse_native(source: Source) -> File:
    return parser.parse(source)


def parse_json(source: Source) -> File:
    return documents.parse(source, schema.BLOCKS, schema.NESTED)


def load(
    files: Sequence[File],
    *,
    builtin: Mapping[str, str],
    lookup: Lookup,
    surroundings: Surroundings,
    before: Definition,
    relative: bool = False,
) -> Definition:
    """Later files go before earlier ones, and all before the definition that is there already (of compose files).
    `lookup` gives what is set from outside, by name. `relative`: contexts are relative to the files that say them."""
    try:
        return _load(files, Globals(builtin, functions(surroundings), lookup), before, relative)
    except RecursionError:
        raise DefinitionError("the definition is nested too deeply") from None


def _load(files: Sequence[File], scope: Globals, before: Definition, relative: bool) -> Definition:
    blocks = [block for file in files for block in file.body.blocks]
    for file in files:
        for block in file.body.blocks:
            if block.type not in schema.BLOCKS:
                hint = did_you_mean(block.type, schema.BLOCKS, otherwise=f"there are: {', '.join(schema.BLOCKS)}")
                raise block.span.error(f"there is no block {block.type!r}", hint=hint)
    _declare(files, blocks, scope)
    listed = []
    for name, declared in scope.declarations.items():
        listed.append(variables.listed(declared, scope.value(name, declared.span), scope))
    for declared in scope.declarations.values():
        variables.validate(declared, scope)
    for name, block in scope.user_functions.items():
        scope.made(name, block.span)
    made, matrices = _blocks(blocks, scope, relative)
    targets, groups = _merged(made, matrices, before)
    for name, setting in scope.attributes.items():
        scope.value(name, setting.span)
    return Definition(targets=targets, groups=groups, variables=tuple(sorted(listed, key=lambda each: each.name)))


def _declare(files: Sequence[File], blocks: Sequence[Block], scope: Globals) -> None:
    for block in blocks:
        if block.type == "variable":
            declared = variables.declaration(block)
            if declared.name not in scope.builtin:
                scope.declarations[declared.name] = declared
        elif block.type == "function":
            if len(block.labels) != 1:
                raise block.span.error("a function has one name", hint='write function "NAME" { ... }')
            scope.user_functions[block.labels[0]] = block
    for file in files:
        for name, setting in file.body.settings.items():
            if name in schema.BLOCKS:
                raise setting.span.error(
                    f"{name!r} is a block, not an attribute", hint=f'write {name} "NAME" {{ ... }}'
                )
            if name not in scope.builtin:
                scope.attributes[name] = setting


def _blocks(blocks: Sequence[Block], scope: Globals, relative: bool) -> tuple[list[Target | Group], list[Group]]:
    """All targets and groups in order; besides, for each matrix a group by its label."""
    found = []
    matrices: dict[str, list[str]] = {}
    for block in blocks:
        if block.type in scope.instances:
            for instance in instances(block, scope):
                scope.instances[block.type].setdefault(instance.name, []).append(instance)
                found.append(instance)
                if block.type == "target":
                    matrices.setdefault(block.labels[0], []).append(instance.name)
    renamed = [
        Group(name=label, targets=tuple(dict.fromkeys(names)))
        for label, names in matrices.items()
        if set(names) != {label}
    ]
    if relative:
        return [bases.made(instance, scope.instances["target"]) for instance in found], renamed
    return [instance.made() for instance in found], renamed


def _merged(
    made: Sequence[Target | Group], matrices: Sequence[Group], before: Definition
) -> tuple[dict[str, Target], dict[str, Group]]:
    targets, groups = dict(before.targets), dict(before.groups)
    for each in made:
        if isinstance(each, Target):
            targets[each.name] = merge(targets[each.name], each) if each.name in targets else each
        else:
            groups[each.name] = replace(each, targets=tuple(dict.fromkeys(each.targets)))
    for group in matrices:
        groups.setdefault(group.name, group)
    return targets, groups
