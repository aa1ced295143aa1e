"""Evaluate an expression in a scope.

Specification: hclsyntax/spec.md. Whatever is wrong is a DefinitionError at the place that is to blame.
"""

from __future__ import annotations

from boatyard.bake.evaluate import access, operators, special
from boatyard.bake.evaluate.scope import Local, Scope
from boatyard.bake.functions.signature import CallError
from boatyard.bake.hcl.tree import (
    Access,
    Bare,
    Binary,
    Call,
    Conditional,
    Expression,
    For,
    Item,
    Joined,
    Literal,
    Lookup,
    Object,
    Parentheses,
    Reference,
    Splat,
    Template,
    Tuple,
    Unary,
    Wrapped,
    keyword,
)
from boatyard.bake.source import Span
from boatyard.bake.values.convert import ConversionError, convert, convertible, unify
from boatyard.bake.values.type import ANY, BOOL, NUMBER, STRING, Any, ListOf, SetOf, TupleOf, Type, friendly
from boatyard.bake.values.value import Value, boolean, list_of, number, object_of, string, tuple_of
from boatyard.errors import DefinitionError


def evaluate(expression: Expression, scope: Scope) -> Value:
    match expression:
        case Literal():
            return expression.value
        case Template():
            return _template(expression, scope)
        case Reference():
            value, used = scope.variable(expression)
            for step in expression.steps[used:]:
                value = access.step(value, step)
            return value
        case Wrapped() | Parentheses():
            return evaluate(expression.inner, scope)
        case Tuple():
            return tuple_of(evaluate(each, scope) for each in expression.elements)
        case Object():
            return _object(expression, scope)
        case Call():
            return _call(expression, scope)
        case Access():
            value = evaluate(expression.source, scope)
            for step in expression.steps:
                value = access.step(value, step)
            return value
        case Lookup():
            collection = evaluate(expression.collection, scope)
            return access.index(collection, evaluate(expression.key, scope), expression.bracket)
        case Binary():
            return _binary(expression, scope)
        case Unary():
            return _unary(expression, scope)
        case Conditional():
            return _conditional(expression, scope)
        case For():
            return _for(expression, scope)
        case Joined():
            parts = evaluate(expression.tuple, scope)
            return string("".join(part.raw for part in parts.elements()))
        case Splat():
            return _splat(expression, scope)
        case Bare():
            assert scope.item is not None
            return scope.item


def as_text(value: Value, span: Span) -> str:
    """A value in a template."""
    if value.null:
        raise span.error("null can't be part of a text", hint='coalesce(..., "") gives a text instead')
    try:
        found: str = convert(value, STRING).raw
    except ConversionError:
        hint = "join() and jsonencode() make texts of lists and objects"
        raise span.error(f"a {friendly(value.type)} can't be part of a text", hint=hint) from None
    return found


def _template(expression: Template, scope: Scope) -> Value:
    return string("".join(as_text(evaluate(part, scope), part.span) for part in expression.parts))


def _object(expression: Object, scope: Scope) -> Value:
    return object_of({_key(item, scope): evaluate(item.value, scope) for item in expression.items})


def _key(item: Item, scope: Scope) -> str:
    """A bare name means itself."""
    if not item.dynamic:
        if name := keyword(item.key):
            return name
        if isinstance(item.key, Reference):
            raise item.key.span.error(
                "a key with dots is ambiguous", hint="quote it for a name, put it in ( ) for what it refers to"
            )
    return _key_text(evaluate(item.key, scope), item.key.span)


def _key_text(value: Value, span: Span) -> str:
    if value.null:
        raise span.error("null can't be a key")
    try:
        found: str = convert(value, STRING).raw
    except ConversionError:
        raise span.error(f"a {friendly(value.type)} can't be a key") from None
    return found


def _call(expression: Call, scope: Scope) -> Value:
    if (found := special.FUNCTIONS.get(expression.name)) is not None:
        return found(expression, scope, evaluate)
    function = scope.function(expression)
    arguments = [evaluate(each, scope) for each in expression.arguments]
    spans = [each.span for each in expression.arguments]
    if expression.expanded:
        last = arguments.pop()
        if last.null or not isinstance(last.type, ListOf | TupleOf | SetOf):
            raise spans[-1].error("only a list, a tuple or a set can be expanded into arguments with ...")
        spans = spans[:-1] + [spans[-1]] * len(last)
        arguments.extend(last.elements())
    try:
        return function.call(arguments)
    except CallError as error:
        at = error.argument
        span = expression.span if at is None or at >= len(spans) else spans[at]
        raise span.error(f"{expression.name}(): {error}") from None


# -- operators -------------------------------------------------------------------------------------------------------


def _binary(expression: Binary, scope: Scope) -> Value:
    """Chains of one operator are long and lean to the left: no recursion there."""
    chain = [expression]
    while isinstance(chain[-1].left, Binary):
        chain.append(chain[-1].left)
    result: Value | DefinitionError
    try:
        result = evaluate(chain[-1].left, scope)
    except DefinitionError as error:
        result = error
    for each in reversed(chain):
        try:
            result = _operated(each, result, scope)
        except DefinitionError as error:
            result = error
    if isinstance(result, DefinitionError):
        raise result
    return result


def _operated(expression: Binary, left: Value | DefinitionError, scope: Scope) -> Value:
    """For && and ||, one side that decides is enough, whatever is wrong with the other; but for its type."""
    operator = expression.operator
    type = operators.operand_type(operator)
    right: Value | DefinitionError
    try:
        right = evaluate(expression.right, scope)
    except DefinitionError as error:
        right = error
    left = _side(expression.left, left, type, operator)
    right = _side(expression.right, right, type, operator)
    if operator in ("&&", "||"):
        deciding = operator == "||"
        for side in (left, right):
            if isinstance(side, Value) and side.raw is deciding:
                return boolean(deciding)
    for side in (left, right):
        if isinstance(side, DefinitionError):
            raise side
    assert isinstance(left, Value) and isinstance(right, Value)
    try:
        return operators.apply(operator, left, right)
    except ConversionError as error:
        raise expression.span.error(str(error)) from None


def _side(expression: Expression, found: Value | DefinitionError, type: Type, operator: str) -> Value | DefinitionError:
    """What is null, or has no value, is wrong only where it is needed; what is of another type is wrong at once."""
    if isinstance(found, Value):
        if found.null and convertible(found.type, type) and not isinstance(type, Any):
            return expression.span.error(f"this can't be an operand of {operator}: it must not be null")
        return _operand(found, type, expression.span, operator)
    if not convertible(_shape(expression), type):
        raise found
    return found


def _shape(expression: Expression) -> Type:
    """The type of an expression that has no value: what operators and templates give is known all the same."""
    match expression:
        case Parentheses():
            return _shape(expression.inner)
        case Binary():
            return NUMBER if expression.operator in operators.ARITHMETIC else BOOL
        case Unary():
            return NUMBER if expression.operator == "-" else BOOL
        case Template():
            return STRING
        case Tuple():
            return TupleOf(tuple(map(_shape, expression.elements)))
        case _:
            return ANY


def _operand(value: Value, type: Type, span: Span, operator: str) -> Value:
    try:
        return operators.operand(value, type)
    except ConversionError as error:
        hint = None
        if operator == "+" and value.type == STRING:
            hint = 'texts are joined in a template: "${a}${b}"'
        raise span.error(f"this can't be an operand of {operator}: {error}", hint=hint) from None


def _unary(expression: Unary, scope: Scope) -> Value:
    value = evaluate(expression.operand, scope)
    negation = expression.operator == "-"
    value = _operand(value, NUMBER if negation else BOOL, expression.operand.span, expression.operator)
    return number(-value.raw) if negation else boolean(not value.raw)


def _conditional(expression: Conditional, scope: Scope) -> Value:
    """Both results are of one type: also the one that isn't chosen counts, as far as it can be evaluated."""
    chosen = truth(evaluate(expression.condition, scope), expression.condition.span)
    wanted, other = (expression.yes, expression.no) if chosen else (expression.no, expression.yes)
    value = evaluate(wanted, scope)
    try:
        alternative = evaluate(other, scope).type
    except DefinitionError:
        alternative = _shape(other)
    if isinstance(alternative, Any) or isinstance(value.type, Any):
        return convert(value, alternative) if value.null else value
    common = unify([value.type, alternative])
    if common is None:
        raise expression.yes.span.to(expression.no.span).error(
            "both results of a conditional must be of one type: "
            f"one is {friendly(value.type)}, the other {friendly(alternative)}"
        )
    try:
        return convert(value, common)
    except ConversionError as error:
        raise wanted.span.error(f"this is not of the type of the other result: {error}") from None


def truth(value: Value, span: Span) -> bool:
    """A condition's value."""
    if value.null:
        raise span.error("a condition is true or false, not null")
    try:
        return bool(convert(value, BOOL).raw)
    except ConversionError:
        raise span.error(f"a condition is true or false, not {friendly(value.type)}") from None


# -- for and splat ---------------------------------------------------------------------------------------------------


def _for(expression: For, scope: Scope) -> Value:
    collection = evaluate(expression.collection, scope)
    if collection.null or not collection.iterable:
        what = "null" if collection.null else f"a {friendly(collection.type)}"
        raise expression.collection.span.error(f"'for' can't go over {what}")
    elements: list[Value] = []
    groups: dict[str, list[Value]] = {}
    for key, element in collection.items():
        local = Local(scope, dict(zip(expression.names[::-1], (element, key), strict=False)))
        condition = expression.condition
        if condition is not None and not truth(evaluate(condition, local), condition.span):
            continue
        if expression.key is None:
            elements.append(evaluate(expression.value, local))
            continue
        name = _key_text(evaluate(expression.key, local), expression.key.span)
        if name in groups and not expression.grouped:
            hint = "to collect them, write ... after the value"
            raise expression.key.span.error(f"two elements have the key {name!r}", hint=hint)
        groups.setdefault(name, []).append(evaluate(expression.value, local))
    if expression.key is None:
        return tuple_of(elements)
    if expression.grouped:
        return object_of({name: tuple_of(values) for name, values in groups.items()})
    return object_of({name: values[0] for name, values in groups.items()})


def _splat(expression: Splat, scope: Scope) -> Value:
    """Null has no elements; what is no collection is one of its own."""
    source = evaluate(expression.source, scope)
    if not isinstance(source.type, ListOf | SetOf | TupleOf):
        if source.null:
            return tuple_of(())
        source = tuple_of((source,))
    if source.null:
        raise expression.source.span.error("a splat can't go over null")
    elements = [evaluate(expression.each, Local(scope, {}, each)) for each in source.elements()]
    if isinstance(source.type, TupleOf):
        return tuple_of(elements)
    if len({each.type for each in elements}) > 1:
        raise expression.each.span.error("the elements are of different types", hint="use a 'for' instead of [*]")
    return list_of(ANY, elements)
