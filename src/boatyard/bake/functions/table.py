"""All functions, by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from boatyard.bake.functions import (
    addresses,
    arithmetic,
    collections,
    digests,
    encodings,
    formats,
    patterns,
    sets,
    texts,
    times,
    versions,
)
from boatyard.bake.functions.signature import Function, function
from boatyard.bake.values.value import string


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What functions may learn of the world: the home directory, the time (seconds since 1970), random bytes."""

    home: str = "/"
    now: Callable[[], float] = time.time
    random: Callable[[int], bytes] = os.urandom


def functions(surroundings: Surroundings) -> Mapping[str, Function]:
    return {
        **arithmetic.FUNCTIONS,
        **texts.FUNCTIONS,
        **collections.FUNCTIONS,
        **sets.FUNCTIONS,
        **encodings.FUNCTIONS,
        **formats.FUNCTIONS,
        **patterns.FUNCTIONS,
        **versions.FUNCTIONS,
        **addresses.FUNCTIONS,
        **digests.functions(surroundings.random),
        **times.functions(surroundings.now),
        "homedir": function(lambda: string(surroundings.home)),
    }
