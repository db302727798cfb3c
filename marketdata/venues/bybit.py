"""Bybit v5, linear contracts and spot: trades by `publicTrade`, proven by overlap.

Trades carry UUIDs on linear and numbers that symbols share on spot. Of their past the venue serves
one page, the newest ones; what lies further back comes with the day's file.
Source: github.com/bybit-exchange/docs, docs/v5, 2026-07.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from marketdata.core.sequencer import increasing
from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US
from marketdata.venues.base import (
    Archive,
    Beat,
    Channel,
    Depth,
    Newest,
    Question,
    Series,
    Stream,
    Venue,
)
from marketdata.venues.bybit_answers import (
    clock_of,
    day_of,
    funding_of,
    interest_of,
    listing_of,
    newest_of,
)
from marketdata.venues.bybit_stream import (
    BOOK,
    KLINE,
    LIQUIDATIONS,
    TICKERS,
    TRADES,
    decode,
    topic_of,
)
from marketdata.venues.bybit_wire import error_of, is_refusal

LINEAR, SPOT = "linear", "spot"
# Spot takes no more in a request; linear any number, but one bad topic voids its whole request.
ARGS_EACH = 10
# A connection takes 21,000 characters of topics; four of the longest symbols' come to 140.
SYMBOLS_EACH = 100
# The venue cuts nothing that is asked for a pong this often; WebSocket's pings do not count.
BEAT = Beat(frame=b'{"req_id":"beat","op":"ping"}', every_s=20.0, pong_within_s=10.0)
# Levels of a book, and up to how many milliseconds wanted they are the nearest: they come every
# 20, 100 and 200 ms. A single level comes every 10 ms, which is a quote and no book.
BOOKS = ((60, "50"), (150, "200"))
SLOWEST_BOOK = "1000"
MOST_LEVELS = 1000
# Interval of the stored open interest.
INTEREST_EVERY = "5min"
SERIES_PAGE = 200


@dataclass(frozen=True, slots=True)
class _Category:
    """What tells one of the venue's markets from another."""

    name: str
    title: str
    kinds: tuple[tuple[str, str], ...]
    awaited: tuple[str, ...]
    newest: int
    day_path: str


def _frame(op: str, number: int, topics: Sequence[str]) -> bytes:
    body = {"req_id": str(number), "op": op, "args": list(topics)}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _subscribed(kinds: Sequence[tuple[str, str]], symbols: Sequence[str]) -> list[bytes]:
    """Return the requests for all topics, a few of them in each."""
    topics = [topic_of(kind, symbol, middle) for symbol in symbols for kind, middle in kinds]
    starts = range(0, len(topics), ARGS_EACH)
    return [_frame("subscribe", at // ARGS_EACH + 1, topics[at : at + ARGS_EACH]) for at in starts]


def _topics(kinds: Sequence[tuple[str, str]], symbols: Sequence[str]) -> frozenset[str]:
    return frozenset(topic_of(kind, symbol, middle) for symbol in symbols for kind, middle in kinds)


def book_levels(wanted_ms: int) -> str:
    """Return how many levels the book has whose pace is the nearest to the one wanted."""
    return next((levels for most_ms, levels in BOOKS if wanted_ms <= most_ms), SLOWEST_BOOK)


def resubscribe(wanted_ms: int, symbol: str) -> tuple[bytes, bytes]:
    """Return the frames after which a book comes whole again, over the same connection."""
    topic = topic_of(BOOK, symbol, book_levels(wanted_ms))
    return _frame("unsubscribe", 1, [topic]), _frame("subscribe", 2, [topic])


def _book(path: str, wanted_ms: int) -> Stream:
    kinds = ((BOOK, book_levels(wanted_ms)),)
    return Stream(
        name=BOOK,
        path=lambda symbols: path,
        decode=decode,
        opening=partial(_subscribed, kinds),
        topics=partial(_topics, kinds),
        beat=BEAT,
    )


def _ask(path: str, category: str, symbol: str, **params: str | int) -> Question:
    return Question(f"/v5/market/{path}", {"category": category, "symbol": symbol, **params})


def _day(category: str, symbol: str, day_us: int) -> Question:
    start = day_us // 1000
    end = start + DAY_US // 1000 - 1
    return _ask("kline", category, symbol, interval="D", start=start, end=end, limit=1)


def _series(category: str) -> dict[str, Series]:
    def funding(symbol: str, start_us: int, end_us: int) -> Question:
        # A start without an end is refused.
        within = _within(start_us, end_us)
        return _ask("funding/history", category, symbol, limit=SERIES_PAGE, **within)

    def interest(symbol: str, start_us: int, end_us: int) -> Question:
        within = _within(start_us, end_us)
        every = INTEREST_EVERY
        return _ask(
            "open-interest", category, symbol, intervalTime=every, limit=SERIES_PAGE, **within
        )

    return {
        # The shortest interval between two fundings is an hour.
        "funding": Series(funding, funding_of, SERIES_PAGE * HOUR_US),
        "open_interest": Series(interest, interest_of, SERIES_PAGE * 5 * MINUTE_US),
    }


def _within(start_us: int, end_us: int) -> dict[str, int]:
    """Return the whole milliseconds of [start_us, end_us); the venue takes both ends in."""
    return {"startTime": -(-start_us // 1000), "endTime": -(-end_us // 1000) - 1}


def _file(category: _Category) -> Callable[[str, str], str]:
    def path(symbol: str, day: str) -> str:
        return category.day_path.format(symbol=quote(symbol, safe=""), day=day)

    return path


def _venue(category: _Category) -> Venue:
    name = category.name
    path = f"/v5/public/{name}"
    channel = Channel(
        name=TRADES,
        path=lambda symbols: path,
        decode=decode,
        opening=partial(_subscribed, category.kinds),
        topics=partial(_topics, tuple((kind, "") for kind in category.awaited)),
        beat=BEAT,
        past=Newest(
            ask=lambda symbol: _ask("recent-trade", name, symbol, limit=category.newest),
            read=newest_of,
        ),
        # A day's file comes some time on the next day; nothing vouches for its bytes.
        archive=Archive(path=_file(category), checksum=None, published_s=12 * 3600.0),
        time_step_us=1000,
    )
    return Venue(
        key=f"bybit_{name}",
        source="bybit",
        title=category.title,
        proof="overlap",
        channels={TRADES: channel},
        page_limit=category.newest,
        streams_per_connection=SYMBOLS_EACH,
        server_ping_s=20.0,
        life_s=86_400.0,
        # 600 requests in 5 seconds; what is used is not told.
        weight_per_minute=7200,
        weight_header="",
        listing=lambda symbol: _ask("instruments-info", name, symbol),
        listing_of=listing_of,
        day=partial(_day, name),
        day_of=day_of,
        clock=lambda: Question("/v5/market/time"),
        clock_of=clock_of,
        error_of=error_of,
        # Timed out, out of time, failed inside.
        retryable_codes=frozenset({10000, 10002, 10016}),
        rate_codes=frozenset({10006, 10018, 429}),
        is_refusal=is_refusal,
        rate_block_s=600.0,
        depth=Depth(
            stream=partial(_book, path),
            sequencer=increasing,
            snapshot=None,
            snapshot_of=None,
            levels=1000,
            resubscribe=resubscribe,
        ),
        series={} if name == SPOT else _series(name),
    )


# Liquidations are rare. Trades may be, too: a minute's candle without any stands for them.
BYBIT_LINEAR = _venue(
    _Category(
        LINEAR,
        "Bybit linear",
        kinds=((TRADES, ""), (TICKERS, ""), (LIQUIDATIONS, ""), (KLINE, "1")),
        awaited=(TRADES, TICKERS),
        newest=1000,
        day_path="/trading/{symbol}/{symbol}{day}.csv.gz",
    )
)
# Tickers of spot say nothing that trades, candles and book do not, twenty times a second.
BYBIT_SPOT = _venue(
    _Category(
        SPOT,
        "Bybit spot",
        kinds=((TRADES, ""), (KLINE, "1")),
        awaited=(TRADES,),
        newest=60,
        day_path="/spot/{symbol}/{symbol}_{day}.csv.gz",
    )
)
