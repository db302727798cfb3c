"""A running house without feeds: board, flow, writer and publisher, and hands that feed them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal

from marketdata import encoded, live, rebuild, rebuilt, telemetry
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.feeds.flow import EventTape, Flow
from marketdata.feeds.ingestor import FeedStatus
from marketdata.pipeline import Pipeline
from marketdata.publisher import Publisher
from marketdata.store import instruments
from marketdata.store.board import Board
from marketdata.store.sink import StoreSink
from marketdata.store.writer import Writer

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
NEW_YEAR_US = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z
BTC = ("binance_ws", "BTCUSDT")
ETH = ("binance_ws", "ETHUSDT")
GRID = Grid(Decimal("0.01"), Decimal("0.00001"))


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.001)


def trades(first_id: int, rows: Sequence[tuple[float, float, float, bool]]) -> Trades:
    """Return trades of (seconds after the new year, price, quantity, bought)."""
    ids = range(first_id, first_id + len(rows))
    times = [NEW_YEAR_US + round(row[0] * 1e6) for row in rows]
    columns = [[row[at] for row in rows] for at in (1, 2, 3)]
    return Trades.of(list(ids), times, *columns).checked()


class Repairs:
    """How far a repair is, as told."""

    def __init__(self, done: int = 0, pending: int = 0, seconds: float | None = None) -> None:
        self.done, self.pending, self.seconds = done, pending, seconds

    def remaining_s(self) -> float | None:
        return self.seconds


class Lines:
    """Connections in the state one wants."""

    def __init__(self, *statuses: FeedStatus) -> None:
        self.found = list(statuses)

    def statuses(self) -> list[FeedStatus]:
        return self.found


def line(state: str = "live", symbol: str = "BTCUSDT", **told: object) -> FeedStatus:
    """Return the state of one connection."""
    return FeedStatus("binance_ws", "aggTrade", symbol, state, **told)  # type: ignore[arg-type]


class House:
    """What the daemon builds, without sockets. Use it as a context manager.

    Parameters
    ----------
    names : list of (source, symbol)
        What is configured.
    seconds : float
        The time it is, after the new year of 2024.
    """

    def __init__(
        self, names: Sequence[tuple[str, str]] = (BTC,), seconds: float = 3600.0, label: str = ""
    ) -> None:
        self.now_us = NEW_YEAR_US + round(seconds * 1e6)
        self.board = Board()
        self.tape = EventTape()
        self.writer = Writer(flush_s=0.01)
        self.flow = Flow(self.board)
        self.publisher = Publisher(self.board)
        self.lines = Lines(line(last_message_us=self.now_us - 40_000))
        self.gaps: dict[str, int] = {}
        self.repairs = Repairs()
        self.live = live.Live(
            board=self.board,
            flow=self.flow,
            writer=self.writer,
            tape=self.tape,
            publisher=self.publisher,
            instruments=list(names),
            label=label,
            clock=self.clock,
            wall_clock=self.clock,
            gaps=lambda source: self.gaps.get(source, 0),
            lines=[self.lines],  # type: ignore[list-item]
            repairs={"binance_ws": self.repairs},  # type: ignore[dict-item]
            lag=telemetry.LagHistogram(),
            write_rows=telemetry.LagHistogram(),
            write_seconds=telemetry.LagHistogram(),
            rejections=dict,
        )
        self.flow.on_lag = self.live.lag.add

    def clock(self) -> int:
        """Return the time it is, microseconds UTC."""
        return self.now_us

    def __enter__(self) -> House:
        rebuilt.forget()
        encoded.forget()
        live.start(self.live)
        self.writer.start()
        self.flow.start()
        return self

    def __exit__(self, *error: object) -> None:
        live.stop()
        self.publisher.stop()
        self.flow.stop()
        if self.writer.is_alive():
            self.writer.stop()

    def open(self, name: tuple[str, str] = BTC, *, is_start_known: bool = True) -> Pipeline:
        """Follow an instrument; the year begins with the first trade fed, where that is known."""
        pipeline = rebuild.new_pipeline(instruments.remember(*name, GRID))
        if is_start_known:
            pipeline.context.set_edge(NEW_YEAR_US, 1 << 50)
        sink = StoreSink(self.writer, self.clock)
        sink.pipeline = pipeline
        pipeline.sinks = (sink, self.tape)
        self.flow.add(pipeline, self.clock)
        return pipeline

    def feed(self, batch: Trades, name: tuple[str, str] = BTC) -> None:
        """Hand in live trades and wait until they are counted."""
        assert self.flow.put(*name, Batch(batch, "live", self.now_us))
        self.flow.ask(lambda: None)

    def restore(self, name: tuple[str, str] = BTC, day_us: int = NEW_YEAR_US) -> None:
        """Read the stored trades of a day back, as a restart does."""
        from marketdata.store import rows

        instrument = instruments.find(*name)
        assert instrument is not None
        for stored in rows.read_trades(instrument.id, day_us, day_us + DAY_US):
            for part in rebuild.by_origin(instrument.id, stored):
                self.flow.put_history(*name, part, is_stored=True)
        self.flow.ask(lambda: None)

    def store(self) -> None:
        """Wait until everything is committed."""
        self.flow.ask(lambda: None)
        assert self.writer.flush()
