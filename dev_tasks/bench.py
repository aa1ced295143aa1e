"""`./dev bench SUITE`: run a benchmark suite against other builders, in one run on this machine.

Figures are comparable only within a run: machines differ, and so do quiet and busy hours.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import build, logs, registry, report, scale, session
from bench.measure import Row
from bench.tools.boat import Boat
from bench.tools.buildah import Buildah
from bench.tools.builder import Builder
from bench.tools.buildkit import Buildkit
from bench.tools.docker import Docker
from bench.tools.remote import RemoteBoat

BUILDERS: dict[str, Callable[[Path], Builder]] = {
    "boat": Boat,
    "docker": Docker,
    "buildah": Buildah,
    "buildkit": Buildkit,
}
CLIENTS: dict[str, Callable[[Path], session.Client]] = {
    "docker": Docker,
    "buildkit": Buildkit,
    "boat": RemoteBoat,
}
PACKAGES = {"docker": "docker.io", "buildah": "buildah"}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("suite", choices=["build", "logs", "registry", "scale", "session"])
    parser.add_argument("--tools", default="docker,buildah,boat", help="which builders, in this order")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="letters of workloads, such as a,c")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE too")
    parser.add_argument("--scratch", type=Path, help="a directory for contexts and daemons' roots (kept)")
    parser.add_argument("--memlogd", type=Path, metavar="PATH", help="logs: another memlogd with LinuxKit's flags")
    options = parser.parse_args(arguments)
    if options.suite == "logs":
        return _logs(options)
    tools = options.tools.split(",") if options.suite == "build" else ["boat"]
    if options.suite == "session":
        tools = [
            name for name, there in (("docker", True), ("buildkit", Buildkit.installed()), ("boat", True)) if there
        ]
    reference = "docker-registry" if options.suite == "registry" else "docker"
    _install(tools)
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="boat-bench-", dir="/var/tmp"))
    scratch.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    only = [name for name in options.only.split(",") if name]
    try:
        if options.suite == "scale":
            rows += scale.run(Boat(scratch / "boat-root"), scratch, only)
            tools = []
        if options.suite == "session":
            for tool in tools:
                rows += session.run(CLIENTS[tool](scratch / f"{tool}-root"), scratch, options.runs, only)
            tools = []
        if options.suite == "registry":
            rows += report.with_ratios(
                registry.run(scratch, ["docker-registry", "boat"], options.runs, only), reference
            )
            reference = "skopeo"
            rows += registry.clients(scratch, options.runs, only)
            tools = []
        for tool in tools:
            builder = BUILDERS[tool](scratch / f"{tool}-root")
            rows += build.run(builder, scratch, options.runs, only)
    finally:
        if not options.scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    rows = report.with_ratios(rows, reference)
    print(report.table(rows))
    if options.json:
        report.write_json(rows, options.json)
    return 0


def _logs(options: argparse.Namespace) -> int:
    """Rows of another kind: lines a second, not seconds."""
    programs = {"boat": logs.BIN / "memlogd", **({"other": options.memlogd} if options.memlogd else {})}
    with tempfile.TemporaryDirectory(prefix="boat-bench-", dir="/var/tmp") as scratch:
        rows = list(logs.run(Path(scratch), programs, [name for name in options.only.split(",") if name]))
    print(logs.table(rows))
    if options.json:
        logs.write_json(rows, options.json)
    return 0


def _install(tools: Sequence[str]) -> None:
    wanted = [
        PACKAGES[tool]
        for tool, there in (("docker", Docker.installed()), ("buildah", Buildah.installed()))
        if tool in tools and not there
    ]
    if wanted:
        print(f"== installing Debian packages: {' '.join(wanted)}", file=sys.stderr)
        subprocess.run(
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *wanted],
            check=True,
            stdout=subprocess.DEVNULL,
        )
