"""Every venue under its faults, through the real daemon: what was traded is held, or stated."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import sub
from pathlib import Path
from typing import Any

import pytest

from marketdata.core.trades import Trades
from marketdata.simulator.bybit.numerals import Numerals
from tests.daemon.process import Running, until
from tests.venues.drill import SYMBOLS, Place, Stored, places, settle, told, truth, watched
from tests.venues.drill_faults import BEYOND_A_PAGE, STEPS, UNPROVEN, Step, befall, ripen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RECONNECTS = 10
# The web server starts threads and keeps sockets as it is asked; a leak would be ten of a line.
SERVER = 5


@dataclass
class Story:
    """What the drill of one venue came to."""

    place: Place
    error: BaseException | None = None
    proven: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)
    precision: str = ""
    left_out: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    clients: int = 0
    stored: Stored | None = None

    def play(self) -> None:
        """Go through all faults; keep the first error."""
        try:
            self._play()
        except BaseException as error:  # noqa: BLE001  (a thread's error is its test's)
            self.error = error

    def _play(self) -> None:
        place = self.place
        for step in STEPS[place.source]:
            befall(place, step)
        while any(line["reconnects"] < RECONNECTS for line in place.lines()):
            befall(place, Step({"rst": 1}))
        self.proven = place.coverage()
        for step in UNPROVEN.get(place.source, ()):
            # What is lost before the line is joined, the page that joins it brings.
            ripen(place)
            befall(place, step)
            what = f"{place.source}: {place.notes[-1]} told"
            until(lambda: self._told() == self._lost(), what, wait_s=60)
        if place.source in UNPROVEN:
            befall(place, BEYOND_A_PAGE)
        if place.source != "deriv":
            place.compare_books()
        found = place.context()
        self.coverage, self.precision = found["coverage"], found["precision"]
        self.left_out, self.lines = place.events("left_out"), place.lines()
        until(lambda: len(place.status()["clients"]) == len(self.lines), "one connection a line")
        self.clients = len(place.status()["clients"])

    def _told(self) -> int:
        return sum(event["detail"]["trades"] for event in self.place.events("left_out"))

    def _lost(self) -> int:
        done = self.place.venue.faults.done
        return done["drop"] + done["skip"]


@dataclass
class Drill:
    """All stories, and what the process held before and after."""

    stories: dict[str, Story]
    before: tuple[int, int]
    after: tuple[int, int]
    code: int


def held_by(daemon: Running) -> tuple[int, int]:
    """Return how many threads and how many sockets a daemon has."""
    folder = Path(f"/proc/{daemon.process.pid}")
    sockets = 0
    for link in (folder / "fd").iterdir():
        try:
            sockets += str(link.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return len(list((folder / "task").iterdir())), sockets


def skip_near_midnight(seconds: float) -> None:
    if time.time() % 86_400 > 86_400 - seconds:
        pytest.skip("the day ends while this runs")


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """Play all faults of all venues, each against a venue of its own, in one daemon."""
    skip_near_midnight(240)
    folder = tmp_path_factory.mktemp("venues")
    with places(*SYMBOLS) as found:
        stories = {source: Story(place) for source, place in found.items()}
        with watched(folder, found) as daemon:
            before = held_by(daemon)
            threads = [threading.Thread(target=story.play) for story in stories.values()]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            deadline = time.monotonic() + 10
            while max(map(sub, held_by(daemon), before)) > 0 and time.monotonic() < deadline:
                time.sleep(0.2)
            after, code = held_by(daemon), daemon.stop()
        for source, story in stories.items():
            story.stored = Stored.of(folder, source)
        yield Drill(stories, before, after, code)


@pytest.fixture(params=SYMBOLS)
def story(drill: Drill, request: pytest.FixtureRequest) -> Story:
    found = drill.stories[request.param]
    if found.error is not None:
        raise AssertionError(f"after {found.place.notes[-1:]}") from found.error
    return found


def test_nothing_is_counted_twice_or_made_up(story):
    source, stored = story.place.source, story.stored
    held = Counter(as_seen(source, stored.trades))
    assert not held - Counter(as_seen(source, truth(story.place, stored.trades)))
    if source == "bybit":
        assert len(set(stored.names)) == len(stored.names)


@pytest.mark.parametrize("source", ["binance_ws", "binance_futures", "deriv"])
def test_where_it_can_be_proven_all_that_was_traded_is_held(drill, source):
    story = drill.stories[source]
    assert story.error is None
    trades = story.stored.trades
    real = truth(story.place, trades)
    assert as_seen(source, trades) == as_seen(source, real)
    if source != "deriv":
        assert trades.id.tolist() == real.id.tolist()
    assert (story.coverage["missing"], story.coverage["holes"]) == (0, 0)
    assert story.left_out == []
    assert story.precision in ("exact", "backfilling")


def test_where_it_cannot_be_proven_holes_are_stated_and_the_rest_is_exact(drill):
    story = drill.stories["bybit"]
    assert story.error is None
    place, stored = story.place, story.stored
    # The day before the start, and nothing else, after all that a page can bridge.
    assert (story.proven["holes"], story.proven["missing"]) == (1, None)
    assert (story.coverage["holes"], story.coverage["missing"]) == (2, None)
    assert story.precision == "degraded"
    real = truth(place, stored.trades)
    names = numerals(place).ids(real)
    lost: set[str] = set()
    assert len(stored.runs) == 2
    for start, end in stored.runs:
        held = stored.names[start:end]
        first, last = names.index(held[0]), names.index(held[-1])
        part = names[first : last + 1]
        lost |= set(part) - set(held)
        # Frames that changed places may have changed the order within a millisecond.
        rows = zip(told(real[first : last + 1]), part, strict=True)
        kept = [row for row, name in rows if name not in lost]
        assert sorted(told(stored.trades[start:end])) == sorted(kept)
    assert len(lost) == sum(event["detail"]["trades"] for event in story.left_out) > 25
    assert {ref for event in story.left_out for ref in event["detail"]["refs"]} <= lost


def test_ten_reconnects_leave_one_connection_a_line(story):
    expected = 1 if story.place.source == "deriv" else 2
    assert [line["state"] for line in story.lines] == ["live"] * expected
    assert min(line["reconnects"] for line in story.lines) >= RECONNECTS
    assert story.clients == expected


def test_ten_reconnects_leave_no_thread_and_no_socket(drill):
    assert drill.after[0] <= drill.before[0] + SERVER
    assert drill.after[1] <= drill.before[1] + SERVER
    assert sum(line["reconnects"] for x in drill.stories.values() for line in x.lines) >= 70
    assert drill.code == 0


def test_a_kill_in_mid_stream_neither_loses_nor_repeats(tmp_path):
    skip_near_midnight(90)
    with places("binance_futures", "bybit", "deriv") as found:
        for is_first in (True, False):
            with watched(tmp_path, found) as daemon:
                for place in found.values():
                    until(lambda place=place: place.context()["trades"] > 100, "some trades")
                    settle(place)
                if is_first:
                    daemon.kill()
                else:
                    assert daemon.stop() == 0
        for source, place in found.items():
            stored = Stored.of(tmp_path, source)
            if source == "bybit":
                # One stretch, begun by the first daemon and gone on by the second.
                assert len(stored.runs) == 1
                names, real = named(place, stored)
                assert stored.names == names
            else:
                real = truth(place, stored.trades)
            assert as_seen(source, stored.trades) == as_seen(source, real), source


def named(place: Place, stored: Stored) -> tuple[list[str], Trades]:
    """Return what was traded from the first to the last trade held, and how the venue calls it."""
    real = truth(place, stored.trades)
    names = numerals(place).ids(real)
    # Of the first and the last millisecond some may have come before and after.
    inside = slice(names.index(stored.names[0]), names.index(stored.names[-1]) + 1)
    return names[inside], real[inside]


def numerals(place: Place) -> Numerals:
    return place.room.instruments["linear"][place.symbol].numerals


def as_seen(source: str, trades: Trades) -> list[tuple[Any, ...]]:
    """Return what the venue tells of trades: of ticks neither size nor side."""
    return [row[:2] if source == "deriv" else row for row in told(trades)]
