"""Deriv's answers: history, symbols, time, balances, accounts; read in both of its dialects."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from marketdata.core.errors import BadInputError, FrameError
from marketdata.core.instrument import FINEST, Grid
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.venues.base import DayLevels, Listing
from marketdata.venues.deriv_wire import S_US, Amount, Epoch, ticks_of
from marketdata.venues.dialog import Account, Balance
from marketdata.venues.wire_json import BROKEN, cut, parsed

LARGEST_STEP = Decimal(10**9)
LARGEST_MONEY = Decimal(10**15)


class _Columns(Struct):
    prices: list[Amount]
    times: list[Epoch]


class _History(Struct):
    history: _Columns


class _Candle(Struct):
    epoch: Epoch
    open: Amount
    high: Amount
    low: Amount
    close: Amount


class _Candles(Struct):
    candles: list[_Candle]


class _Symbol(Struct):
    underlying_symbol: str = ""
    symbol: str = ""
    pip_size: Decimal | None = None
    pip: Decimal | None = None
    exchange_is_open: int = 1
    is_trading_suspended: int = 0


class _Symbols(Struct):
    active_symbols: list[_Symbol]


class _Clock(Struct):
    time: Epoch


class _Money(Struct):
    balance: Decimal
    currency: str
    loginid: str = ""


class _Balance(Struct):
    balance: _Money


class _Login(Struct):
    loginid: str
    currency: str = ""
    is_virtual: int | None = None


class _Authorized(Struct):
    authorize: _Login


class _Owned(Struct):
    account_id: str
    account_type: str
    currency: str = ""
    status: str = ""


class _Accounts(Struct):
    data: list[_Owned]


class _Url(Struct):
    url: str


class _Ticket(Struct):
    data: _Url


class _RestError(Struct):
    status: int
    code: str = ""
    message: str = ""


class _RestErrors(Struct):
    errors: Annotated[list[_RestError], Meta(min_length=1)]


_history = msgspec.json.Decoder(_History)
_candles = msgspec.json.Decoder(_Candles)
_symbols = msgspec.json.Decoder(_Symbols)
_clock = msgspec.json.Decoder(_Clock)
_balance = msgspec.json.Decoder(_Balance)
_authorized = msgspec.json.Decoder(_Authorized)
_accounts = msgspec.json.Decoder(_Accounts)
_ticket = msgspec.json.Decoder(_Ticket)
_rest_errors = msgspec.json.Decoder(_RestErrors)


def page_of(body: bytes, start_us: int, end_us: int) -> Trades:
    """Read a page of ticks.

    Notes
    -----
    `{"msg_type":"history","history":{"prices":[1234.56,1234.61],"times":[1790873174,1790873176]},
    "pip_size":2,"req_id":7}`, oldest first. Asked for what is too old, the venue has answered with
    its newest ticks and no word of it: such a page is refused.
    """
    history = parsed(_history, body).history
    if len(history.times) != len(history.prices):
        detail = f"as many prices as times expected, seen {len(history.prices)}"
        raise FrameError("size", f"{detail} and {len(history.times)}", body)
    times = np.asarray(history.times, np.int64)
    if len(times) and (np.diff(times) < 0).any():
        raise FrameError("number", "times that do not go back expected", body)
    if len(times) and int(times[-1]) * S_US >= end_us:
        detail = f"times before {end_us // S_US} expected, seen {times[-1]}"
        raise FrameError("number", f"{detail}: other ticks than those asked for", body)
    # Of two ticks in one second the first counts, as it does where both came live.
    is_kept = (np.diff(times, prepend=-1) > 0) & (times * S_US >= start_us)
    return ticks_of(times[is_kept].tolist(), np.asarray(history.prices)[is_kept].tolist())


def candles_of(body: bytes, granularity_s: int) -> list[_Candle]:
    """Read candles; those that do not start on their grid are no whole ones and left out.

    Notes
    -----
    `{"msg_type":"candles","candles":[{"epoch":1790873100,"open":1.1,"high":1.2,"low":1.0,
    "close":1.15}],"pip_size":2,"req_id":8}`
    """
    rows = parsed(_candles, body).candles
    for row in rows:
        if not row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high:
            raise FrameError("number", f"open and close between low and high expected: {row}", body)
    return [row for row in rows if row.epoch % granularity_s == 0]


def day_of(body: bytes, day_us: int) -> DayLevels | None:
    """Read a day's levels out of its candle; None where there is none."""
    rows = candles_of(body, DAY_US // S_US)
    if not rows:
        return None
    day = rows[-1]
    if len(rows) > 1 or day.epoch != day_us // S_US:
        detail = f"the candle of {day_us // S_US} expected, seen {len(rows)} up to {day.epoch}"
        raise FrameError("number", detail, body)
    return DayLevels(day.high, day.low, day.close)


def listing_of(body: bytes, symbol: str) -> Listing:
    """Read a symbol's pip out of active_symbols, the increment of its quotes.

    Notes
    -----
    `{"active_symbols":[{"underlying_symbol":"cryBTCUSD","market":"cryptocurrency",
    "pip_size":0.01,"exchange_is_open":1,"is_trading_suspended":0}]}`, or `symbol` and `pip` in the
    legacy dialect. In ticks `pip_size` is a number of decimals.
    """
    rows = parsed(_symbols, body).active_symbols
    found = next((row for row in rows if (row.underlying_symbol or row.symbol) == symbol), None)
    if found is None:
        detail = f"{cut(symbol)} expected in active_symbols, it is not there"
        raise FrameError("symbol", detail, body)
    try:
        grid = Grid(_step(found.pip_size or found.pip), Decimal(1))
    except (ArithmeticError, BadInputError) as error:
        raise FrameError("number", f"a pip of {cut(symbol)} expected: {error}", body) from error
    if found.is_trading_suspended:
        status = "suspended"
    else:
        status = "open" if found.exchange_is_open else "closed"
    return Listing(symbol, grid, status, None)


def _step(pip: Decimal | None) -> Decimal:
    if pip is None or not pip.is_finite() or not FINEST <= pip < LARGEST_STEP:
        raise BadInputError(f"at least {FINEST} expected, seen {cut(str(pip))}")
    return pip.normalize()


def clock_of(body: bytes) -> int:
    """Read the time: the middle of the second that the venue tells, microseconds UTC."""
    return parsed(_clock, body).time * S_US + S_US // 2


def balance_of(body: bytes) -> Balance:
    """Read a balance.

    Notes
    -----
    `{"msg_type":"balance","balance":{"balance":10000.0,"currency":"USD","loginid":"DOT90004580"}}`
    """
    told = parsed(_balance, body).balance
    if not told.balance.is_finite() or abs(told.balance) >= LARGEST_MONEY:
        raise FrameError("number", f"an amount expected, seen {cut(str(told.balance))}", body)
    return Balance(told.balance, cut(told.currency), cut(told.loginid))


def authorized_of(body: bytes) -> Account:
    """Read whose account a connection has become; its kind is empty where that is not told.

    Notes
    -----
    `{"msg_type":"authorize","authorize":{"loginid":"VRTC0000001","currency":"USD","is_virtual":1}}`
    """
    told = parsed(_authorized, body).authorize
    kind = "" if told.is_virtual is None else "demo" if told.is_virtual else "real"
    return Account(cut(told.loginid), kind, cut(told.currency), "")


def accounts_of(body: bytes) -> list[Account]:
    """Read the owner's accounts.

    Notes
    -----
    `{"data":[{"account_id":"DOT90004580","balance":10000,"currency":"USD","group":"row",
    "status":"active","account_type":"demo"}],"meta":{}}`
    """
    return [
        Account(row.account_id, row.account_type, cut(row.currency), cut(row.status))
        for row in parsed(_accounts, body).data
    ]


def url_of(body: bytes) -> str:
    """Read a one-time URL. The body is a secret: it is in no error."""
    try:
        return _ticket.decode(body).data.url
    except BROKEN:
        words = "an answer with a URL in data expected, seen another one"
        raise FrameError("field", words) from None


def rest_error_of(body: bytes) -> tuple[int, str] | None:
    """Return the first error that REST tells.

    Notes
    -----
    `{"errors":[{"status":401,"code":"Unauthorized","message":"…"}],"meta":{}}`
    """
    try:
        first = _rest_errors.decode(body).errors[0]
    except BROKEN:
        return None
    return first.status, f"{cut(first.code)}: {cut(first.message)}"
