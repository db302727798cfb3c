"""`Tickers`: the newest that a venue says of each symbol besides trades and books."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from marketdata.core.facts import Fact, Kline, Liquidation, Mark, Quote
from marketdata.models import Reading
from marketdata.store.writer import Writer

SHOWN_LIQUIDATIONS = 50


@dataclass(frozen=True, slots=True)
class Ticker:
    """What is known of a symbol; None where nothing was said yet.

    Parameters
    ----------
    mark : Mark or None
        Every field as it was last said.
    liquidations : tuple of Liquidation
        The newest ones, oldest first.
    kline : Kline or None
        The newest candle as the venue counts it.
    """

    mark: Mark | None = None
    quote: Quote | None = None
    liquidations: tuple[Liquidation, ...] = ()
    kline: Kline | None = None

    @property
    def basis(self) -> float | None:
        """Mark over index, less one: a fraction."""
        mark = self.mark
        if mark is None or not mark.mark or not mark.index:
            return None
        return mark.mark / mark.index - 1


class Tickers:
    """Keeps the state of each symbol. Connections' threads put, any thread reads.

    Parameters
    ----------
    writer : Writer
        Takes liquidations.
    instrument_id : callable
        Symbol → row id, or None while the symbol is not opened.
    """

    def __init__(self, writer: Writer, instrument_id: Callable[[str], int | None]) -> None:
        self._writer = writer
        self._instrument_id = instrument_id
        self._states: dict[str, Ticker] = {}
        self._liquidations: dict[str, deque[Liquidation]] = {}
        self._newest: dict[str, tuple[int, int]] = {}

    def state(self, symbol: str) -> Ticker:
        """Return what is known of a symbol."""
        return self._states.get(symbol, Ticker())

    def take(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Take facts in order; books are not kept here."""
        for symbol, fact in facts:
            state = self.state(symbol)
            if isinstance(fact, Mark):
                self._states[symbol] = replace(state, mark=merged(state.mark, fact))
            elif isinstance(fact, Quote):
                self._states[symbol] = replace(state, quote=fact)
            elif isinstance(fact, Kline):
                self._states[symbol] = replace(state, kline=fact)
            elif isinstance(fact, Liquidation):
                self._liquidated(symbol, state, fact)

    def _liquidated(self, symbol: str, state: Ticker, fact: Liquidation) -> None:
        kept = self._liquidations.setdefault(symbol, deque(maxlen=SHOWN_LIQUIDATIONS))
        if fact in kept:
            # A connection and its successor both tell it.
            return
        kept.append(fact)
        self._states[symbol] = replace(state, liquidations=tuple(kept))
        instrument_id = self._instrument_id(symbol)
        if instrument_id is not None:
            self._writer.put_row(self._row(symbol, instrument_id, fact))

    def _row(self, symbol: str, instrument_id: int, fact: Liquidation) -> Reading:
        before_us, number = self._newest.get(symbol, (0, -1))
        number = number + 1 if before_us == fact.ts_us else 0
        self._newest[symbol] = fact.ts_us, number
        return Reading(
            instrument_id=instrument_id,
            kind=Reading.Kind.LIQUIDATION,
            ts_us=fact.ts_us,
            number=number,
            value=fact.qty if fact.is_buy else -fact.qty,
            detail={"price": fact.price, "sample": fact.is_sample},
        )


def merged(before: Mark | None, later: Mark) -> Mark:
    """Return a mark in which everything that was not said is as it was."""
    if before is None:
        return later
    said = {
        name: value
        for name in ("mark", "index", "funding_rate", "next_funding_us", "open_interest")
        if (value := getattr(later, name)) is not None
    }
    return replace(before, ts_us=max(before.ts_us, later.ts_us), **said)
