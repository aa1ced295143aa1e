"""`python -m boatyard.frontend WHAT`: be the process of a frontend. WHAT is a Python file, a module or the name of an
entry point, with `:ATTRIBUTE` where the frontend isn't called `frontend`.
"""

from __future__ import annotations

import sys

from boatyard import __version__
from boatyard.frontend import program
from boatyard.frontend.finding import finder


def main() -> int:
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(f"boatyard.frontend {__version__}")
        return 0
    if len(arguments) != 1:
        print("usage: python -m boatyard.frontend FILE.py|MODULE|NAME[:ATTRIBUTE]", file=sys.stderr)
        return 2
    return program.run(finder(arguments[0]))


if __name__ == "__main__":
    sys.exit(main())
