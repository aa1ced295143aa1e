"""One request of the native API as a value, independent of who sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

A = TypeVar("A")


class Call(msgspec.Struct, Generic[A], frozen=True):
    """`path` is the route's template, below the API's prefix; `names` fill its `{NAME}`s. `body` is a document.
    The answer is one document of the type `answer`."""

    method: str
    path: str
    answer: type[A]
    body: object | None = None
    names: Mapping[str, str] = {}
    query: Mapping[str, str] = {}


class StreamCall(msgspec.Struct, Generic[A], frozen=True):
    """As `Call`, but the answer is a stream of events that ends with an `answer`."""

    method: str
    path: str
    answer: type[A]
    body: object | None = None
    names: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
