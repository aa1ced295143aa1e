"""What names mean where an expression stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from boatyard.bake.functions.signature import Function
from boatyard.bake.hcl.tree import Call, Reference
from boatyard.bake.values.value import Value


class Scope(Protocol):
    def variable(self, reference: Reference) -> tuple[Value, int]:
        """The value of its root, or of the root and so many of its steps. DefinitionError when there is none."""

    def function(self, call: Call) -> Function:
        """DefinitionError when there is none of that name."""

    def names(self) -> Iterable[str]:
        """Of the variables, to guess what was meant by another."""

    @property
    def item(self) -> Value | None:
        """What a splat goes over, inside of one."""


class Local:
    """A scope with more names in it: those of a `for`, of a function's parameters, of a matrix."""

    def __init__(self, outer: Scope, variables: Mapping[str, Value], item: Value | None = None) -> None:
        self._outer = outer
        self._variables = variables
        self._item = item

    def variable(self, reference: Reference) -> tuple[Value, int]:
        found = self._variables.get(reference.name)
        return self._outer.variable(reference) if found is None else (found, 0)

    def function(self, call: Call) -> Function:
        return self._outer.function(call)

    def names(self) -> Iterable[str]:
        return (*self._variables, *self._outer.names())

    @property
    def item(self) -> Value | None:
        return self._outer.item if self._item is None else self._item
