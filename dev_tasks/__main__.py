"""`python -m dev_tasks TASK`: what ./dev runs once the environment stands."""

from __future__ import annotations

import importlib
import sys

TASKS = ("bench", "check", "demo", "docs", "lock", "protos", "test")


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in TASKS:
        print(f"usage: ./dev {{{','.join(TASKS)}}}", file=sys.stderr)
        return 2
    task = importlib.import_module(f"dev_tasks.{sys.argv[1]}")
    return int(task.main(sys.argv[2:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
