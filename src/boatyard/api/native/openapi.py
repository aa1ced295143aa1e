"""The OpenAPI document of the native API, made from the operations that are served.

Specification: OpenAPI 3.1. A streamed answer is described as `application/x-ndjson`, whose schema is that of one line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from boatyard import __version__
from boatyard.api.native.operations import Operation
from boatyard.client.documents.envelope import PREFIX, ErrorAnswer, Failure, StreamEvent

_NAME = re.compile(r"\{(\w+)\}")
_STREAM = "application/x-ndjson"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    types = _types(operations)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "boatd", "version": __version__, "description": "Boatyard's native API, on a unix socket."},
        "paths": paths,
        "components": {"schemas": components},
    }


def _types(operations: Sequence[Operation]) -> list[Any]:
    found: dict[Any, None] = {ErrorAnswer: None, StreamEvent: None, Failure: None}
    for operation in operations:
        found |= {kind: None for kind in (operation.request, operation.answer) if kind is not None}
    return list(found)


def _operation(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{operation.method.lower()}{operation.path}").strip("_"),
        "summary": operation.summary,
        "responses": {
            "200": {"description": "Done.", "content": _answer(operation, schema_of)},
            "default": {
                "description": "An error.",
                "content": {"application/json": {"schema": schema_of[ErrorAnswer]}},
            },
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _NAME.findall(operation.path)
    ] + [
        {
            "name": parameter.name,
            "in": "query",
            "required": parameter.required,
            "description": parameter.description,
            "schema": {"type": "string"},
        }
        for parameter in operation.parameters
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[operation.request]}},
        }
    elif operation.request_type != "application/json":
        described["requestBody"] = {"required": True, "content": {operation.request_type: {}}}
    return described


def _answer(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    if operation.answer is None:
        return {operation.answer_type: {}}
    schema = schema_of[operation.answer]
    if operation.plain is not None:
        return {"application/json": {"schema": schema}}
    events = schema_of[StreamEvent]
    lines = [*events.get("anyOf", [events]), schema_of[Failure], schema]
    return {_STREAM: {"schema": {"anyOf": lines}}}
