"""Functions that write values in some notation, and read them: base64, URLs, JSON, CSV."""

from __future__ import annotations

import base64
import binascii
import csv
from collections.abc import Mapping
from urllib.parse import quote_plus

from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values import document
from boatyard.bake.values.type import STRING, ObjectOf
from boatyard.bake.values.value import Value, list_of, object_of, string


def _base64decode(text: Value) -> Value:
    try:
        data = base64.b64decode(text.raw, validate=True)
    except (binascii.Error, ValueError):
        raise CallError("this is no base64", 0) from None
    try:
        return string(data.decode())
    except UnicodeDecodeError:
        raise CallError("the bytes are no UTF-8 text", 0) from None


def _jsondecode(text: Value) -> Value:
    try:
        return document.decode(text.raw)
    except ValueError as error:
        raise CallError(f"this is no JSON: {error}", 0) from None


def _csvdecode(text: Value) -> Value:
    """The first line names the columns."""
    try:
        rows = [row for row in csv.reader(text.raw.splitlines(keepends=True), strict=True) if row]
    except csv.Error as error:
        raise CallError(f"this is no CSV: {error}", 0) from None
    if not rows:
        raise CallError("a line with the names of the columns is missing", 0)
    names = rows[0]
    if len(set(names)) < len(names):
        raise CallError("two columns have the same name", 0)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise CallError(f"row {number} has {len(row)} fields, the first has {len(names)}", 0)
    records = (object_of(dict(zip(names, map(string, row), strict=True))) for row in rows[1:])
    return list_of(ObjectOf(dict.fromkeys(sorted(names), STRING)), records)


FUNCTIONS: Mapping[str, Function] = {
    "base64encode": function(
        lambda text: string(base64.b64encode(text.raw.encode()).decode()), Parameter("str", STRING)
    ),
    "base64decode": function(_base64decode, Parameter("str", STRING)),
    "urlencode": function(lambda text: string(quote_plus(text.raw)), Parameter("str", STRING)),
    "jsonencode": function(lambda value: string(document.encode(value)), Parameter("val", nullable=True)),
    "jsondecode": function(_jsondecode, Parameter("str", STRING)),
    "csvdecode": function(_csvdecode, Parameter("str", STRING)),
}
