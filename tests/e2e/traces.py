"""What a daemon has on its host and on its disk besides what it keeps: to see that nothing stays behind."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from boatyard.image.content.directory import DirectoryStore
from boatyard.image.database import Database
from boatyard.image.layer.store import LayerStore
from boatyard.image.snapshot.choice import choose_snapshotter
from boatyard.image.store import ImageStore
from boatyard.image.validate import validate_image
from boatyard.image.virtual import LayerStreams
from e2e.yard import Yard


def instance(yard: Yard) -> str:
    """The name that everything of a daemon's runtime carries."""
    return hashlib.sha256(os.fsencode((yard.root / "run/containers").absolute())).hexdigest()[:8]


def on_host(yard: Yard) -> list[str]:
    """Network links, packet filter tables, control groups and mounts of a daemon, in the host's namespaces."""
    name = instance(yard)
    found = [f"mount {line.split()[1]}" for line in _lines("/proc/mounts") if str(yard.root) in line]
    found += [f"link {link}" for link in os.listdir("/sys/class/net") if name in link]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*/boatyard-{name}*")]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"boatyard-{name}*")]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    found += [table for table in tables.splitlines() if name in table]
    return found


def processes(marker: str) -> list[str]:
    """Command lines that contain a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if marker in line and int(path.parent.name) != os.getpid():
            found.append(f"{path.parent.name} {line}")
    return found


def mounts_of_daemon(yard: Yard) -> list[str]:
    """Mounts below the root in the daemon's own namespace."""
    assert yard.daemon is not None
    return [line.split()[1] for line in _lines(f"/proc/{yard.daemon.pid}/mounts") if f" {yard.data}" in line]


def on_disk(yard: Yard) -> list[str]:
    """Files and rows below the root that belong to nothing. The daemon must be idle, and just started: what it keeps
    for later counts, too."""
    data = yard.data
    found = [f"ingest/{name}" for name in os.listdir(data / "ingest")]
    snapshots = data / "snapshots"
    for hidden in (".active", ".trash"):
        found += [f"snapshots/{hidden}/{name}" for name in os.listdir(snapshots / hidden)]
    # Mount points are used again; there may be some, with nothing in them.
    found += [str(path.relative_to(data)) for path in (snapshots / ".mounts").glob("*/*")]
    known = {row[0] for row in rows(data / "meta.db", "SELECT snapshot FROM layers WHERE snapshot IS NOT NULL")}
    there = {name for name in os.listdir(snapshots) if not name.startswith(".")}
    found += [f"snapshot {name} without a row" for name in there - known]
    found += [f"row without a snapshot {name}" for name in known - there]
    found += [f"cache-mounts/{p.name}" for p in (data / "cache-mounts").iterdir() if not (p / "about.json").exists()]
    found += [f"history/{p.name}" for p in (data / "history").iterdir() if not (p / "record.json").exists()]
    for pattern in ("**/*.new", "**/*.tmp", "**/*.part"):
        found += [str(path.relative_to(data)) for place in ("history", "cache-mounts", "sources", "ingest")
                  for path in (data / place).glob(pattern)]  # fmt: skip
    leases = rows(data / "meta.db", "SELECT id FROM leases")
    return found + [f"lease {row[0]}" for row in leases]


def rows(database: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def damage(yard: Yard) -> list[str]:
    """What is wrong with the databases and with every image, read down to the last file. The daemon must be idle."""
    found = []
    for name in ("meta.db", "cache.db"):
        found += [f"{name}: {row[0]}" for row in rows(yard.data / name, "PRAGMA integrity_check") if row[0] != "ok"]
        found += [f"{name}: {row}" for row in rows(yard.data / name, "PRAGMA foreign_key_check")]
    database = Database(yard.data / "meta.db")
    try:
        content = DirectoryStore(yard.data)
        layers = LayerStore(database, content, choose_snapshotter(yard.data / "snapshots"))
        for image in ImageStore(database, content).list():
            problems = validate_image(content, image.target, layers=LayerStreams(layers))
            found += [f"{image.name}: {problem}" for problem in problems]
    finally:
        database.close()
    return found


def eventually(condition: Callable[[], bool], *, timeout: float = 10.0) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def peak_memory(yard: Yard) -> int:
    """Bytes that the daemon has held at most."""
    assert yard.daemon is not None
    status = Path(f"/proc/{yard.daemon.pid}/status").read_text()
    match = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert match
    return int(match[1]) * 1024


def _lines(path: str) -> list[str]:
    return Path(path).read_text(errors="replace").splitlines()
