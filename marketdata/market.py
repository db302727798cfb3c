"""Answers of what venues tell besides trades: marks, funding, liquidations, the top of the book."""

from __future__ import annotations

from typing import Any

from marketdata import answers, live
from marketdata.core.errors import OutOfSyncError
from marketdata.core.facts import Liquidation, Mark, Quote
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import SECOND_US
from marketdata.feeds.book_desk import BookReport
from marketdata.feeds.books import LEVELS
from marketdata.feeds.flow import Name
from marketdata.feeds.tickers import Ticker
from marketdata.metrics.liquidity import WINDOW_S, microprice, spread
from marketdata.models import Reading
from marketdata.payload import iso
from marketdata.store import instruments

LIQUIDATIONS = 10
# A best bid and ask from outside the book, older than this, may not hold any more.
QUOTE_US = 10 * SECOND_US
NO_BOOK = "no book of {} at {} is kept in this process"
TOP = ("bid", "bid_qty", "ask", "ask_qty", "spread", "mid", "microprice")
DEPTH = ("imbalance", "bid_depth", "ask_depth", "ofi")


def market_answer(source: str | None, symbol: str | None) -> dict[str, Any]:
    """Return the object of /api/market: everything but trades, null where it is not known."""
    name = answers.resolve(source, symbol)
    running = live.now() if live.is_running() else None
    tickers = running.tickers.get(name[0]) if running else None
    ticker = tickers.state(name[1]) if tickers else Ticker()
    now_us = running.wall_clock() if running else None
    stored = instruments.find(*name)
    return {
        "symbol": name[1],
        "source": name[0],
        "as_of": _iso(now_us),
        **_mark(stored, ticker, now_us),
        **_top(name, ticker.quote, now_us),
        "liquidations": _liquidations(stored, ticker),
    }


def readings_answer(
    source: str | None, symbol: str | None, kind: str, limit: int = 100
) -> dict[str, Any]:
    """Return the object of /api/readings: the newest stored values of a series, newest first."""
    name = answers.resolve(source, symbol)
    rows = _stored(instruments.find(*name), kind, limit)
    return {"symbol": name[1], "source": name[0], "kind": kind, "readings": [*map(_read, rows)]}


def report(name: Name, depth: int = LEVELS) -> BookReport:
    """Return a book and what it comes to. Raises OutOfSyncError where it is not known now."""
    keeper = live.now().books.get(name[0]) if live.is_running() else None
    if keeper is None or name[1] not in keeper.symbols:
        raise OutOfSyncError(NO_BOOK.format(name[1], name[0]))
    return keeper.view(name[1], depth)


def has_book(name: Name) -> bool:
    """Tell whether a book is kept here, in step or not."""
    keeper = live.now().books.get(name[0]) if live.is_running() else None
    return keeper is not None and name[1] in keeper.symbols


def _iso(ts_us: int | None) -> str | None:
    return iso(ts_us) if ts_us else None


def _mark(stored: Instrument | None, ticker: Ticker, now_us: int | None) -> dict[str, Any]:
    """Return what a derivatives venue says; nothing of it is known of a spot market."""
    mark = ticker.mark or Mark(0)
    due_us = mark.next_funding_us if (mark.next_funding_us or 0) > (now_us or 0) else None
    interest, interest_us = mark.open_interest, mark.ts_us
    paid = _newest(stored, Reading.Kind.FUNDING)
    if interest is None and (row := _newest(stored, Reading.Kind.OPEN_INTEREST)) is not None:
        interest, interest_us = row.value, row.ts_us
    return {
        "mark": mark.mark,
        "index": mark.index,
        "basis": ticker.basis,
        "mark_time": _iso(mark.ts_us),
        "mark_age_ms": max(0, now_us - mark.ts_us) // 1000 if now_us and mark.ts_us else None,
        "funding_rate": mark.funding_rate,
        "next_funding": _iso(due_us),
        "funding_in_s": (due_us - now_us) // SECOND_US if due_us and now_us else None,
        "funding_paid": {"time": iso(paid.ts_us), "rate": paid.value} if paid else None,
        "open_interest": interest,
        "open_interest_time": None if interest is None else _iso(interest_us),
    }


def _top(name: Name, quote: Quote | None, now_us: int | None) -> dict[str, Any]:
    """Return the top of the book: of the book while it is in step, else as the venue quotes it."""
    told: dict[str, Any] = dict.fromkeys((*TOP, *DEPTH, "top_from", "top_time"))
    book: dict[str, Any] = {"kept": has_book(name), "synced": False, "reason": None, "age_ms": None}
    told["book"] = book
    told |= {"imbalance_levels": LEVELS, "ofi_window_s": WINDOW_S}
    try:
        found = report(name)
    except OutOfSyncError as error:
        book["reason"] = str(error)
        return told | _quoted(quote, now_us)
    book |= {"synced": True, "age_ms": found.age_ms}
    return told | _booked(found)


def _booked(found: BookReport) -> dict[str, Any]:
    view, said = found.view, found.liquidity
    bid, ask = (side[0] if side else (None, None) for side in (view.bids, view.asks))
    return {
        "top_from": "book",
        "top_time": _iso(view.ts_us),
        **dict(zip(TOP[:4], (*bid, *ask), strict=True)),
        **{key: getattr(said, key) for key in (*TOP[4:], *DEPTH[:3])},
        "ofi": found.ofi,
    }


def _quoted(quote: Quote | None, now_us: int | None) -> dict[str, Any]:
    """Return a quote that holds now; one without a time may be of any age."""
    if quote is None or now_us is None or now_us - quote.ts_us > QUOTE_US:
        return {}
    best = (quote.bid, quote.bid_qty), (quote.ask, quote.ask_qty)
    return {
        "top_from": "quote",
        "top_time": iso(quote.ts_us),
        **dict(zip(TOP[:4], (*best[0], *best[1]), strict=True)),
        "spread": spread(best),
        "mid": (quote.bid + quote.ask) / 2,
        "microprice": microprice(best) if quote.bid_qty + quote.ask_qty else None,
    }


def _liquidations(stored: Instrument | None, ticker: Ticker) -> list[dict[str, Any]]:
    """Return the newest liquidations, newest first: heard, else stored before this start."""
    if ticker.liquidations:
        return [_liquidation(item) for item in ticker.liquidations[: -LIQUIDATIONS - 1 : -1]]
    rows = _stored(stored, Reading.Kind.LIQUIDATION, LIQUIDATIONS)
    return [
        _liquidation(
            Liquidation(
                row.ts_us,
                row.detail["price"],
                abs(row.value),
                row.value > 0,
                row.detail["sample"],
            )
        )
        for row in rows
    ]


def _liquidation(item: Liquidation) -> dict[str, Any]:
    return {
        "time": iso(item.ts_us),
        "price": item.price,
        "qty": item.qty,
        "is_buy": item.is_buy,
        "is_sample": item.is_sample,
    }


def _newest(instrument: Instrument | None, kind: str) -> Reading | None:
    return next(iter(_stored(instrument, kind, 1)), None)


def _stored(instrument: Instrument | None, kind: str, limit: int) -> list[Reading]:
    if instrument is None:
        return []
    rows = Reading.objects.filter(instrument_id=instrument.id, kind=kind)
    return list(rows.order_by("-ts_us", "-number")[:limit])


def _read(row: Reading) -> dict[str, Any]:
    return {
        "time": iso(row.ts_us),
        "value": row.value,
        "price": row.detail.get("price"),
        "is_sample": row.detail.get("sample"),
    }
