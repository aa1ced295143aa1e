"""One request of the native API as a value, independent of who sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Call(Generic[A]):
    """`path` is the route's template, below the API's prefix; `names` fill its `{NAME}`s. `body` is a document.
    The answer is one document of the type `answer`."""

    method: str
    path: str
    answer: type[A]
    body: object | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamCall(Generic[A]):
    """As `Call`, but the answer is a stream of events that ends with an `answer`."""

    method: str
    path: str
    answer: type[A]
    body: object | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
