"""One feed from its socket's words to its rows: numbers, days, sides, tickers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from django.db import connections

from marketdata.conf import Conf
from marketdata.context import DAY, day_window
from marketdata.core.errors import StoppedError
from marketdata.core.events import Batch
from marketdata.core.facts import Kline, Liquidation, Mark, Quote
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.numbering import day_numbers, number_at
from marketdata.core.ticks import tick_rule
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.feeds import opening
from marketdata.feeds import splicer as splicing
from marketdata.feeds.flow import EventTape, Flow
from marketdata.feeds.opening import Opener
from marketdata.feeds.source import Source
from marketdata.feeds.tickers import SHOWN_LIQUIDATIONS, Tickers
from marketdata.models import Absence, Edge, Reading
from marketdata.models import Event as EventRow
from marketdata.store import absences, certificates, instruments, ledger, omissions, rows
from marketdata.store.board import Board
from marketdata.store.writer import Writer
from marketdata.verify import verified
from tests.feeds.listening import until

pytestmark = pytest.mark.django_db(transaction=True)
# 2026-08-09T00:00:00Z
DAY_2_US = 1_786_233_600_000_000
DAY_1_US = DAY_2_US - DAY_US
SYMBOLS = {"bybit": "BTCUSDT", "deriv": "R_100"}
GRID = Grid(Decimal("0.01"), Decimal("0.001"))


class House:
    """A source with flow and writer, but no socket: a test says what comes."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.symbol = name, SYMBOLS[name]
        self.writer = Writer(flush_s=0.01)
        self.flow = Flow(Board())
        self.tape = EventTape()
        self.now_us = DAY_2_US + 1_000_000
        self.page = Trades.empty()
        self.wanted: list[tuple[str, int, int]] = []
        settings = Conf(data_dir=folder, depth_interval_ms=0)
        self.source = Source(
            name,
            (self.symbol,),
            settings,
            self.flow,
            self.writer,
            self.tape,
            want=lambda _, symbol, start_us, end_us: self.wanted.append((symbol, start_us, end_us)),
        )
        self.looked = 0
        self.source.splicer.newest = self._newest
        self.writer.start()
        self.flow.start()

    def _newest(self, symbol: str) -> Trades:
        self.looked += 1
        return self.page

    def open(self) -> Instrument:
        """Let the source know its symbol, as the venue's answers would."""
        channel = self.source.channel.name
        instrument = instruments.remember(self.name, self.symbol, GRID, channel=channel)
        opener = Opener(self.source, self.symbol)
        pipeline = opener._pipeline(instrument)
        self.flow.add(pipeline, lambda: self.now_us)
        opener._go_on(instrument)
        self.source.splicer.start()
        self.source.opened([self.symbol])
        return pipeline.instrument

    def came(self, trades: Trades, page: Trades | None = None) -> None:
        """Let trades come over the socket, after a page has them."""
        self.page = trades if page is None else page
        self.source.trades(self.symbol, Batch(trades, recv_us=1))

    def joined(self) -> None:
        until(lambda: self.source.splicer.is_joined(self.symbol), "joined")

    def compared(self) -> None:
        """Wait until the line was compared with the page, and again where there was doubt."""
        asked = self.looked
        until(lambda: self.looked >= asked + 4, "compared with the page")

    def settle(self) -> None:
        self.flow.ask(lambda: None)
        assert self.writer.flush(10)

    @property
    def context(self):
        return self.flow.lanes[self.name, self.symbol].pipeline.context

    def coverage(self, day_us: int):
        return self.flow.ask(lambda: self.context.coverage(self.context.scope(DAY, day_us)))

    def stop(self) -> None:
        self.source.stopping.set()
        self.source.splicer.stop()
        self.flow.stop()
        self.writer.stop(5)
        self.source.client.close()
        connections.close_all()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], House]]:
    monkeypatch.setattr(splicing, "SOONEST_S", 0.02)
    monkeypatch.setattr(splicing, "DOUBT_S", 0.02)
    monkeypatch.setattr(splicing, "LATEST_S", 0.02)
    made: list[House] = []

    def build(name: str) -> House:
        made.append(House(name, tmp_path))
        return made[-1]

    yield build
    for one in made:
        one.stop()


def tape(start_us: int, count: int, step_us: int, prices: list[float] | None = None) -> Trades:
    at = np.arange(count)
    times = start_us + step_us * at
    refs = np.array([b"%d" % (ts_us // 1000) for ts_us in times.tolist()])
    price = np.asarray(prices, dtype=np.float64) if prices else 100.0 + at % 7
    return Trades.of(at, times, price, np.ones(count), at % 2 == 0, ref=refs)


def test_midnight_is_no_hole_and_both_days_are_proven(house):
    bybit = house("bybit")
    instrument = bybit.open()
    # Six trades before midnight and six after it, two of each over the socket in one message.
    trades = tape(DAY_2_US - 6_000, 12, 1000)
    bybit.came(trades[:4])
    bybit.joined()
    bybit.came(trades[4:8], trades[:8])
    bybit.came(trades[8:], trades)
    bybit.settle()
    first, last = number_at(int(trades.ts_us[0])), day_numbers(DAY_2_US)[0]
    assert list(ledger.coverage(instrument.id)) == [(first, first + 5), (last, last + 5)]
    assert list(absences.coverage(instrument.id)) == [(first + 6, last - 1)]
    for day_us in (DAY_1_US, DAY_2_US):
        Edge(instrument_id=instrument.id, start_us=day_us, first_id=number_at(day_us)).save()
        found = bybit.coverage(day_us)
        assert (found.held, found.missing, found.ranges) == (6, 0, ())
    assert [event.kind for _, event in bybit.tape.events].count("gap") == 0
    # What came before the first trade heard is a hole; over midnight there is none.
    answers = [verified(instrument, day_window(day_us), 0) for day_us in (DAY_1_US, DAY_2_US)]
    assert [answer["held"] for answer in answers] == [6, 6]
    assert answers[0]["ranges"] == [[number_at(DAY_1_US), first - 1]]
    assert (answers[1]["missing"], answers[1]["expected"], answers[1]["counted"]) == (0, 6, True)
    assert ledger.audit(instrument.id) == []


def test_a_page_that_spans_midnight_is_no_hole_either(house):
    bybit = house("bybit")
    instrument = bybit.open()
    trades = tape(DAY_2_US - 6_000, 12, 1000)
    bybit.came(trades[:3])
    bybit.joined()
    bybit.source.opened([bybit.symbol])
    bybit.came(trades[9:], trades[2:])
    bybit.joined()
    bybit.settle()
    assert len(list(ledger.coverage(instrument.id))) == 2
    assert bybit.coverage(DAY_1_US).ranges == bybit.coverage(DAY_2_US).ranges == ()
    # Those that came over a socket, and those that only a page had.
    assert bybit.coverage(DAY_1_US).sources == {"live": 3, "rest": 3}
    assert bybit.coverage(DAY_2_US).sources == {"rest": 3, "live": 3}


def test_sides_of_ticks_are_told_over_batches_and_restarts(house):
    prices = [5.0, 5.0, 4.0, 4.0, 4.0, 5.0, 5.0, 6.0, 6.0, 5.0, 5.0, 5.0]
    ticks = tape(DAY_2_US, 12, 2_000_000, prices)
    deriv = house("deriv")
    instrument = deriv.open()
    deriv.came(ticks[:4])
    deriv.joined()
    deriv.came(ticks[4:5], ticks[:5])
    deriv.came(ticks[5:7], ticks[:7])
    deriv.settle()
    deriv.stop()
    again = house("deriv")
    assert again.open().id == instrument.id
    # The price stands still at first: the side is that of the tick stored last.
    again.came(ticks[7:], ticks)
    again.joined()
    again.settle()
    found = Trades.concat(rows.read_ids(instrument.id, 0, 1 << 50))
    assert found.price.tolist() == prices
    assert found.is_buy.tolist() == tick_rule(np.array(prices)).tolist()
    assert len(list(ledger.coverage(instrument.id))) == 1


def test_a_restart_where_the_price_stands_still_goes_on_with_the_last_side(house):
    prices = [5.0, 4.0, 4.0, 4.0, 4.0]
    ticks = tape(DAY_2_US, 5, 2_000_000, prices)
    first = house("deriv")
    first.open()
    first.came(ticks[:2])
    first.joined()
    first.settle()
    first.stop()
    again = house("deriv")
    instrument = again.open()
    again.came(ticks[2:], ticks)
    again.joined()
    again.settle()
    found = Trades.concat(rows.read_ids(instrument.id, 0, 1 << 50))
    assert found.is_buy.tolist() == [True, False, False, False, False]


def test_a_tick_that_was_left_out_is_brought_by_the_venues_history(house):
    ticks = tape(DAY_2_US, 10, 2_000_000)
    deriv = house("deriv")
    instrument = deriv.open()
    deriv.came(ticks[:4])
    deriv.joined()
    deriv.came(ticks[6:7], ticks[:7])
    deriv.joined()
    deriv.settle()
    assert rows.latest(instrument.id, 10).ts_us.tolist() == ticks[:7].ts_us.tolist()
    assert EventRow.objects.filter(kind="left_out").count() == 0
    assert deriv.coverage(DAY_2_US).missing == 0


def test_a_trade_that_was_left_out_is_stated(house):
    trades = tape(DAY_2_US, 10, 1000)
    bybit = house("bybit")
    instrument = bybit.open()
    bybit.came(trades[:4])
    bybit.joined()
    bybit.came(trades[6:8], trades[:8])
    until(lambda: bybit.coverage(DAY_2_US).missing, "stated")
    told = [event for _, event in bybit.tape.events if event.kind == "left_out"]
    refs = [ref.decode() for ref in trades.ref[4:6].tolist()]
    detail = {"trades": 2, "refs": refs}
    assert [event.detail for event in told] == [detail]
    bybit.settle()
    assert EventRow.objects.get(kind="left_out", instrument_id=instrument.id).detail == detail
    found = bybit.coverage(DAY_2_US)
    assert (found.held, found.missing, found.left_out, found.expected) == (6, 2, 2, 8)
    assert (found.is_known, found.ratio, found.ranges) == (True, 0.75, ())


def test_what_was_left_out_is_missing_for_every_count_and_after_a_restart(house):
    trades = tape(DAY_2_US, 10, 20_000_000)
    bybit = house("bybit")
    instrument = bybit.open()
    bybit.came(trades[:2])
    bybit.joined()
    # Whole so far, and certified.
    bybit.settle()
    window = day_window(DAY_2_US)
    assert verified(instrument, window, 0)["missing"] == 0
    known = certificates.version(instrument.id, window.start_us, window.end_us)
    bybit.came(trades[7:8], trades[:8])
    until(lambda: bybit.coverage(DAY_2_US).left_out == 5, "stated")
    bybit.settle()
    bybit.stop()
    answer = verified(instrument, window, 0)
    assert (answer["held"], answer["missing"], answer["left_out"]) == (3, 5, 5)
    assert (answer["counted"], answer["expected"], answer["ranges"]) == (True, 8, [])
    # Certified before, counted again now.
    assert certificates.version(instrument.id, window.start_us, window.end_us) != known
    assert verified(instrument, day_window(DAY_1_US), 0)["left_out"] == 0
    # The page still has them, and they are told no second time.
    again = house("bybit")
    again.open()
    assert again.coverage(DAY_2_US).left_out == 5
    again.came(trades[8:9], trades[:9])
    again.joined()
    again.compared()
    again.settle()
    assert again.coverage(DAY_2_US).left_out == 5
    assert EventRow.objects.filter(kind="left_out").count() == 1
    assert verified(instrument, window, 0)["left_out"] == 5


def test_what_lies_in_a_hole_that_is_stated_is_not_left_out_besides(house):
    trades = tape(DAY_2_US, 20, 1000)
    bybit = house("bybit")
    instrument = bybit.open()
    bybit.came(trades[:4])
    bybit.joined()
    # The page that could join them does not come in time: a hole, and a stretch of its own.
    bybit.source.opened([bybit.symbol])
    bybit.came(trades[9:11], trades[9:11])
    bybit.joined()
    bybit.settle()
    assert (len(bybit.coverage(DAY_2_US).ranges), bybit.coverage(DAY_2_US).left_out) == (1, 0)
    # Later pages have what lies in the hole; of the stretch they show one more that is lacking.
    bybit.came(trades[12:13], trades[:13])
    until(lambda: bybit.coverage(DAY_2_US).left_out, "told")
    bybit.compared()
    assert bybit.coverage(DAY_2_US).left_out == 1
    bybit.settle()
    bybit.stop()
    # Nor after a restart, which knows the refs of both sides.
    again = house("bybit")
    again.open()
    again.came(trades[13:14], trades[:14])
    again.joined()
    again.compared()
    assert again.coverage(DAY_2_US).left_out == 1
    assert list(omissions.times(instrument.id)) == [int(trades.ts_us[11])]


def test_a_stretch_that_begins_anew_has_its_day_asked_for_where_there_is_a_past(house):
    for name, expected in (("bybit", []), ("deriv", [("R_100", DAY_2_US, DAY_2_US + 1_000_000)])):
        one = house(name)
        one.open()
        one.came(tape(DAY_2_US, 3, 2_000_000))
        one.joined()
        until(lambda one=one, expected=expected: one.wanted == expected, name)


def test_numbers_that_no_trade_has_are_no_news(house):
    deriv = house("deriv")
    instrument = deriv.open()
    deriv.came(tape(DAY_2_US, 3, 2_000_000))
    deriv.joined()
    pipeline = deriv.flow.lanes["deriv", "R_100"].pipeline
    run = (number_at(DAY_2_US) + 100, number_at(DAY_2_US) + 200)
    deriv.source.lacks(pipeline, [run], "exchange_side", "nothing was traded")
    deriv.settle()
    assert run in list(absences.coverage(instrument.id))
    assert not [event for _, event in deriv.tape.events if event.kind.startswith("hole_")]
    deriv.source.lacks(pipeline, [(run[1] + 10, run[1] + 20)], "permanent", "asked for in vain")
    assert [event.kind for _, event in deriv.tape.events if event.kind.startswith("hole_")] == [
        "hole_permanent"
    ]


def test_what_was_only_given_up_is_missing_after_a_restart_too(house):
    bybit = house("bybit")
    instrument = bybit.open()
    trades = tape(DAY_2_US, 12, 1000)
    bybit.came(trades[:3])
    bybit.joined()
    bybit.source.opened([bybit.symbol])
    bybit.came(trades[8:], trades[8:])
    bybit.joined()
    bybit.settle()
    (hole,) = bybit.coverage(DAY_2_US).ranges
    writer = bybit.writer
    writer.put_absence(instrument.id, [hole], Absence.Kind.PERMANENT, "asked for in vain", 1)
    writer.put_absence(instrument.id, [(5, 9)], Absence.Kind.EXCHANGE_SIDE, "no trade", 1)
    bybit.stop()
    again = house("bybit")
    again.source.client = SimpleNamespace(
        listing=lambda symbol: SimpleNamespace(grid=GRID),
        day=lambda symbol, day_us: None,
        label="",
        close=lambda: None,
    )
    again.source.clock = lambda: again.now_us
    Opener(again.source, again.symbol).run()
    assert again.coverage(DAY_2_US).ranges == (hole,)
    assert (5, 9) in list(again.context.absent)


def test_a_symbol_is_opened_however_busy_the_flow_is(house, monkeypatch, caplog):
    monkeypatch.setattr(opening, "PATIENCE_S", 0.02)
    monkeypatch.setattr(opening, "BREATH_S", 0.01)
    bybit, done, gate = house("bybit"), [], threading.Event()
    opener = Opener(bybit.source, bybit.symbol)
    bybit.flow.tell(gate.wait)
    asking = threading.Thread(target=lambda: opener._ask(lambda: done.append(1)))
    asking.start()
    until(lambda: "the flow is busy source=bybit symbol=BTCUSDT" in caplog.text, "told")
    gate.set()
    asking.join(5)
    assert done == [1]
    # A flow that has ended is waited for until the process stops.
    bybit.flow.stop()
    bybit.source.stopping.set()
    with pytest.raises(StoppedError):
        opener._ask(lambda: None)


# Tickers.


class Rows:
    def __init__(self) -> None:
        self.rows: list[Reading] = []

    def put_row(self, row: Reading) -> None:
        self.rows.append(row)


@pytest.fixture
def kept() -> Rows:
    return Rows()


def test_a_mark_keeps_what_was_not_said_again(kept):
    tickers = Tickers(kept, lambda symbol: 7)
    tickers.take([("BTCUSDT", Mark(10, mark=101.0, index=100.0, open_interest=5.0))])
    tickers.take([("BTCUSDT", Mark(12, funding_rate=0.0)), ("ETHUSDT", Mark(12, mark=3.0))])
    tickers.take([("BTCUSDT", Mark(11, mark=102.0))])
    state = tickers.state("BTCUSDT")
    assert state.mark == Mark(12, mark=102.0, index=100.0, funding_rate=0.0, open_interest=5.0)
    assert state.basis == pytest.approx(0.02)
    assert tickers.state("ETHUSDT").basis is None
    assert tickers.state("SOLUSDT").mark is None
    assert kept.rows == []


def test_liquidations_are_stored_each_once_signed_and_shown_newest_last(kept):
    tickers = Tickers(kept, {"BTCUSDT": 7}.get)
    sold = Liquidation(100, 50.0, 2.0, is_buy=False, is_sample=True)
    bought = Liquidation(100, 51.0, 3.0, is_buy=True, is_sample=False)
    later = Liquidation(101, 52.0, 4.0, is_buy=True, is_sample=False)
    tickers.take([("BTCUSDT", sold), ("BTCUSDT", bought), ("ETHUSDT", sold), ("BTCUSDT", later)])
    assert [(r.instrument_id, r.kind, r.ts_us, r.number, r.value, r.detail) for r in kept.rows] == [
        (7, "liquidation", 100, 0, -2.0, {"price": 50.0, "sample": True}),
        (7, "liquidation", 100, 1, 3.0, {"price": 51.0, "sample": False}),
        (7, "liquidation", 101, 0, 4.0, {"price": 52.0, "sample": False}),
    ]
    assert tickers.state("BTCUSDT").liquidations == (sold, bought, later)
    # Of a symbol that is not opened it is shown all the same.
    assert tickers.state("ETHUSDT").liquidations == (sold,)
    many = [
        ("BTCUSDT", Liquidation(200 + n, 1.0, 1.0, is_buy=True, is_sample=True)) for n in range(60)
    ]
    tickers.take(many)
    assert len(tickers.state("BTCUSDT").liquidations) == SHOWN_LIQUIDATIONS
    assert tickers.state("BTCUSDT").liquidations[-1].ts_us == 259


def test_a_liquidation_that_two_connections_tell_is_one(kept):
    tickers = Tickers(kept, lambda symbol: 7)
    told = Liquidation(100, 50.0, 2.0, is_buy=False, is_sample=True)
    tickers.take([("BTCUSDT", told)])
    tickers.take([("BTCUSDT", told)])
    assert len(kept.rows) == len(tickers.state("BTCUSDT").liquidations) == 1


def test_quotes_and_candles_are_the_newest_ones(kept):
    tickers = Tickers(kept, lambda symbol: 7)
    quotes = [Quote(5, ts_us, 99.0, 1.0, 100.0, 2.0) for ts_us in (1, 2)]
    candle = Kline("1m", 60, 1.0, 3.0, 0.5, 2.0, 10.0, 20.0, None, None, is_closed=False)
    tickers.take([("BTCUSDT", quotes[0]), ("BTCUSDT", candle), ("BTCUSDT", quotes[1])])
    state = tickers.state("BTCUSDT")
    assert (state.quote, state.kline, state.mark) == (quotes[1], candle, None)
