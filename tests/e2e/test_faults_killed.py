"""The daemon is killed at random moments, and starts again as if nothing had been.

BOAT_KILLS says how often (15), BOAT_KILL_SEED makes a run repeat.
"""

from __future__ import annotations

import os
import random
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from e2e import traces
from e2e.yard import Yard, write_files

pytestmark = pytest.mark.runtime

KILLS = int(os.environ.get("BOAT_KILLS", "15"))
SEED = int(os.environ.get("BOAT_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
BUILDS = 4
MARKER = "2147483.25"
"""Seconds a step would sleep, if it were not killed: no other process has that in its command line."""


@dataclass
class Harm:
    """Work for a daemon, and what it has promised to keep so far."""

    yard: Yard
    directory: Path
    random: random.Random
    images: dict[str, str] = field(default_factory=dict)
    """Name -> ID of what was reported as built."""

    def context(self, number: int, version: int) -> Path:
        base = "busybox" if version % 3 else "scratch"
        steps = [f"FROM {base} AS made", "COPY files /files", f"COPY <<EOF /content\n{number} {version}\nEOF"]
        if base == "busybox":
            steps += [
                f"RUN --mount=type=cache,target=/c,id=c{number} echo {version} >> /c/log; cp /c/log /log",
                f"RUN mkdir -p /d && for i in $(seq 40); do echo {version} $i > /d/$i; done && rm -r /files/1",
                f"RUN rm -r /d && ln -s /content /link && echo {version} > /last",
            ]
        steps += ["FROM scratch AS copied", "COPY --from=made / /", f"COPY --link files/2 /two-{version}"]
        text = "\n".join(steps) + "\n"
        files = {f"files/{name}": f"{number} {version if name == 3 else 0}\n" * 50 for name in range(30)}
        return write_files(self.directory / f"{number}", {**files, "Dockerfile": text})

    def builds(self, turn: int) -> list[tuple[str, list[str]]]:
        """Commands that a daemon is to be killed amidst of; the name that each gives, if any."""
        jobs = []
        for number in range(BUILDS):
            version = turn * BUILDS + number
            context = self.context(number, version)
            name = f"harmed-{number}:{turn % 5}"
            out = self.directory / f"out-{number}"
            flags = self.random.choice([[], ["--no-cache"], ["--load", "-o", f"type=oci,dest={out}"]])
            id_file = f"--iidfile={self.directory}/{number}.id"
            jobs.append((name, ["build", "--progress=rawjson", "-t", name, id_file, *flags, str(context)]))
        jobs.append(("", ["image", "load", "-i", str(self.directory / "base.tar")]))
        jobs.append(("", ["build", "-q", "-t", "never", str(self.directory / "sleeper")]))
        jobs.append(("", ["builder", "prune", "-f"]))
        return jobs

    def run_and_kill(self, turn: int) -> None:
        """Start everything at once; kill when a random amount of progress was made."""
        limit = self.random.randrange(1, 110)
        jobs = [(name, self._start(command)) for name, command in self.builds(turn)]
        seen: dict[str, bytes] = dict.fromkeys((name for name, _ in jobs), b"")
        with selectors.DefaultSelector() as selector:
            for name, process in jobs:
                assert process.stdout is not None
                selector.register(process.stdout, selectors.EVENT_READ, name)
            lines = 0
            # The sleeper never ends by itself; without other news the moment has come.
            while lines < limit and (ready := selector.select(0.5)):
                for key, _ in ready:
                    data = os.read(key.fd, 4096)
                    if not data:
                        selector.unregister(key.fileobj)
                    seen[key.data] += data
                    lines += data.count(b"\n")
        self.yard.kill()
        for name, process in jobs:
            _, errors = process.communicate(timeout=20)
            assert b"Traceback" not in errors, errors.decode()
            # Which image a name stands for is open when its build was interrupted.
            self.images.pop(name, None)
            if process.returncode:
                assert b"fix:" in errors, errors.decode()
            elif name:
                number = name.partition(":")[0].rpartition("-")[2]
                self.images[name] = (self.directory / f"{number}.id").read_text().strip()

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.yard.command(*command),
            env=self.yard.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def check_kept(self) -> None:
        listed = self.yard.run("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout
        kept = dict(line.split() for line in listed.splitlines() if not line.startswith("<none>"))
        assert "busybox:latest" in kept
        assert {name: kept.get(name) for name in self.images} == self.images

    def rebuild(self, turn: int) -> None:
        """What was interrupted is built anew, in the end with the right files."""
        number = self.random.randrange(BUILDS)
        version = turn * BUILDS + number
        out = self.directory / f"rebuilt-{turn}"
        self.yard.run("build", "-q", "-o", f"type=local,dest={out}", self.directory / f"{number}")
        assert (out / "content").read_text() == f"{number} {version}\n"
        assert (out / f"two-{version}").read_text() == f"{number} 0\n" * 50
        assert (out / "files/3").read_text() == f"{number} {version}\n" * 50
        if version % 3:
            assert (out / "last").read_text() == f"{version}\n"
            assert not (out / "files/1").exists()
            assert not (out / "d").exists()
            # Interrupted steps may have written to the cache mount as well: only its last line is certain.
            assert (out / "log").read_text().splitlines()[-1] == str(version)
        shutil.rmtree(out)


@pytest.fixture
def harm(own_yard: Yard, tmp_path: Path) -> Iterator[Harm]:
    own_yard.run("bootstrap", "busybox")
    own_yard.run("image", "save", "-o", tmp_path / "base.tar", "busybox")
    write_files(tmp_path / "sleeper", {"Dockerfile": f"FROM busybox\nRUN sleep {MARKER}\n"})
    print(f"BOAT_KILL_SEED={SEED} BOAT_KILLS={KILLS}", file=sys.stderr)
    yield Harm(own_yard, tmp_path, random.Random(SEED))


@pytest.mark.timeout(KILLS * 30 + 60)
def test_a_daemon_killed_at_any_moment_finds_its_store_whole_and_leaves_nothing(harm: Harm) -> None:
    yard = harm.yard
    for turn in range(KILLS):
        harm.run_and_kill(turn)
        assert traces.eventually(lambda: not traces.processes(f"sleep {MARKER}")), "a step outlived its daemon"
        yard.start()
        assert traces.on_disk(yard) == [], f"turn {turn}"
        assert traces.mounts_of_daemon(yard) == []
        harm.check_kept()
        harm.rebuild(turn)
        if turn % 5 == 4 or turn == KILLS - 1:
            assert traces.damage(yard) == [], f"turn {turn}"
    assert "Traceback" not in yard.log
    assert yard.stop() == 0
    assert traces.on_host(yard) == []
