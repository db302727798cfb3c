"""Instruments and trading sessions, as rows and as values."""

from __future__ import annotations

from decimal import Decimal

from marketdata.core.errors import BotCryptoError
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.sessions import SessionDefinition
from marketdata.models import MOST_INSTRUMENTS, TradingSession
from marketdata.models import Instrument as InstrumentRow
from marketdata.store.lock import writing


class MixedDataError(BotCryptoError):
    """Trades of two kinds that must not be counted together would meet in one database."""


def remember(
    source: str, symbol: str, grid: Grid, *, simulated: bool = False, channel: str = "aggTrade"
) -> Instrument:
    """Create or update an instrument's row; a stored finer grid is kept.

    Parameters
    ----------
    channel : {"aggTrade", "trade"}
        Which of the venue's ids number the trades: aggregates and single trades count apart.

    Raises
    ------
    MixedDataError
        The row's trades are of the other kind: simulated or real, aggregates or single trades.
    """
    told = {"simulated": simulated, "channel": channel}
    steps = {"tick": str(grid.tick), "lot": str(grid.lot)}
    with writing():
        row, is_new = InstrumentRow.objects.get_or_create(
            source=source, symbol=symbol, defaults={**steps, **told}
        )
        if row.pk > MOST_INSTRUMENTS:
            raise BotCryptoError(f"at most {MOST_INSTRUMENTS} instruments fit, seen {row.pk}")
        _refuse_mixing(row, simulated=simulated, channel=channel)
        if not is_new:
            _store(row, _finer(Grid(Decimal(row.tick), Decimal(row.lot)), grid))
    return row.value()


def _refuse_mixing(row: InstrumentRow, *, simulated: bool, channel: str) -> None:
    stored = ("simulated " if row.simulated else "real ") + row.channel
    told = ("simulated " if simulated else "real ") + channel
    if stored != told:
        raise MixedDataError(
            f"this database holds {stored} ids of {row.symbol} at {row.source} and would now get "
            f"{told} ones; use another DATABASE_URL or DATA_DIR"
        )


def refine(instrument_id: int, grid: Grid) -> None:
    """Store the finer grid an instrument is counted on now."""
    with writing():
        _store(InstrumentRow.objects.get(pk=instrument_id), grid)


def _store(row: InstrumentRow, grid: Grid) -> None:
    row.tick, row.lot = str(grid.tick), str(grid.lot)
    row.save(update_fields=["tick", "lot"])


def _finer(stored: Grid, told: Grid) -> Grid:
    """Return a grid on which both can be counted; a step neither divides is taken as told."""
    tick = stored.tick if not told.tick % stored.tick else told.tick
    lot = stored.lot if not told.lot % stored.lot else told.lot
    return Grid(tick, lot)


def known() -> list[Instrument]:
    """Return every instrument stored and not put aside in the admin."""
    return [row.value() for row in InstrumentRow.objects.filter(is_active=True)]


def find(source: str, symbol: str) -> Instrument | None:
    """Return a stored instrument, or None."""
    row = InstrumentRow.objects.filter(source=source, symbol=symbol).first()
    return row.value() if row else None


def trading_sessions() -> list[SessionDefinition]:
    """Return the active session definitions, in their order."""
    return [row.value() for row in TradingSession.objects.filter(is_active=True)]
