"""The OpenAPI document, the routes and the client's calls are three views of the same operations."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import Any, get_type_hints

import msgspec
import pytest

import boatyard.client.calls
from boatyard.api.native import openapi
from boatyard.api.native.offers import Offers
from boatyard.api.native.operations import Operation
from boatyard.api.native.router import all_operations
from boatyard.api.native.services import Services
from boatyard.client.calls.call import Call, StreamCall
from boatyard.client.documents.disk import CacheMountDelete, CacheMountTransfer, PruneRequest
from unit.api.native_yard import Anything, System

ARGUMENTS: dict[Any, Any] = {str: "x", CacheMountTransfer: CacheMountTransfer(id="i", token="t")}


def operations() -> tuple[Operation, ...]:
    part: Any = Anything()
    services = Services(system=System(), builds=part, images=part, disk=part, runs=part, platforms=part)
    return all_operations(services, Offers())


def calls() -> dict[str, Call[Any] | StreamCall[Any]]:
    """Every function of `client.calls`, called."""
    found = {}
    for module_info in pkgutil.iter_modules(boatyard.client.calls.__path__):
        module = importlib.import_module(f"boatyard.client.calls.{module_info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                found[f"{module_info.name}.{name}"] = function(*arguments(function))
    return found


def arguments(function: Any) -> list[Any]:
    hints = get_type_hints(function)
    return [
        ARGUMENTS.get(hints[name]) or example(hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]


def example(kind: Any) -> Any:
    values = {str: "x", tuple: ("x",)}
    required = {
        field.name: values.get(field.type, values[tuple]) for field in msgspec.structs.fields(kind) if field.required
    }
    return kind(**required)


@pytest.mark.parametrize("name", sorted(calls()))
def test_every_call_of_the_client_is_an_operation(name: str) -> None:
    call = calls()[name]
    matching = [one for one in operations() if (one.method, one.path) == (call.method, call.path)]
    assert len(matching) == 1, f"{call.method} {call.path}"
    operation = matching[0]
    assert operation.answer is call.answer
    assert (operation.streamed is not None) == isinstance(call, StreamCall)
    assert operation.request is (None if call.body is None else type(call.body))
    assert set(call.names) == set(re.findall(r"\{(\w+)\}", call.path))
    assert set(call.query) <= {parameter.name for parameter in operation.parameters}


def test_every_operation_has_a_call_of_the_client_but_those_with_raw_bodies() -> None:
    called = {(call.method, call.path) for call in calls().values()}
    missing = {(one.method, one.path) for one in operations() if one.raw is None} - called
    assert not missing


def test_the_document_names_every_operation_and_nothing_else() -> None:
    document = openapi.document(operations())
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(one.method, f"/boat/v1{one.path}") for one in operations()}


def test_every_reference_of_the_document_resolves_and_ids_are_unique() -> None:
    document = openapi.document(operations())
    schemas = document["components"]["schemas"]
    ids = [method["operationId"] for methods in document["paths"].values() for method in methods.values()]
    assert len(set(ids)) == len(ids)

    def check(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].removeprefix("#/components/schemas/") in schemas
            for value in node.values():
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    check(document)


def test_path_parameters_are_described() -> None:
    document = openapi.document(operations())
    for path, methods in document["paths"].items():
        for method in methods.values():
            named = {one["name"] for one in method.get("parameters", ()) if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_exclusive_options_have_examples() -> None:
    assert example(PruneRequest) == PruneRequest()
    assert example(CacheMountDelete) == CacheMountDelete()
