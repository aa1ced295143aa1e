"""Which handler a method and a path belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from boatyard.api.engine.call import Handler

_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """`{NAME}` in a path takes anything, slashes too: names of images have them."""

    method: str
    path: str
    handle: Handler


class Routes:
    """A path without names goes before those with names; of these, the first one that fits."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._plain: dict[tuple[str, str], Handler] = {}
        self._named: dict[str, list[tuple[re.Pattern[str], Handler]]] = {}
        for route in routes:
            if "{" in route.path:
                pattern = "".join(
                    f"(?P<{part}>.+)" if odd else re.escape(part) for odd, part in _parts(_NAME.split(route.path))
                )
                self._named.setdefault(route.method, []).append((re.compile(pattern, re.DOTALL), route.handle))
            else:
                self._plain[route.method, route.path] = route.handle

    def find(self, method: str, path: str) -> tuple[Handler, Mapping[str, str]] | None:
        handle = self._plain.get((method, path))
        if handle is not None:
            return handle, {}
        for pattern, handle in self._named.get(method, ()):
            match = pattern.fullmatch(path)
            if match:
                return handle, match.groupdict()
        return None


def _parts(parts: list[str]) -> Iterable[tuple[bool, str]]:
    return ((bool(number % 2), part) for number, part in enumerate(parts))
