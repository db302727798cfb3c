"""hftbacktest's own connector, where a build with live bots and a running connector are there.

Nothing stands in for it where they are not. It hands on trades without ids and best prices, and
says nothing of connections it loses: what comes this way proves nothing.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from marketdata.bridge.connector import (
    ConnectorWrapper,
    Event,
    Health,
    Missed,
    NotAvailableError,
    Told,
    Traded,
    wall_us,
)
from marketdata.bridge.events import BUY, SIDES
from marketdata.conf import Conf
from marketdata.core.backoff import Backoff
from marketdata.core.errors import BotCryptoError
from marketdata.core.events import Batch
from marketdata.core.facts import Quote
from marketdata.core.instrument import Grid
from marketdata.core.trades import Refs, Trades
from marketdata.feeds.ingestor import FeedStatus, Listener
from marketdata.feeds.link import Line, MakeLine
from marketdata.rest.client import VenueClient
from marketdata.venues.base import Channel, Venue

log = logging.getLogger(__name__)

HFT = "hft_connector"
PACKAGE = "hftbacktest"
INSTEAD = "choose DATA_SOURCE=bybit or bybit_connector"
# Trades that the connector's bot keeps until they are asked for.
TRADES_KEPT = 10_000
LOOK_S = 0.25
Load = Callable[[str], Any]


def lacking(settings: Conf, load: Load = importlib.import_module) -> str:
    """Return what hftbacktest's connector lacks here, and what to do; empty where nothing."""
    try:
        package = load(PACKAGE)
    except ImportError as error:
        return (
            f"{PACKAGE} cannot be imported ({error}); install a build of it with live bots, "
            f"or {INSTEAD}"
        )
    if not getattr(package, "LIVE_FEATURE", False):
        version = getattr(package, "__version__", "")
        return (
            f"{PACKAGE} {version} has no live bots (LIVE_FEATURE is false), as no published wheel "
            f"has; build it from source with the cargo feature `live`, or {INSTEAD}"
        )
    if not settings.connector_name:
        return (
            "CONNECTOR_NAME is empty; start hftbacktest's connector with a name "
            f"(connector NAME bybit CONFIG.toml) and say that name, or {INSTEAD}"
        )
    return ""


def require_hft(settings: Conf, load: Load = importlib.import_module) -> None:
    """Refuse where hftbacktest's connector cannot be used. Raises NotAvailableError."""
    why = lacking(settings, load)
    if why:
        raise NotAvailableError(f"{HFT} is not available: {why}")


class HftConnector(ConnectorWrapper):
    """hftbacktest's connector, asked over its live bot.

    Parameters
    ----------
    settings : Conf
    grids : mapping of str to Grid
        Tick and lot of each symbol: the package counts in them.
    load : callable
        Imports the package.

    Raises
    ------
    NotAvailableError
        The package has no live bots, or no connector is named.

    Notes
    -----
    It is asked for data alone and sent no orders. As trades come without ids they get refs of
    their own, which say when they were traded and tell them apart.
    """

    def __init__(
        self, settings: Conf, grids: Mapping[str, Grid], load: Load = importlib.import_module
    ) -> None:
        require_hft(settings, load)
        self.package = load(PACKAGE)
        self.name = settings.connector_name
        self.poll_s = settings.connector_poll_interval_ms / 1000
        self.grids = dict(grids)
        self.symbols: tuple[str, ...] = ()
        self._bot: Any = None
        self._events: deque[Event] = deque()
        self._quotes: dict[str, Quote] = {}
        self._last_error = ""
        self._has_data = False
        self._count = 0

    def connect(self) -> None:
        """Join the running connector."""
        if self._bot is None and self.symbols:
            instruments = [self._instrument(symbol) for symbol in self.symbols]
            pointer = self.package.build_hashmap_livebot(instruments)
            self._bot = self.package.HashMapMarketDepthLiveBot_(pointer)
            self._events.append(Missed(self.symbols, "opened"))

    def _instrument(self, symbol: str) -> Any:
        grid = self.grids[symbol]
        return (
            self.package.LiveInstrument()
            .connector(self.name)
            .symbol(symbol)
            .tick_size(grid.tick_size)
            .lot_size(grid.lot_size)
            .last_trades_capacity(TRADES_KEPT)
        )

    def disconnect(self) -> None:
        """Leave the connector, which runs on."""
        bot, self._bot = self._bot, None
        self._has_data = False
        if bot is not None:
            bot.close()

    def subscribe(self, symbols: Sequence[str]) -> None:
        """Hear these too. Raises NotAvailableError where a symbol's tick and lot are not known."""
        unknown = [symbol for symbol in symbols if symbol not in self.grids]
        if unknown:
            raise NotAvailableError(f"tick and lot of {', '.join(unknown)} expected, none are told")
        more = tuple(symbol for symbol in dict.fromkeys(symbols) if symbol not in self.symbols)
        is_open = self._bot is not None
        if more and is_open:
            self.disconnect()
        self.symbols += more
        if is_open:
            self.connect()

    def next_event(self, timeout_s: float) -> Event | None:
        """Return the next event; the bot is asked every `connector_poll_interval_ms`."""
        until_s = time.monotonic() + timeout_s
        while not self._events and self._bot is not None:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            self._poll(min(left_s, self.poll_s))
        return self._events.popleft() if self._events else None

    def _poll(self, wait_s: float) -> None:
        code = self._bot.elapse(int(wait_s * 1e9))
        if code:
            self._last_error = f"the connector's bot ended with code {code}"
            self.disconnect()
            return
        recv_us = wall_us()
        for at, symbol in enumerate(self.symbols):
            self._take_trades(at, symbol, recv_us)
            self._take_quote(at, symbol)

    def _take_trades(self, at: int, symbol: str, recv_us: int) -> None:
        rows = self._bot.last_trades(at)
        if not len(rows):
            return
        self._has_data = True
        trades = Trades.of(
            rows["exch_ts"],
            rows["exch_ts"] // 1000,
            rows["px"].copy(),
            rows["qty"].copy(),
            (rows["ev"] & np.uint64(SIDES)) == BUY,
            ref=self._refs(rows["exch_ts"].tolist()),
        )
        self._bot.clear_last_trades(at)
        self._events.append(Traded(symbol, trades, recv_us))

    def _refs(self, exch_ns: list[int]) -> Refs:
        first = self._count
        self._count += len(exch_ns)
        return np.array([b"%d-%d" % (ns, first + at) for at, ns in enumerate(exch_ns)])

    def _take_quote(self, at: int, symbol: str) -> None:
        depth = self._bot.depth(at)
        told = depth.best_bid, depth.best_bid_qty, depth.best_ask, depth.best_ask_qty
        if not all(map(np.isfinite, told)):
            return
        # The package tells neither time nor id of its book.
        quote = Quote(0, 0, *map(float, told))
        if self._quotes.get(symbol) != quote:
            self._has_data = True
            self._quotes[symbol] = quote
            self._events.append(Told(symbol, quote))

    def health(self) -> Health:
        """Return how it fares; of losses of its own connection it tells nothing."""
        is_connected = self._bot is not None and self._has_data
        return Health(is_connected, self.symbols, len(self._events), 0, 0, 0, self._last_error)


class HftLine(threading.Thread):
    """The line of a source that hftbacktest's connector carries.

    Parameters
    ----------
    venue : Venue
    channel : Channel
    symbols : sequence of str
    listener : Listener
        Called in this thread.
    join : callable
        Returns a connector that hears the symbols. Raises BotCryptoError.
    """

    def __init__(
        self,
        venue: Venue,
        channel: Channel,
        symbols: Sequence[str],
        listener: Listener,
        join: Callable[[], ConnectorWrapper],
    ) -> None:
        super().__init__(name=f"hft-{venue.source}", daemon=True)
        self.listener = listener
        self.join_connector = join
        self.symbols = tuple(symbols)
        self.reconnects = 0
        self._status = FeedStatus(venue.source, channel.name, ",".join(symbols))
        self._stopping = threading.Event()

    def statuses(self) -> list[FeedStatus]:
        """Return what it is doing."""
        return [self._status]

    def stop(self, timeout_s: float = 5.0) -> None:
        """Leave the connector."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)
        self._tell(state="stopped")

    def run(self) -> None:
        """Ask for events until stopped; join again where the bot has ended."""
        backoff = Backoff()
        self._tell()
        while not self._stopping.is_set():
            error = self._heard(backoff)
            if not self._stopping.is_set():
                self.reconnects += 1
                self._tell(state="backoff", reconnects=self.reconnects, last_error=error)
                self._stopping.wait(backoff.next(0.5))

    def _heard(self, backoff: Backoff) -> str:
        """Hand on what one bot says; return why it has ended."""
        try:
            connector = self.join_connector()
            connector.connect()
        except BotCryptoError as error:
            return str(error)
        except Exception as error:
            # Whatever the package raises must not end this thread unseen.
            log.exception("the connector cannot be joined symbols=%s", ",".join(self.symbols))
            return f"{type(error).__name__}: {error}"
        try:
            while not self._stopping.is_set():
                event = connector.next_event(LOOK_S)
                if event is not None:
                    self._hand_on(event, backoff)
                elif connector.health().last_error:
                    break
        finally:
            connector.disconnect()
            self.listener.closed(self.symbols)
        return connector.health().last_error

    def _hand_on(self, event: Event, backoff: Backoff) -> None:
        if isinstance(event, Missed):
            self.listener.opened(event.symbols)
            self._tell(connected_at_us=wall_us())
        elif isinstance(event, Traded):
            backoff.reset()
            self.listener.trades(event.symbol, Batch(event.trades, "live", event.recv_us))
            self._tell(state="live", last_message_us=event.recv_us)
        elif isinstance(event, Told):
            self.listener.facts([(event.symbol, event.fact)])

    def _tell(self, **changes: Any) -> None:
        before, self._status = self._status, replace(self._status, **changes)
        if not changes or before.state != self._status.state:
            self.listener.status(self._status)


def hft_line(settings: Conf, stop: threading.Event) -> MakeLine:
    """Return what makes the line of `hft_connector`. Raises NotAvailableError."""
    require_hft(settings)

    def make(venue: Venue, channel: Channel, symbols: Sequence[str], listener: Listener) -> Line:
        def join() -> ConnectorWrapper:
            client = VenueClient(venue, settings.hosts(venue.source).rest, settings, stop)
            try:
                grids = {symbol: client.listing(symbol).grid for symbol in symbols}
            finally:
                client.close()
            connector = HftConnector(settings, grids)
            connector.subscribe(symbols)
            return connector

        return HftLine(venue, channel, symbols, listener, join)

    return make
