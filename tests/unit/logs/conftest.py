from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.log_yard import LogYard, log_yard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[LogYard]:
    """A memlogd with LinuxKit's bounds."""
    with log_yard(tmp_path) as made:
        yield made
