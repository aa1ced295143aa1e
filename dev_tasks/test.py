"""`./dev test [pytest arguments]`: all tests, in parallel, one process a core."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    parallel = [] if any(argument.startswith("-n") for argument in arguments) else ["-n", str(os.cpu_count() or 2)]
    command = [sys.executable, "-m", "pytest", "-q", "--dist", "loadgroup", *parallel, *arguments]
    return subprocess.run(command).returncode
