"""What a function is: parameters and an implementation over values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boatyard.bake.values.convert import ConversionError, convert
from boatyard.bake.values.type import ANY, Type
from boatyard.bake.values.value import Value


class CallError(Exception):
    """A call that can't be answered. `argument`: the number of the one that is to blame, from 0."""

    def __init__(self, message: str, argument: int | None = None) -> None:
        super().__init__(message)
        self.argument = argument


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: Type = ANY
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """`variadic` takes all arguments after the others."""

    parameters: tuple[Parameter, ...]
    implementation: Callable[..., Value]
    variadic: Parameter | None = None

    def parameter(self, index: int) -> Parameter:
        """The one that takes argument number `index`."""
        if index < len(self.parameters):
            return self.parameters[index]
        if self.variadic is None:
            raise CallError(f"expects only {_count(len(self.parameters))}", index)
        return self.variadic

    def call(self, arguments: Sequence[Value]) -> Value:
        """CallError when they are too few, too many, of the wrong type or of no use."""
        if len(arguments) < len(self.parameters):
            missing = self.parameters[len(arguments)].name
            least = "at least " if self.variadic else ""
            raise CallError(f'expects {least}{_count(len(self.parameters))}: there is none for "{missing}"')
        taken = [self._taken(index, value) for index, value in enumerate(arguments)]
        try:
            return self.implementation(*taken)
        except ConversionError as error:  # of arguments to the type that they have in common
            raise CallError(str(error)) from None

    def _taken(self, index: int, value: Value) -> Value:
        parameter = self.parameter(index)
        try:
            converted = convert(value, parameter.type)
        except ConversionError as error:
            raise CallError(f'invalid value for "{parameter.name}": {error}', index) from None
        if converted.null and not parameter.nullable:
            raise CallError(f'invalid value for "{parameter.name}": it must not be null', index)
        return converted


def _count(number: int) -> str:
    return f"{number} argument{'s' if number != 1 else ''}"


def function(
    implementation: Callable[..., Value], *parameters: Parameter, variadic: Parameter | None = None
) -> Function:
    return Function(parameters, implementation, variadic)
