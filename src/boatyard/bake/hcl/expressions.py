"""Parse expressions: operators by precedence, then what can follow a term, then the terms themselves.

Specification: hclsyntax/spec.md, "Expressions".
"""

from __future__ import annotations

from boatyard.bake.hcl.cursor import Cursor, unexpected
from boatyard.bake.hcl.tokens import (
    CLOSE_HEREDOC,
    CLOSE_QUOTE,
    EOF,
    IDENT,
    NEWLINE,
    NUMBER,
    OPEN_HEREDOC,
    OPEN_QUOTE,
    Token,
)
from boatyard.bake.hcl.tree import (
    Access,
    Attribute,
    Bare,
    Binary,
    Call,
    Conditional,
    Expression,
    For,
    Index,
    Item,
    Literal,
    Lookup,
    Object,
    Parentheses,
    Reference,
    Splat,
    Step,
    Tuple,
    Unary,
    text,
)
from boatyard.bake.source import Span
from boatyard.bake.values import number as numbers
from boatyard.bake.values.value import FALSE, NULL, TRUE, Value, number, string

_PRECEDENCE = {
    operator: rank
    for rank, operators in enumerate(
        (("||",), ("&&",), ("==", "!="), (">", ">=", "<", "<="), ("+", "-"), ("*", "/", "%"))
    )
    for operator in operators
}
_CONSTANTS = {"true": TRUE, "false": FALSE, "null": NULL}
_MOST_STEPS = 60


def parse_expression(cursor: Cursor) -> Expression:
    with cursor.nested():
        condition = _binary(cursor, 0)
        if not cursor.accept("?"):
            return condition
        yes = parse_expression(cursor)
        if not cursor.accept(":"):
            raise unexpected(cursor.peek(), "':' and what the conditional is otherwise")
        no = parse_expression(cursor)
        return Conditional(condition, yes, no, condition.span.to(no.span))


def _binary(cursor: Cursor, lowest: int) -> Expression:
    left = _operand(cursor)
    while (rank := _PRECEDENCE.get(cursor.peek().kind, -1)) >= lowest:
        operator = cursor.read().kind
        right = _binary(cursor, rank + 1)
        left = Binary(operator, left, right, left.span.to(right.span))
    return left


def _operand(cursor: Cursor) -> Expression:
    return _followed(cursor, _term(cursor))


def _followed(cursor: Cursor, term: Expression) -> Expression:
    """What may come after a term: attributes, indexes, splats."""
    for _ in range(_MOST_STEPS):
        if cursor.at("."):
            term = _dotted(cursor, term)
        elif cursor.at("["):
            term = _indexed(cursor, term)
        else:
            return term
    raise cursor.peek().span.error("too many steps into one value")


def _dotted(cursor: Cursor, term: Expression) -> Expression:
    dot = cursor.read()
    if star := cursor.accept("*"):
        return _attribute_splat(cursor, term, dot.span.to(star.span))
    return _stepped(term, _dotted_step(cursor, dot))


def _dotted_step(cursor: Cursor, dot: Token) -> Step:
    if name := cursor.accept(IDENT):
        return Attribute(name.text, dot.span.to(name.span))
    if digits := cursor.accept(NUMBER):
        if "." in digits.text:
            first, _, second = digits.text.partition(".")
            raise digits.span.error("two indexes can't be chained with dots", hint=f"write [{first}][{second}]")
        return Index(_number(digits), dot.span.to(digits.span))
    raise unexpected(cursor.peek(), "the name of an attribute after the dot")


def _attribute_splat(cursor: Cursor, term: Expression, marker: Span) -> Expression:
    """`.*`: takes the attributes that follow, and no index in brackets."""
    item: Expression = Bare(marker)
    while cursor.at("."):
        dot = cursor.read()
        if cursor.at("*"):
            raise cursor.peek().span.error("a splat can't be inside another one that is written .*", hint="write [*]")
        item = _stepped(item, _dotted_step(cursor, dot))
    return Splat(term, item, term.span.to(cursor.previous), marker)


def _indexed(cursor: Cursor, term: Expression) -> Expression:
    open = cursor.read()
    if cursor.at("*"):
        cursor.read()
        if not cursor.at("]"):
            raise unexpected(cursor.peek(), "']' right after [*")
        marker = open.span.to(cursor.read().span)
        with cursor.nested():
            item = _followed(cursor, Bare(marker))
        return Splat(term, item, term.span.to(cursor.previous), marker)
    with cursor.newlines(False):
        key = parse_expression(cursor)
        if not cursor.at("]"):
            raise unexpected(cursor.peek(), "']' to end the index")
        bracket = open.span.to(cursor.read().span)
    known = text(key)
    if known is not None:
        return _stepped(term, Index(string(known), bracket))
    if isinstance(key, Literal):
        return _stepped(term, Index(key.value, bracket))
    return Lookup(term, key, term.span.to(bracket), bracket)


def _stepped(term: Expression, step: Step) -> Expression:
    span = term.span.to(step.span)
    if isinstance(term, Reference):
        return Reference(term.name, (*term.steps, step), span, term.root)
    if isinstance(term, Access):
        return Access(term.source, (*term.steps, step), span)
    return Access(term, (step,), span)


# -- terms -----------------------------------------------------------------------------------------------------------


def _term(cursor: Cursor) -> Expression:
    token = cursor.peek()
    match token.kind:
        case "(":
            return _parentheses(cursor)
        case "[":
            return _tuple(cursor)
        case "{":
            return _object(cursor)
        case "-" | "!":
            cursor.read()
            with cursor.nested():
                operand = _operand(cursor)
            return Unary(token.kind, operand, token.span.to(operand.span))
    if token.kind == NUMBER:
        return Literal(_number(cursor.read()), token.span)
    if token.kind == IDENT:
        cursor.read()
        if cursor.at("(", "::"):
            return _call(cursor, token)
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text], token.span)
        return Reference(token.text, (), token.span, token.span)
    if token.kind in (OPEN_QUOTE, OPEN_HEREDOC):
        cursor.read()
        return cursor.template(cursor, token, CLOSE_QUOTE if token.kind == OPEN_QUOTE else CLOSE_HEREDOC)
    raise unexpected(token, "an expression")


def _number(token: Token) -> Value:
    try:
        return number(numbers.parse(token.text))
    except ValueError as error:
        raise token.span.error(str(error)) from None


def _parentheses(cursor: Cursor) -> Expression:
    open = cursor.read()
    with cursor.newlines(False):
        inner = parse_expression(cursor)
        if not cursor.at(")"):
            raise unexpected(cursor.peek(), "')' to close the parenthesis")
        return Parentheses(inner, open.span.to(cursor.read().span))


def _call(cursor: Cursor, name: Token) -> Expression:
    full, name_span = name.text, name.span
    while cursor.accept("::"):
        part = cursor.accept(IDENT)
        if part is None:
            raise unexpected(cursor.peek(), "the name of a function after ::")
        full, name_span = f"{full}::{part.text}", name_span.to(part.span)
    if not cursor.accept("("):
        raise unexpected(cursor.peek(), "'(' after the name of a function")
    arguments: list[Expression] = []
    expanded = False
    with cursor.newlines(False):
        while not cursor.at(")"):
            arguments.append(parse_expression(cursor))
            if cursor.accept("..."):
                expanded = True
                if not cursor.at(")"):
                    raise unexpected(cursor.peek(), "')' after ...", hint="only the last argument can be expanded")
            elif not cursor.at(")") and not cursor.accept(","):
                raise _unseparated(cursor.peek(), name_span, "this call", ")")
        close = cursor.read()
    return Call(full, tuple(arguments), expanded, name.span.to(close.span), name_span)


def _tuple(cursor: Cursor) -> Expression:
    open = cursor.read()
    with cursor.newlines(False):
        if cursor.at_word("for"):
            return _for(cursor, open, "]")
        elements: list[Expression] = []
        while not cursor.at("]"):
            elements.append(parse_expression(cursor))
            if not cursor.at("]") and not cursor.accept(","):
                raise _unseparated(cursor.peek(), open.span, "this list", "]")
        return Tuple(tuple(elements), open.span.to(cursor.read().span))


def _unseparated(token: Token, opening: Span, what: str, close: str) -> Exception:
    if token.kind == EOF:
        return opening.error(f"{what} has no end: there is no {close!r} for it")
    return unexpected(token, f"',' or {close!r}")


def _object(cursor: Cursor) -> Expression:
    open = cursor.read()
    with cursor.newlines(False):
        comprehension = cursor.at_word("for")
    if comprehension:
        with cursor.newlines(False):
            return _for(cursor, open, "}")
    items: list[Item] = []
    with cursor.newlines(True):
        while True:
            while cursor.accept(NEWLINE):
                pass
            if cursor.at("}"):
                return Object(tuple(items), open.span.to(cursor.read().span))
            items.append(_item(cursor, open))
            if not cursor.at("}") and not cursor.accept(",") and not cursor.accept(NEWLINE):
                if cursor.at(EOF):
                    raise open.span.error("this object has no end: there is no '}' for it")
                raise unexpected(cursor.peek(), "a line end, ',' or '}' after the value")


def _item(cursor: Cursor, open: Token) -> Item:
    dynamic = cursor.at("(")
    if cursor.at(EOF):
        raise open.span.error("this object has no end: there is no '}' for it")
    key = parse_expression(cursor)
    if not cursor.accept("=") and not cursor.accept(":"):
        token = cursor.peek()
        hint = "put names with blanks or dots in quotes" if token.kind == IDENT else None
        raise unexpected(token, "'=' and a value after the key", hint=hint)
    return Item(key, parse_expression(cursor), dynamic)


def _for(cursor: Cursor, open: Token, close: str) -> Expression:
    cursor.read()
    names = loop_names(cursor)
    collection = parse_expression(cursor)
    if not cursor.accept(":"):
        raise unexpected(cursor.peek(), "':' after the collection of 'for'")
    key: Expression | None = None
    value = parse_expression(cursor)
    if cursor.accept("=>"):
        key, value = value, parse_expression(cursor)
    ellipsis = cursor.accept("...")
    condition = None
    if cursor.at_word("if"):
        cursor.read()
        condition = parse_expression(cursor)
    if not cursor.at(close):
        raise unexpected(cursor.peek(), f"{close!r} to end the 'for'")
    span = open.span.to(cursor.read().span)
    if close == "]" and key is not None:
        raise key.span.error("a 'for' in [ ] makes a list and has no key", hint="use { } for an object")
    if close == "]" and ellipsis:
        raise ellipsis.span.error("only a 'for' in { } groups with ...")
    if close == "}" and key is None:
        raise value.span.error("a 'for' in { } needs a key", hint="write {for k, v in ... : k => v}, or use [ ]")
    return For(names, collection, key, value, condition, ellipsis is not None, span)


def loop_names(cursor: Cursor) -> tuple[str, ...]:
    """`value in` or `key, value in`."""
    names = [_name(cursor)]
    if cursor.accept(","):
        names.append(_name(cursor))
    if not cursor.at_word("in"):
        raise unexpected(cursor.peek(), "'in' after the names of 'for'")
    cursor.read()
    return tuple(names)


def _name(cursor: Cursor) -> str:
    token = cursor.accept(IDENT)
    if token is None:
        raise unexpected(cursor.peek(), "a name for what 'for' goes over")
    return token.text
