"""`./dev demo`: make base images from Debian's archive, build a multi-stage Dockerfile on them, run the result, build
it again.

Everything lives in a directory of its own that is removed at the end (`--keep DIR` keeps it).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

BIN = Path(sys.executable).parent
EXAMPLE = Path(__file__).resolve().parent.parent / "docs/tutorial/hello"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="use and keep DIR for images and cache")
    options = parser.parse_args(arguments)
    root = options.keep or Path(tempfile.mkdtemp(prefix="boat-demo-", dir="/var/tmp"))
    root = root.resolve()
    (root / "run").mkdir(parents=True, exist_ok=True)
    log = open(root / "boatd.log", "ab")  # noqa: SIM115  # the daemon's, as long as it runs
    daemon = subprocess.Popen(
        [BIN / "boatd", "--root", root / "data", "--run", root / "run"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    environment = {**os.environ, "BOAT_HOST": f"unix://{root / 'run/boatd.sock'}"}

    def boat(*command: str) -> None:
        print(f"\n\033[1m$ boat {' '.join(command)}\033[0m", file=sys.stderr, flush=True)
        subprocess.run([BIN / "boat", *command], env=environment, check=True)

    try:
        _wait(root / "run/boatd.sock", daemon)
        for base in ("busybox", "debian:bookworm-slim"):
            boat("bootstrap", base)
        boat("build", "-t", "hello", str(EXAMPLE))
        boat("run", "--rm", "hello")
        print("\nAgain, unchanged:", file=sys.stderr)
        boat("build", "-t", "hello", str(EXAMPLE))
        boat("image", "ls")
    except subprocess.CalledProcessError as error:
        print(f"the demo failed; the daemon's log is {root / 'boatd.log'}", file=sys.stderr)
        options.keep = root
        return int(error.returncode)
    finally:
        daemon.terminate()
        daemon.wait(30)
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)
    print("\nThat was it. Next: .venv/bin/boat build DIRECTORY, and docs/tutorial/first-build.md", file=sys.stderr)
    return 0


def _wait(socket: Path, daemon: subprocess.Popen[bytes]) -> None:
    while not socket.exists():
        try:
            code = daemon.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        said = (socket.parent.parent / "boatd.log").read_text(errors="replace")
        raise SystemExit(f"boatd ended with {code}:\n{said[-2000:]}")
