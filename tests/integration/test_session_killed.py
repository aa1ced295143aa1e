"""A daemon that is killed while it receives a directory."""

from __future__ import annotations

import filecmp
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

FILES = 400

RECEIVE = """
import asyncio, socket, sys
from pathlib import Path
from boatyard.build.source.occupancy import Occupancy
from boatyard.session.filesync import Wanted
from boatyard.session.fsutil import transfer
from boatyard.session.mirrors import Mirrors
from boatyard.session.offered.filesync import FileSync
from boatyard.session.offered.server import Offered
from boatyard.session.registry import Sessions
from boatyard.wire.grpc.channel import Channel

transfer.INTERVAL = 0.0

async def main(source, target):
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    offered = Offered([FileSync({"context": source})], shared_key="key")
    channel, sessions = Channel(), Sessions()
    await loop.create_connection(offered.connection, sock=theirs)
    await loop.create_connection(lambda: channel.protocol, sock=ours)
    serving = asyncio.ensure_future(sessions.serve(offered.announcement, channel))
    session = await sessions.get(offered.announcement.id)
    def tell(files, size):
        print(files, flush=True)
    async with Mirrors(Path(target), Occupancy()).received(session, Wanted("context"), progress=tell) as mirror:
        print(mirror.directory / "files", flush=True)
    serving.cancel()

asyncio.run(main(*sys.argv[1:]))
"""


def grow(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(FILES):
        path = root / f"{number % 17}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if chance.random() < 0.5 or not path.exists():
            path.write_bytes(chance.randbytes(chance.choice((0, 10, 30_000, 400_000))))
            os.utime(path, ns=(seed * 10**9 + number, seed * 10**9 + number))


def receive(source: Path, mirrors: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RECEIVE, str(source), str(mirrors)], stdout=subprocess.PIPE, text=True
    )


def test_what_a_killed_daemon_had_received_is_used_and_nothing_is_wrong(tmp_path: Path) -> None:
    source, mirrors = tmp_path / "source", tmp_path / "mirrors"
    chance = random.Random(7)
    for seed in range(4):
        grow(source, seed + 1)
        with receive(source, mirrors) as process:
            assert process.stdout is not None
            for _ in range(chance.randint(1, 12)):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    with receive(source, mirrors) as process:
        assert process.stdout is not None
        *progress, place = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert 0 < int(progress[-1]) < FILES, "some of it was there already"
    assert len(os.listdir(mirrors)) == 1
    compared = filecmp.dircmp(source, place)
    assert not differences(compared)


def differences(compared: filecmp.dircmp[str]) -> list[str]:
    found = [*compared.left_only, *compared.right_only, *compared.funny_files]
    _, mismatch, errors = filecmp.cmpfiles(compared.left, compared.right, compared.common_files, shallow=False)
    return found + mismatch + errors + [name for each in compared.subdirs.values() for name in differences(each)]
