"""A running desk without a venue: the real flow, board and publisher, fed made-up trades."""

import threading
import time
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from marketdata import live
from marketdata.context import DAY, MarketContext, PreviousDay
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US, SECOND_US, open_us
from marketdata.core.trades import Trades
from marketdata.feeds.flow import EventTape, Flow
from marketdata.payload import event_payload
from marketdata.pipeline import Pipeline
from marketdata.publisher import Publisher
from marketdata.store.board import Board
from marketdata.store.writer import Writer
from marketdata.telemetry import LagHistogram

SOURCE = "binance_ws"
GRID = Grid(Decimal("0.01"), Decimal("0.00001"))


@dataclass
class Status:
    """What a supervisor tells of a connection."""

    source: str = SOURCE
    channel: str = "aggTrade"
    symbol: str = "BTCUSDT"
    state: str = "live"
    connected_at_us: int = 0
    last_message_us: int | None = None
    reconnects: int = 0
    rejected: int = 0
    last_error: str = ""


class Connections:
    """Stands for a supervisor: tells what it was told."""

    def __init__(self, *statuses: Status) -> None:
        self.found = list(statuses)

    def statuses(self) -> list[Status]:
        return self.found


def wall_clock() -> int:
    return time.time_ns() // 1000


def walk(
    seed: int, count: int, start_us: int, end_us: int, *, price: float, first_id: int
) -> Trades:
    """Make believable trades: drift that turns, bursts, round lots among odd ones."""
    rng = np.random.default_rng(seed)
    pace = 1.4 + np.sin(np.arange(count) / 900) + 0.6 * np.sin(np.arange(count) / 131)
    spans = rng.exponential(1.0, count) / pace.clip(0.15)
    ts_us = start_us + (np.cumsum(spans) / spans.sum() * (end_us - start_us - 1)).astype(np.int64)
    trend = np.repeat(rng.normal(0, 0.35, count // 400 + 1), 400)[:count]
    steps = rng.normal(0, 1.6, count) + trend
    ticks = np.rint(price * 100 + np.cumsum(steps) * 20).astype(np.int64)
    is_buy = rng.random(count) < 0.5 + np.clip(trend, -0.25, 0.25)
    lots = np.maximum(1, rng.lognormal(7.2, 1.5, count)).astype(np.int64)
    ids = np.arange(first_id, first_id + count)
    return Trades.of(ids, np.sort(ts_us), ticks / 100, lots / 100_000, is_buy)


def build(
    *symbols: str, label: str = "", clock=wall_clock, writer: Writer | None = None
) -> live.Live:
    """Build the parts, with one lane for each symbol, and start the flow."""
    board, tape = Board(), EventTape()
    flow, publisher = Flow(board), Publisher(board)
    tape.listeners.append(
        lambda instrument, event: publisher.tell(
            lambda key: (key.source, key.symbol) == (instrument.source, instrument.symbol),
            {"type": "event", **event_payload(event)},
        )
    )
    for number, symbol in enumerate(symbols, 1):
        context = MarketContext(Instrument(SOURCE, symbol, GRID, number))
        flow.add(Pipeline(context, [tape]), clock)
    status = Status(symbol=",".join(symbols), last_message_us=clock())
    running = live.Live(
        board=board,
        flow=flow,
        writer=writer or Writer(),
        tape=tape,
        publisher=publisher,
        instruments=[(SOURCE, symbol) for symbol in symbols],
        label=label,
        clock=clock,
        wall_clock=clock,
        gaps=lambda source: 0,
        lines=[Connections(status)],
        repairs={},
        lag=LagHistogram(),
        write_rows=LagHistogram(),
        write_seconds=LagHistogram(),
        rejections=dict,
    )
    flow.start()
    return running


def feed(running: live.Live, symbol: str, trades: Trades, *, hole: tuple[int, int] | None = None):
    """Take trades in, all but those with ids in the hole, and wait until they are counted."""
    if hole is not None:
        trades = trades[(trades.id < hole[0]) | (trades.id > hole[1])]
    for batch in trades.batches(5000):
        running.flow.put(SOURCE, symbol, Batch(batch))
    running.flow.ask(lambda: None)


def begun(running: live.Live, symbol: str) -> None:
    """Let the venue tell that the day begins with the first trade held."""
    context = running.flow.lanes[(SOURCE, symbol)].pipeline.context
    day_us = open_us(running.clock(), DAY_US)
    bar = running.flow.ask(lambda: context.scope(DAY, day_us).bar)
    running.flow.ask(lambda: context.set_edge(day_us, bar.first_id))


def yesterday(running: live.Live, symbol: str, high: float, low: float, close: float) -> None:
    """Tell the levels of the day before."""
    context = running.flow.lanes[(SOURCE, symbol)].pipeline.context
    day_us = open_us(running.clock(), DAY_US) - DAY_US
    levels = PreviousDay(high, low, close, "klines")
    running.flow.ask(lambda: context.set_previous(day_us, levels))


def history(running: live.Live, symbol: str, seed: int, price: float, rate: float) -> Trades:
    """Feed the day so far, a few hours at least, with one hole an hour ago; return it."""
    now_us = running.clock()
    start_us = min(open_us(now_us, DAY_US), now_us - 5 * HOUR_US)
    count = int((now_us - start_us) / SECOND_US * rate)
    trades = walk(seed, count, start_us, now_us, price=price, first_id=1_000_000)
    hole_us = open_us(now_us - HOUR_US, 15 * MINUTE_US) + 6 * MINUTE_US
    first, after = np.searchsorted(trades.ts_us, [hole_us, hole_us + 2 * MINUTE_US])
    feed(running, symbol, trades, hole=(int(trades.id[first]), int(trades.id[after]) - 1))
    yesterday(running, symbol, price * 1.012, price * 0.985, price * 0.998)
    return trades


def trade_on(running: live.Live, symbol: str, last: Trades, rate: float, stop: threading.Event):
    """Feed trades in real time until stopped."""
    rng = np.random.default_rng(7)
    ticks, next_id = round(float(last.price[-1]) * 100), int(last.id[-1]) + 1
    status = running.lines[0].statuses()[0]
    while not stop.wait(float(rng.exponential(4 / rate))):
        count = int(rng.integers(1, 8))
        now_us = running.clock()
        steps = np.cumsum(np.rint(rng.normal(0, 30, count))).astype(np.int64)
        trades = Trades.of(
            np.arange(next_id, next_id + count),
            np.full(count, now_us),
            (ticks + steps) / 100,
            np.maximum(1, rng.lognormal(7.2, 1.5, count)).astype(np.int64) / 100_000,
            rng.random(count) < 0.52,
        )
        ticks, next_id = ticks + int(steps[-1]), next_id + count
        running.flow.put(SOURCE, symbol, Batch(trades, "live", now_us))
        status.last_message_us = now_us
