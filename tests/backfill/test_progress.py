"""Progress: what is told while a job runs, as numbers, as a line, as a bar."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace

import pytest

from marketdata.backfill import bar
from marketdata.backfill import progress as progress_module
from marketdata.backfill.bar import line_of, shown
from marketdata.backfill.outcome import Outcome
from marketdata.backfill.progress import Progress


@pytest.fixture
def hand(monkeypatch):
    """Return a clock that is moved by hand."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock.now)
    return clock


def test_the_pace_of_late_tells_what_is_left(hand):
    progress = Progress()
    assert progress.now().remaining_s is None
    progress.expect(10_000, 10)
    for _ in range(10):
        progress.add(100)
        hand.now += 1
    now = progress.now()
    assert (now.current, now.total, now.percentage) == (1_000, 10_000, 10.0)
    # 1,000 trades in ten seconds; 9,000 are left.
    assert now.per_s == pytest.approx(100)
    assert now.remaining_s == pytest.approx(90)


def test_the_pace_of_an_hour_ago_does_not_count(hand):
    progress = Progress()
    progress.expect(100_000, 1)
    for _ in range(60):
        progress.add(10)
        hand.now += 1
    for _ in range(40):
        progress.add(500)
        hand.now += 1
    assert progress.now().per_s == pytest.approx(500, rel=0.05)


def test_a_pause_is_no_pace(hand):
    progress = Progress()
    progress.expect(10_000, 10)
    progress.add(5_000)
    hand.now += 300
    now = progress.now()
    assert (now.per_s, now.remaining_s) == (0.0, None)


def test_what_turned_out_not_to_exist_is_not_left(hand):
    progress = Progress()
    progress.expect(100, 2)
    progress.add(90)
    progress.finish_chunk(short_by=10)
    assert (progress.now().current, progress.now().total) == (90, 90)
    assert progress.now().percentage == 100.0


def test_where_trades_are_not_known_chunks_are_counted(hand):
    progress = Progress()
    assert progress.now().percentage == 0.0
    progress.expect(0, 4)
    progress.finish_chunk()
    assert progress.now().percentage == 25.0
    progress.add(7)
    assert (progress.now().total, progress.now().percentage) == (7, 100.0)


def test_a_line_says_rows_rate_rest_and_headroom(hand):
    progress = Progress()
    progress.expect(10_000, 10)
    progress.add(1_000)
    hand.now += 2
    progress.breathe(0.93)
    progress.say("asking")
    assert line_of(progress.now()) == (
        "1,000 of 10,000 trades, 10.0 %, 500/s, 18 s left, limit 93% free, asking"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Job:
    """Stands for a runner whose job ends when it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.job = SimpleNamespace(symbol="BTCUSDT")
        self.progress = Progress()
        self.progress.expect(2_000, 2)
        self.progress.add(1_500)
        self.leave = threading.Event()
        self.error = error

    def run(self) -> Outcome:
        assert self.leave.wait(10)
        if self.error:
            raise self.error
        return Outcome(7, "completed")


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_a_terminal_gets_a_bar_and_a_file_gets_lines(kind, monkeypatch):
    monkeypatch.setattr(bar, "LINE_S", 0.05)
    monkeypatch.setattr(bar, "DRAW_S", 0.02)
    job, out = Job(), kind()
    threading.Timer(0.4, job.leave.set).start()
    assert shown(job, out).job == 7
    assert "1,500 of 2,000 trades, 75.0 %" in out.getvalue()
    assert ("\x1b[" in out.getvalue()) is (kind is Terminal)


def test_an_error_nobody_expected_is_raised_where_it_is_seen():
    job = Job(RuntimeError("a bug"))
    job.leave.set()
    with pytest.raises(RuntimeError, match="a bug"):
        shown(job, io.StringIO())
