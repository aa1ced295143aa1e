"""The daemon's configuration: where values come from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.client.places import places
from boatyard.daemon.config import Config, load
from boatyard.daemon.quantities import parse_duration, parse_space
from boatyard.errors import InvalidError, NotFoundError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "boatd.toml"


def read(file: Path | None, text: str = "", environ: dict[str, str] | None = None, **flags: Any) -> Config:
    if file is not None:
        file.write_text(text)
    return load(
        places({}, 0),
        environ or {},
        {(name,): value for name, value in flags.items()},
        file=str(file) if file else "",
        autostarted=False,
    )


def test_without_anything_the_defaults_stand(file: Path) -> None:
    config = read(file)
    assert config.root == "/var/lib/boatyard"
    assert config.listen == ("unix:///run/boatyard/boatd.sock",)
    assert config.idle_timeout == 0


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path) -> None:
    text = 'root = "/file"\nrun = "/file"\nmax_parallelism = 1\n[log]\nlevel = "debug"'
    environ = {"BOATD_RUN": "/environ", "BOATD_MAX_PARALLELISM": "2", "BOATD_LOG_LEVEL": "error"}
    config = read(file, text, environ, max_parallelism=3)
    assert (config.root, config.run, config.max_parallelism, config.log.level) == ("/file", "/environ", 3, "error")
    assert config.listen == ("unix:///environ/boatd.sock",)
    assert config.file == str(file)


def test_everything_that_is_documented_can_be_said(file: Path) -> None:
    config = read(
        file,
        """
        idle_timeout = "1h30m"
        entitlements = ["network.host"]
        [gc]
        max_used_space = "20%"
        [[gc.policies]]
        filters = ["type==source.local"]
        keep_duration = "48h"
        max_used_space = "512MB"
        [history]
        max_age = "7d"
        [proxy]
        http = "http://proxy:3128"
        """,
    )
    assert config.idle_timeout == 5400
    assert config.gc.max_used_space is not None
    assert config.gc.max_used_space.of(1000) == 200
    assert config.gc.policies[0].keep_duration == 48 * 3600
    assert config.gc.policies[0].max_used_space.of(1) == 512_000_000
    assert config.proxy.variables() == {"HTTP_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('idel_timeout = "1h"', "unknown key 'idel_timeout'", "did you mean 'idle_timeout'?"),
        ('[gc]\nmax-used-space = "1"', "unknown key 'gc.max-used-space'", "did you mean 'max_used_space'?"),
        ("[[gc.policies]]\nfilter = []", "unknown key 'gc.policies.1.filter'", "did you mean 'filters'?"),
        ('[registry."a.b"]\nmirors = []', "unknown key 'registry.a.b.mirors'", "did you mean 'mirrors'?"),
        ("[nothing]", "unknown key 'nothing'", "known here: "),
        ('file = "x"', "unknown key 'file'", ""),
        ('idle_timeout = "10 parsecs"', "not a duration", ""),
        ('[gc]\nmax_used_space = "200%"', "not a size", ""),
        ('[log]\nlevel = "loud"', "loud", ""),
        ("listen = 3", "listen", ""),
        ("gc = 3", "gc", ""),
        ("max_parallelism = -1", "negative", ""),
        ('entitlements = ["all"]', "unknown entitlement 'all'", "known: "),
        ("a = ", "not valid TOML", ""),
    ],
)
def test_what_is_wrong_is_named(file: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidError) as raised:
        read(file, text)
    assert message in raised.value.message
    assert str(file) in raised.value.message
    assert hint in (raised.value.hint or "")


def test_a_file_that_was_asked_for_must_exist(file: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        load(places({}, 0), {}, {}, file=str(file), autostarted=False)


def test_the_default_file_need_not_exist(file: Path) -> None:
    config = load(places({"BOATD_CONFIG": str(file)}, 0), {}, {}, autostarted=False)
    assert config.file == ""


def test_a_daemon_that_a_client_started_goes_away_by_itself(file: Path) -> None:
    assert load(places({"BOATD_CONFIG": str(file)}, 0), {}, {}, autostarted=True).idle_timeout == 900
    file.write_text("idle_timeout = 5")
    assert load(places({"BOATD_CONFIG": str(file)}, 0), {}, {}, autostarted=True).idle_timeout == 5


@pytest.mark.parametrize(
    ("text", "seconds"), [(5, 5), (1.5, 1.5), ("90", 90), ("90s", 90), ("1h30m", 5400), ("2w", 1209600), ("100ms", 0.1)]
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "1x", "-1s", "1h junk", -1, True, None, float("nan"), float("inf")])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(InvalidError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [(5, 5), ("10", 10), ("10kB", 10_000), ("1KiB", 1024), ("1.5GB", 1_500_000_000), ("2 TiB", 2 << 40)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_space(text).of(0) == size


@pytest.mark.parametrize("text", ["", "GB", "101%", "-5", -5, True, 1.5, "1 zb"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(InvalidError):
        parse_space(text)


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    for parse in (parse_duration, parse_space):
        try:
            assert parse(text) >= 0
        except InvalidError:
            pass
