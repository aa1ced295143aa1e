"""`./dev docs`: check the documentation: relative links lead somewhere, generated pages are those the code gives."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def main(arguments: Sequence[str]) -> int:
    problems = list(broken_links())
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def broken_links() -> Iterator[str]:
    """Relative links of tracked pages whose target isn't there."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        page = ROOT / name
        for number, line in enumerate(page.read_text().splitlines(), start=1):
            for target in LINK.findall(line):
                if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                    yield f"{name}:{number}: {target} isn't there"
