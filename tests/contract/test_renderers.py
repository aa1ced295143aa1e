"""What every renderer of progress promises, whatever it looks like: driven by the same recorded streams of events."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.cli.render.plain import PlainRenderer
from boatyard.cli.render.quiet import QuietRenderer
from boatyard.cli.render.rawjson import RawJsonRenderer
from boatyard.cli.render.renderer import Renderer
from boatyard.cli.render.tty import TtyRenderer
from boatyard.cli.style import Style
from boatyard.progress import (
    Event,
    ExplainEvent,
    LogEvent,
    Range,
    StatusEvent,
    VertexEvent,
    WarningEvent,
)
from fixtures.screen import Screen

NOW = 1_700_000_000.0
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\x1b[77Aevil"


@dataclass
class Shown:
    """A renderer, what it wrote, and a clock that the test moves."""

    make: Callable[[Shown], Renderer]
    columns: int = 80
    now: float = NOW
    written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.screen = Screen(self.columns, 24)
        self.renderer = self.make(self)

    def write(self, text: str) -> None:
        self.written.append(text)

    @property
    def text(self) -> str:
        return "".join(self.written)

    def play(self, events: Sequence[Event], *, step: float = 0.2, failed: bool = False) -> str:
        for event in events:
            self.renderer.event(event)
            self.now += step
            self.renderer.tick()
        self.renderer.close(failed=failed)
        return self.text


def _plain(shown: Shown) -> Renderer:
    return PlainRenderer(shown.write, Style(False), clock=lambda: shown.now)


def _plain_on_terminal(shown: Shown) -> Renderer:
    return PlainRenderer(shown.write, Style(True), raw=False, clock=lambda: shown.now)


def _tty(shown: Shown) -> Renderer:
    return TtyRenderer(shown.write, Style(False), lambda: shown.screen.size, clock=lambda: shown.now)


def _tty_in_colour(shown: Shown) -> Renderer:
    return TtyRenderer(shown.write, Style(True), lambda: shown.screen.size, clock=lambda: shown.now)


MAKERS: dict[str, tuple[Callable[[Shown], Renderer], int]] = {
    "plain": (_plain, 80),
    "plain on a terminal": (_plain_on_terminal, 80),
    "tty": (_tty, 80),
    "tty in colour": (_tty_in_colour, 80),
    "tty of 20 columns": (_tty, 20),
    "tty of 1 column": (_tty, 1),
    "rawjson": (lambda shown: RawJsonRenderer(shown.write), 80),
    "quiet": (lambda _: QuietRenderer(), 80),
}
FOR_PEOPLE = ("plain on a terminal", "tty", "tty in colour", "tty of 20 columns")


def _vertex(number: int, name: str, **state: object) -> VertexEvent:
    return VertexEvent(digest=f"sha256:{number:064d}", name=name, **state)  # type: ignore[arg-type]


def _log(number: int, data: str, at: float = 1.0) -> LogEvent:
    return LogEvent(vertex=f"sha256:{number:064d}", stream=1, data=data, time=NOW + at)


def _transfer(number: int, name: str, millions: int, completed: float | None = None) -> StatusEvent:
    return StatusEvent(
        vertex=f"sha256:{number:064d}",
        id="t",
        name=name,
        current=millions * 10**6,
        total=10**7,
        started=NOW,
        completed=completed,
    )


LINT = WarningEvent(code="FromAsCasing", short="casing differs", filename="Dockerfile", range=Range(3, 3), detail="why")

STREAMS: dict[str, list[Event]] = {
    "nothing": [],
    "cached": [
        _vertex(1, "[1/3] FROM base"),
        _vertex(2, "[2/3] RUN make"),
        _vertex(3, "[3/3] COPY . ."),
        _vertex(3, "[3/3] COPY . .", started=NOW, completed=NOW, cached=True),
        _vertex(1, "[1/3] FROM base", completed=NOW, skipped=True),
        _vertex(2, "[2/3] RUN make", completed=NOW, skipped=True),
    ],
    "parallel": [
        _vertex(1, "[a 1/1] RUN one", started=NOW),
        _vertex(2, "[b 1/1] RUN two", started=NOW + 1),
        _log(1, "one: first\none: sec"),
        _log(2, "two: first\n"),
        _log(1, "ond\n"),
        _log(2, "two: without a newline"),
        _vertex(2, "[b 1/1] RUN two", started=NOW + 1, completed=NOW + 3),
        _vertex(1, "[a 1/1] RUN one", started=NOW, completed=NOW + 4),
    ],
    "failing": [
        _vertex(1, "[1/2] RUN false", started=NOW),
        _vertex(2, "[2/2] RUN later", started=NOW),
        _log(1, "cc: error\n"),
        _vertex(1, "[1/2] RUN false", started=NOW, completed=NOW + 1, error="exit code: 1"),
        _vertex(2, "[2/2] RUN later", started=NOW, completed=NOW + 1, error="cancelled"),
    ],
    "transfer": [
        _vertex(1, "[internal] load build context", started=NOW),
        *(_transfer(1, "transferring context", millions) for millions in range(1, 9)),
        _transfer(1, "transferring context", 10, completed=NOW + 2),
        _vertex(1, "[internal] load build context", started=NOW, completed=NOW + 2),
    ],
    "group": [
        _vertex(1, "copy a", group="COPY a b", started=NOW),
        _vertex(2, "copy b", group="COPY a b"),
        _vertex(1, "copy a", group="COPY a b", started=NOW, completed=NOW + 1),
        _vertex(2, "copy b", group="COPY a b", started=NOW + 1, completed=NOW + 2),
    ],
    "linked": [
        _vertex(2, "LINK COPY --link a", group="COPY --link a"),
        _vertex(1, "COPY --link a", group="COPY --link a", started=NOW, completed=NOW, cached=True),
        _vertex(2, "LINK COPY --link a", group="COPY --link a", started=NOW, completed=NOW),
    ],
    "remarks": [
        _vertex(1, "RUN x", started=NOW, completed=NOW),
        LINT,
        LINT,
        ExplainEvent(vertex=f"sha256:{1:064d}", name="RUN x", reasons=("the argument A changed: 1 -> 2",)),
    ],
    "hostile": [
        _vertex(1, f"RUN {HOSTILE}", started=NOW),
        _log(1, f"{HOSTILE}\nline\rbar\rbaz\n"),
        StatusEvent(vertex=f"sha256:{1:064d}", id="x", name=HOSTILE, current=1),
        _vertex(1, f"RUN {HOSTILE}", started=NOW, completed=NOW + 1, error=HOSTILE),
        WarningEvent(code=HOSTILE, short=HOSTILE, filename=HOSTILE, detail=HOSTILE),
    ],
    "wide": [
        _vertex(1, "RUN 日本語のとても長い名前のステップ" * 5, started=NOW),
        _log(1, "進捗" * 100 + "\n"),
        _log(1, "e\u0301" * 200),
        _vertex(1, "RUN 日本語のとても長い名前のステップ" * 5, started=NOW, completed=NOW + 1),
    ],
    "vanished": [_vertex(1, "RUN endless", started=NOW), _log(1, "going\n")],
    "unannounced": [_log(7, "from nowhere\n"), StatusEvent(vertex="other", id="s", name="s")],
    "crowd": [_vertex(n, f"RUN job {n}", started=NOW) for n in range(100)],
}


@pytest.fixture(params=MAKERS)
def shown(request: pytest.FixtureRequest) -> Shown:
    make, columns = MAKERS[request.param]
    return Shown(make, columns)


@pytest.fixture(params=FOR_PEOPLE)
def shown_to_a_person(request: pytest.FixtureRequest) -> Shown:
    make, columns = MAKERS[request.param]
    return Shown(make, columns)


@pytest.mark.parametrize("name", STREAMS)
def test_any_stream_is_shown_to_its_end(shown: Shown, name: str) -> None:
    shown.play(STREAMS[name])


@pytest.mark.parametrize("name", STREAMS)
def test_closing_twice_adds_nothing(shown: Shown, name: str) -> None:
    before = shown.play(STREAMS[name])
    shown.renderer.close()
    assert shown.text == before


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("kind", ["tty", "tty in colour", "tty of 20 columns"])
def test_a_terminal_is_left_with_its_cursor_and_without_wrapped_lines(kind: str, name: str) -> None:
    make, columns = MAKERS[kind]
    shown = Shown(make, columns)
    text = shown.play(STREAMS[name]).partition("\nNot cached")[0].partition("\n1 warning")[0]
    shown.screen.write(text)
    assert not shown.screen.cursor_hidden
    assert shown.screen.longest <= shown.screen.columns


@pytest.mark.parametrize("name", STREAMS)
def test_no_control_sequence_of_a_step_reaches_a_terminal(shown_to_a_person: Shown, name: str) -> None:
    text = shown_to_a_person.play(STREAMS[name])
    ours = re.sub(r"\x1b\[(?:\d+A|[KJ]|\?25[hl]|\?2026[hl]|\d*m)", "", text)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", ours)
    assert "\x1b[77A" not in text
    assert "owned" not in text


@pytest.mark.parametrize("kind", ["plain", "plain on a terminal", "rawjson"])
def test_every_line_of_every_log_is_there(kind: str) -> None:
    make, columns = MAKERS[kind]
    text = _logged(Shown(make, columns), STREAMS["parallel"])
    for line in ("one: first", "one: second", "two: first", "two: without a newline"):
        assert line in text


def _logged(shown: Shown, events: Sequence[Event]) -> str:
    text = shown.play(events)
    if not isinstance(shown.renderer, RawJsonRenderer):
        return text
    logs = [log for line in text.splitlines() for log in json.loads(line).get("logs", ())]
    steps = sorted({log["vertex"] for log in logs})
    return "\n".join(
        "".join(base64.b64decode(log["data"]).decode() for log in logs if log["vertex"] == step) for step in steps
    )


@pytest.mark.parametrize("kind", ["plain", "plain on a terminal", "tty", "tty in colour"])
def test_cached_and_skipped_steps_are_told_apart(kind: str) -> None:
    make, columns = MAKERS[kind]
    text = re.sub(r"\x1b\[\d*m", "", Shown(make, columns).play(STREAMS["cached"]))
    assert text.count("CACHED") == 1
    assert text.count("SKIPPED") == 2


@pytest.mark.parametrize("kind", ["plain", "tty"])
def test_a_linked_copy_is_cached_when_what_it_copies_is(kind: str) -> None:
    make, columns = MAKERS[kind]
    text = Shown(make, columns).play(STREAMS["linked"])
    assert "CACHED" in text
    assert "LINK COPY" not in text


def test_plain_tells_once_that_a_linked_copy_is_cached() -> None:
    make, columns = MAKERS["plain"]
    told_of, last = (
        STREAMS["linked"][1],
        _vertex(2, "LINK", group="COPY --link a", started=NOW, completed=NOW, cached=True),
    )
    assert Shown(make, columns).play([told_of, last]).count("CACHED") == 1


@pytest.mark.parametrize("kind", ["plain", "tty"])
def test_a_failed_step_is_an_error_and_a_stopped_one_is_not(kind: str) -> None:
    make, columns = MAKERS[kind]
    text = Shown(make, columns).play(STREAMS["failing"], failed=True)
    assert text.count("ERROR") == 1
    assert text.count("CANCELLED") == 1


@pytest.mark.parametrize("kind", ["plain", "tty"])
def test_the_same_remark_is_shown_once(kind: str) -> None:
    make, columns = MAKERS[kind]
    text = Shown(make, columns).play(STREAMS["remarks"])
    assert text.count("FromAsCasing: casing differs (Dockerfile:3)") == 1
    assert "1 warning (use --debug to expand)" in text
    assert "the argument A changed: 1 -> 2" in text


@pytest.mark.parametrize("kind", ["plain", "tty", "quiet"])
def test_the_last_lines_of_a_step_can_be_asked_for(kind: str) -> None:
    make, columns = MAKERS[kind]
    shown = Shown(make, columns)
    shown.play(STREAMS["failing"], failed=True)
    log = shown.renderer.log_of(f"sha256:{1:064d}")
    assert log is not None
    assert log.last(5) == ["cc: error"]
    assert shown.renderer.log_of("unknown") is None


def test_quiet_says_nothing() -> None:
    make, columns = MAKERS["quiet"]
    assert all(Shown(make, columns).play(events) == "" for events in STREAMS.values())


def test_plain_looks_like_buildkits() -> None:
    make, columns = MAKERS["plain"]
    assert Shown(make, columns).play(STREAMS["parallel"]).splitlines() == [
        "#1 [a 1/1] RUN one",
        "",
        "#2 [b 1/1] RUN two",
        "#1 1.000 one: first",
        "#2 0.000 two: first",
        "#1 1.000 one: second",
        "#2 2.000 two: without a newline",
        "#2 DONE 2.0s",
        "#1 DONE 4.0s",
    ]


def test_plain_tells_of_a_transfer_now_and_then_and_at_its_end() -> None:
    make, columns = MAKERS["plain"]
    lines = Shown(make, columns).play(STREAMS["transfer"], step=1.0).splitlines()
    told = [line for line in lines if "transferring" in line]
    assert told[0] == "#1 transferring context: 1MB / 10MB 1MB/s"
    assert told[-1] == "#1 transferring context: 10MB 2.0s done"
    assert len(told) == 4


def test_rawjson_has_buildkits_keys() -> None:
    make, columns = MAKERS["rawjson"]
    lines = Shown(make, columns).play([*STREAMS["cached"], *STREAMS["transfer"]]).splitlines()
    documents = [json.loads(line) for line in lines]
    assert {key for document in documents for key in document} == {"vertexes", "statuses"}
    cached = next(document["vertexes"][0] for document in documents if document.get("vertexes", [{}])[0].get("cached"))
    assert cached == {
        "digest": f"sha256:{3:064d}",
        "name": "[3/3] COPY . .",
        "started": "2023-11-14T22:13:20Z",
        "completed": "2023-11-14T22:13:20Z",
        "cached": True,
    }


def test_the_live_view_shows_what_runs_its_last_lines_and_its_transfers() -> None:
    make, columns = MAKERS["tty"]
    shown = Shown(make, columns)
    for event in [
        *STREAMS["parallel"][:4],
        _vertex(3, "load", started=NOW),
        _transfer(3, "sending", 5),
    ]:
        shown.renderer.event(event)
    shown.now += 2
    shown.renderer.tick()
    shown.screen.write(shown.text)
    assert shown.screen.cursor_hidden
    assert shown.screen.visible == [
        "[+] Building 2.0s (0/3)",
        " => [a 1/1] RUN one" + " " * 56 + "2.0s",
        "    one: first",
        "    one: sec",
        " => load" + " " * 67 + "2.0s",
        " => => sending: 5MB / 10MB 2.5MB/s",
        " => [b 1/1] RUN two" + " " * 56 + "1.0s",
        "    two: first",
        "",
    ]


def test_the_live_view_never_takes_more_rows_than_there_are() -> None:
    make, _ = MAKERS["tty"]
    shown = Shown(make)
    shown.play(STREAMS["crowd"][:-1], step=0.0)
    shown = Shown(make)
    for event in STREAMS["crowd"]:
        shown.renderer.event(event)
    shown.now += 2
    shown.renderer.tick()
    shown.screen.write(shown.text)
    assert len(shown.screen.lines) <= shown.screen.rows - 1
    assert shown.screen.lines[-1] == " … 79 more steps running"
    assert shown.screen.scrolled == []


def test_the_live_view_survives_a_terminal_made_narrower_while_it_is_drawn() -> None:
    make, columns = MAKERS["tty"]
    shown = Shown(make, columns)
    for number, event in enumerate(STREAMS["parallel"]):
        shown.renderer.event(event)
        shown.now += 0.2
        shown.renderer.tick()
        shown.screen.write(shown.text)
        shown.written.clear()
        shown.screen.resize(80 - 7 * number, 24)
    shown.renderer.close()
    shown.screen.write(shown.text)
    assert sum("[+]" in line for line in shown.screen.lines) == 1
    assert shown.screen.lines[-1].startswith("[+] Built in")


def test_a_build_that_ends_at_once_is_never_drawn_live() -> None:
    make, columns = MAKERS["tty"]
    text = Shown(make, columns).play(STREAMS["cached"], step=0.001)
    assert "Building" not in text
    assert "\x1b[?25l" not in text


def test_what_did_not_change_is_not_drawn_again() -> None:
    make, columns = MAKERS["tty"]
    shown = Shown(make, columns)
    shown.renderer.event(STREAMS["vanished"][0])
    shown.now += 1
    shown.renderer.tick()
    before = shown.text
    shown.renderer.tick()
    assert shown.text == before


def test_a_stopped_process_leaves_the_terminal_usable_and_goes_on_below() -> None:
    make, columns = MAKERS["tty"]
    shown = Shown(make, columns)
    shown.renderer.event(STREAMS["vanished"][0])
    shown.now += 1
    shown.renderer.tick()
    assert isinstance(shown.renderer, TtyRenderer)
    shown.renderer.pause()
    shown.screen.write(shown.text)
    shown.written.clear()
    assert not shown.screen.cursor_hidden
    shown.screen.write("$ fg\n")
    shown.now += 1
    shown.renderer.tick()
    shown.screen.write(shown.text)
    assert "$ fg" in shown.screen.lines


_digests = st.sampled_from(["a", "b", "c"])
_times = st.none() | st.floats(NOW - 5, NOW + 100)
_texts = st.text(max_size=60)
_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        VertexEvent,
        digest=_digests,
        name=_texts,
        started=_times,
        completed=_times,
        cached=st.booleans(),
        skipped=st.booleans(),
        error=_texts,
        group=st.sampled_from(["", "g"]),
    ),
    st.builds(
        StatusEvent,
        vertex=_digests,
        id=_digests,
        name=_texts,
        current=st.integers(0, 2**60),
        total=st.integers(0, 2**60),
        started=_times,
        completed=_times,
    ),
    st.builds(LogEvent, vertex=_digests, stream=st.sampled_from([1, 2]), data=_texts, time=st.floats(NOW, NOW + 100)),
    st.builds(WarningEvent, short=_texts, code=_texts, detail=_texts, url=_texts, filename=_texts),
    st.builds(ExplainEvent, vertex=_digests, name=_texts, reasons=st.lists(_texts, max_size=3).map(tuple)),
)


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=100, deadline=None)
@given(events=st.lists(_events, max_size=25))
def test_no_order_of_events_upsets_a_renderer(kind: str, events: list[Event]) -> None:
    make, columns = MAKERS[kind]
    shown = Shown(make, columns)
    text = shown.play(events)
    if kind.startswith("tty of 20"):
        live = [line for line in text.split("\x1b[?2026l") if "\x1b[?2026h" in line]
        shown.screen.write("".join(live))
        assert shown.screen.longest <= shown.screen.columns
    if kind == "rawjson":
        assert len([json.loads(line) for line in text.split("\n")[:-1]]) == len(events)
