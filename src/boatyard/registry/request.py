"""Requests as values, before anything is known of connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import urlsplit

Body = bytes | Callable[[], IO[bytes]]
"""The bytes, or what opens them anew for every try."""


@dataclass(frozen=True, slots=True)
class Request:
    """`repeatable`: sending it twice does no harm."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    length: int | None = None
    """Bytes of a body that is opened; None sends it in chunks."""
    repeatable: bool = True
    redirected: bool = True
    """Follow redirects. An upload is not sent twice."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Headers for this host only."""


def shown(url: str) -> str:
    """A URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
