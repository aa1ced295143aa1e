"""`kill -9` of memlogd, logwrite and logread at random moments: the files account for every line.

Each line carries a number. BOAT_LOG_LINES=10000000 makes it ten million of them (`./dev test
tests/integration/test_logs_killed.py`).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

from fixtures.log_programs import Numbered, Programs, account, until

LINES = int(os.environ.get("BOAT_LOG_LINES", "200000"))
SOURCES = 4


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    programs = Programs(
        tmp_path_factory.mktemp("logs"),
        ["-quiet"],
        ["-max-log-files", "100000", "-max-log-size", str(max(1 << 20, LINES * 2))],
    )
    yield programs
    programs.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("seed", "rounds", "flags"),
    [
        (1, 8, ("-max-lines", "100000", "-backlog", "67108864")),
        (2, 8, ()),
        (3, 8, ("-fair", "-max-lines", "2000", "-split", "-max-line-len", "40")),
    ],
)
def test_every_number_is_in_the_files_or_told_to_be_missing(
    programs: Programs, seed: int, rounds: int, flags: tuple[str, ...]
) -> None:
    chance = random.Random(seed)
    programs.memlogd_flags = [*programs.memlogd_flags, *flags]
    for name in ("memlogd", "logwrite"):
        programs.start(name)
    programs.start("logread", "-F")
    sources = [
        Numbered(programs.log_socket, f"source{number}", LINES // SOURCES, together=chance.choice([1, 20, 80]))
        for number in range(SOURCES)
    ]
    for source in sources:
        source.start()
    for _ in range(rounds):
        time.sleep(chance.uniform(0, 0.3))
        for name in chance.sample(["memlogd", "logwrite", "logread"], chance.randint(1, 3)):
            if name in programs.running:  # logread ends when nobody answers at its start
                programs.kill(name)
        time.sleep(chance.uniform(0, 0.1))
        missing = [name for name in ("memlogd", "logwrite", "logread") if name not in programs.running]
        chance.shuffle(missing)
        for name in missing:
            programs.start(name, *(["-F"] if name == "logread" else []))
        if "logread" in programs.running and programs.running["logread"].poll() is not None:
            programs.running.pop("logread")
    for source in sources:
        source.finish()
    for source in sources:
        until(lambda source=source: programs.files_end(source.source, source.written - 1), source.source)
    assert programs.stop("logwrite") == 0 and programs.stop("memlogd") == 0
    accounts = [account(programs.lines(source.source), source.source, source.written) for source in sources]
    assert all(each.seen for each in accounts)
    assert any(each.records for each in accounts), "nothing was killed at a moment that mattered"
