"""The names of a definition: variables and global attributes, functions, and the attributes of targets and groups.

All are evaluated when first asked for, so that they may refer to each other in any order; a circle is an error at the
place that closes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from boatyard.bake.evaluate.evaluator import evaluate
from boatyard.bake.evaluate.scope import Local
from boatyard.bake.evaluate.special import FUNCTIONS as SPECIAL
from boatyard.bake.functions.signature import Function, Parameter
from boatyard.bake.hcl.documents import as_native
from boatyard.bake.hcl.tree import (
    Attribute,
    Block,
    Call,
    Expression,
    For,
    Reference,
    Setting,
    Tuple,
    children,
    keyword,
)
from boatyard.bake.hcl.tree import text as plain_text
from boatyard.bake.loading import schema, variables
from boatyard.bake.loading.blocks import Instance
from boatyard.bake.loading.variables import Declaration, Lookup
from boatyard.bake.source import Span, did_you_mean
from boatyard.bake.values.value import Value, object_of, string, tuple_of

REFERABLE = ("target", "group")


@dataclass(slots=True)
class Globals:
    """One per definition. Implements `evaluate.scope.Scope`. `instances` are filled in by the loader, by type and
    name; of several by one name, later ones go before."""

    builtin: Mapping[str, str]
    functions: Mapping[str, Function]
    lookup: Lookup
    declarations: dict[str, Declaration] = field(default_factory=dict)
    attributes: dict[str, Setting] = field(default_factory=dict)
    user_functions: dict[str, Block] = field(default_factory=dict)
    instances: dict[str, dict[str, list[Instance]]] = field(default_factory=lambda: {name: {} for name in REFERABLE})
    _values: dict[str, Value] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)
    _made: dict[str, Function] = field(default_factory=dict)
    _making: list[str] = field(default_factory=list)

    @property
    def item(self) -> Value | None:
        return None

    def names(self) -> Iterable[str]:
        return (*self.builtin, *self.declarations, *self.attributes)

    # Variables

    def variable(self, reference: Reference) -> tuple[Value, int]:
        name = reference.name
        if name in REFERABLE:
            return self._referred(reference)
        if name in self.builtin or name in self.declarations or name in self.attributes:
            return self.value(name, reference.root), 0
        raise reference.root.error(
            f"there is no variable {name!r}",
            hint=did_you_mean(name, (*self.names(), *REFERABLE), otherwise=f'declare it: variable "{name}" {{}}'),
        )

    def value(self, name: str, asker: Span) -> Value:
        if name in self.builtin:
            return string(self.builtin[name])
        if name not in self._values:
            if name in self._running:
                circle = " -> ".join((*self._running[self._running.index(name) :], name))
                raise asker.error(f"variables refer to each other in a circle: {circle}")
            self._running.append(name)
            try:
                self._values[name] = self._resolved(name)
            finally:
                self._running.pop()
        return self._values[name]

    def _resolved(self, name: str) -> Value:
        """A global attribute goes before a variable's default, the environment before both."""
        declared = self.declarations.get(name)
        setting = self.attributes.get(name)
        if setting is None:
            assert declared is not None
            return variables.resolve(declared, self, self.lookup, self._taken)
        value = evaluate(setting.expression, self)
        text = None if declared is None else self.lookup(name)
        if declared is None or text is None:
            return value
        return variables.override(name, setting.span, text, False, None, value, has_default=True)

    def _taken(self, name: str) -> bool:
        return name in self.builtin or name in self.declarations

    # Attributes of blocks

    def _referred(self, reference: Reference) -> tuple[Value, int]:
        kind = reference.name
        if not reference.steps:
            raise reference.span.error(f"{kind} alone is no value", hint=f"refer to {kind}.NAME.ATTRIBUTE")
        name = _step_name(reference, 0)
        known = self.instances[kind]
        if name not in known:
            span = reference.steps[0].span
            raise span.error(f"there is no {kind} {name!r}", hint=did_you_mean(name, known))
        if len(reference.steps) == 1:
            return self._whole(kind, name, reference.span), 1
        attribute = _step_name(reference, 1)
        kinds = schema.TARGET if kind == "target" else schema.GROUP
        if attribute != "name" and attribute not in kinds:
            span = reference.steps[1].span
            raise span.error(f"a {kind} has no attribute {attribute!r}", hint=did_you_mean(attribute, kinds))
        return self._attribute(kind, name, attribute, reference.span), 2

    def _whole(self, kind: str, name: str, asker: Span) -> Value:
        kinds = schema.TARGET if kind == "target" else schema.GROUP
        return object_of({each: self._attribute(kind, name, each, asker) for each in ("name", *kinds)})

    def _attribute(self, kind: str, name: str, attribute: str, asker: Span) -> Value:
        if attribute == "name":
            return string(name)
        for instance in reversed(self.instances[kind][name]):
            if instance.has(attribute):
                return instance.shown(attribute, asker)
        return schema.unset(attribute)

    # Functions

    def function(self, call: Call) -> Function:
        if call.name in self.functions:
            return self.functions[call.name]
        if call.name in self.user_functions:
            return self.made(call.name, call.name_span)
        known = (*self.functions, *self.user_functions, *SPECIAL)
        raise call.name_span.error(f"there is no function {call.name!r}", hint=did_you_mean(call.name, known))

    def made(self, name: str, asker: Span) -> Function:
        """A function of the definition's own."""
        if name not in self._made:
            if name in self._making:
                circle = " -> ".join((*self._making[self._making.index(name) :], name))
                raise asker.error(f"functions call each other in a circle: {circle}")
            self._making.append(name)
            try:
                self._made[name] = self._function(self.user_functions[name])
            finally:
                self._making.pop()
        return self._made[name]

    def _function(self, block: Block) -> Function:
        settings = block.body.settings
        for name, setting in settings.items():
            if name not in schema.FUNCTION:
                hint = did_you_mean(name, schema.FUNCTION, otherwise=f"there are: {', '.join(schema.FUNCTION)}")
                raise setting.span.error(f"a function has no attribute {name!r}", hint=hint)
        for name in ("params", "result"):
            if name not in settings:
                hint = "a function without parameters has params = []" if name == "params" else None
                raise block.span.error(f"the function {block.labels[0]!r} needs {name}", hint=hint)
        names = _parameters(settings["params"].expression)
        rest = _name(settings["variadic_params"].expression) if "variadic_params" in settings else None
        result = settings["result"].expression
        self._check(result, {*names, *((rest,) if rest else ())})

        def implementation(*arguments: Value) -> Value:
            local = dict(zip(names, arguments, strict=False))
            if rest is not None:
                local[rest] = tuple_of(arguments[len(names) :])
            return evaluate(result, Local(self, local))

        parameters = tuple(Parameter(each, nullable=True) for each in names)
        return Function(parameters, implementation, Parameter(rest, nullable=True) if rest else None)

    def _check(self, expression: Expression, local: set[str]) -> None:
        """A function's names are looked up when it is defined, whether it is called or not."""
        match expression:
            case Reference() if expression.name not in local and expression.name not in REFERABLE:
                self.variable(expression)
            case Call() if expression.name not in SPECIAL:
                self.function(expression)
            case For():
                local = local | set(expression.names)
            case _:
                pass
        if isinstance(expression, Call) and expression.name in SPECIAL:
            return
        for child in children(expression):
            self._check(child, local)


def _step_name(reference: Reference, index: int) -> str:
    step = reference.steps[index]
    if isinstance(step, Attribute):
        return step.name
    if isinstance(step.key.raw, str):
        return step.key.raw
    raise step.span.error(f"a {reference.name} is referred to by its name")


def _parameters(expression: Expression) -> tuple[str, ...]:
    if not isinstance(expression, Tuple):
        raise expression.span.error("params is a list of names", hint="write params = [a, b]")
    names = tuple(map(_name, expression.elements))
    for place, name in enumerate(names):
        if name in names[:place]:
            raise expression.elements[place].span.error(f"there are two parameters {name!r}")
    return names


def _name(expression: Expression) -> str:
    found = keyword(as_native(expression))
    if not found:
        hint = "names are written without quotes" if plain_text(expression) is not None else None
        raise expression.span.error("the name of a parameter is required here", hint=hint)
    return found
