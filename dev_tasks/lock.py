"""`./dev lock`: resolve the dependencies again into requirements.lock.

A list of versions and hashes without addresses, so that it works with any mirror: see docs/adr/0001.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    uv = shutil.which("uv") or ".cache/uv/bin/uv"
    command = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "pyproject.toml",
        "--group",
        "dev",
        "--generate-hashes",
        "--no-annotate",
    ]
    command += ["--no-header", "--python-version", "3.11", "--python", sys.executable, "-o", "requirements.lock"]
    return subprocess.run([*command, *arguments]).returncode
