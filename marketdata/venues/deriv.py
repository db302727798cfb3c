"""Deriv: ticks of a quote feed, without size, side or id, and all that is asked over its socket.

Two dialects, told by one function: the API of 2026 (`new`), and the one it replaces and that has
been refused with HTTP 520 since about October 2026 (`legacy`).
Source: as in deriv_wire.py; developers.deriv.com/docs/limits, 2026-08.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from urllib.parse import quote

import msgspec

from marketdata.core.errors import BadInputError
from marketdata.core.timeframe import DAY_US
from marketdata.venues import deriv_answers as answers
from marketdata.venues.base import Beat, Channel, Question
from marketdata.venues.deriv_wire import S_US, decode, refusal_of
from marketdata.venues.dialog import Budget, Dialog, Rule, SocketVenue, Tickets

PAGE = 5000
GRANULARITIES_S = (60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
# For tests, and open to anybody.
PUBLIC_APP = "1089"
ROOT = "/trading/v1/options"
# The server closes a session after two minutes without traffic.
BEAT = Beat(frame=b'{"ping":1}', every_s=30.0, pong_within_s=5.0)
LEGACY_TOKEN = r"[\w\-]{1,128}"  # noqa: S105  (a pattern of tokens)
# What fits into a header.
TOKEN = r"[!-~]{1,4096}"  # noqa: S105  (as above)
STEADY = re.compile(r"(1HZ|R_)\w+")

CHOICE = frozenset({"proposal", "proposal_open_contract", "buy", "sell"})
BUDGETS = (
    Budget(CHOICE, 360, 14_400),
    Budget(frozenset({"balance", "statement"}), 100, 2000),
    Budget(frozenset({"portfolio", "profit_table"}), 30, 1500),
    Budget(frozenset(), 220, 14_400),
)
LEGACY_BUDGETS = (
    Budget(CHOICE, 80, 3600),
    Budget(frozenset({"portfolio", "profit_table", "statement"}), 30, 1500),
    Budget(frozenset(), 220, 14_400),
)
TICKET_SPENT = Rule("backoff", "the one-time URL was used or too old: a fresh one is asked for")
UPSTREAM = Rule("backoff", "the venue's own front does not reach it")
NO_APP = Rule("fatal", "the legacy API wants the number of an app: set DERIV_APP_ID")
GONE = Rule("fatal", "the legacy API seems to be switched off: set DERIV_DIALECT=new")


def opening(symbols: Sequence[str]) -> list[bytes]:
    """Return a subscription for each symbol; its number is the symbol's place in sorted order."""
    return [
        msgspec.json.encode({"ticks": symbol, "subscribe": 1, "req_id": number})
        for number, symbol in enumerate(sorted(symbols), 1)
    ]


def history(symbol: str, start_us: int, end_us: int, limit: int) -> Question:
    """Ask for the newest ticks in [start_us, end_us), both within whole seconds.

    Notes
    -----
    `end` is text and `start` a number, or the request is refused.
    """
    params: dict[str, str | int] = {
        "ticks_history": symbol,
        "start": -(-start_us // S_US),
        "end": str(-(-end_us // S_US) - 1),
        "count": min(limit, PAGE),
        "style": "ticks",
    }
    return Question("/ticks_history", params)


def newest(symbol: str, limit: int) -> Question:
    """Ask for the newest ticks."""
    params: dict[str, str | int] = {
        "ticks_history": symbol,
        "end": "latest",
        "count": min(limit, PAGE),
        "style": "ticks",
    }
    return Question("/ticks_history", params)


def candles(symbol: str, start_us: int, end_us: int, granularity_s: int) -> Question:
    """Ask for the candles that start in [start_us, end_us). Raises BadInputError."""
    if granularity_s not in GRANULARITIES_S:
        known = ", ".join(map(str, GRANULARITIES_S))
        raise BadInputError(f"a granularity among {known} s expected, seen {granularity_s}")
    params: dict[str, str | int] = {
        "ticks_history": symbol,
        "start": -(-start_us // S_US),
        "end": str(-(-end_us // S_US) - 1),
        "count": PAGE,
        "style": "candles",
        "granularity": granularity_s,
    }
    return Question("/ticks_history", params)


def authorize(token: str) -> Question:
    """Ask that a connection become the account's; the token alone, without its login id."""
    return Question("/authorize", {"authorize": token})


def cadence_us(symbol: str) -> int | None:
    """Return the time from tick to tick of indices that the venue itself makes up."""
    if not STEADY.fullmatch(symbol):
        return None
    return S_US if symbol.startswith("1HZ") else 2 * S_US


def _public(app_id: str) -> str:
    return f"{ROOT}/ws/public"


def _legacy(app_id: str) -> str:
    return f"/websockets/v3?app_id={quote(app_id or PUBLIC_APP, safe='')}"


TICKETS = Tickets(
    accounts=Question(f"{ROOT}/accounts"),
    ticket=lambda account: Question(f"{ROOT}/accounts/{quote(account, safe='')}/otp"),
    accounts_of=answers.accounts_of,
    url_of=answers.url_of,
    headers=lambda token, app: {"Authorization": f"Bearer {token}", "Deriv-App-ID": app},
    paths={"demo": f"{ROOT}/ws/demo", "real": f"{ROOT}/ws/real"},
    lasts_s=120.0,
)
common = partial(
    Dialog,
    newest=newest,
    between=history,
    page_of=answers.page_of,
    refusal_of=refusal_of,
    balance=Question("/balance", {"balance": 1}),
    balance_of=answers.balance_of,
    authorized_of=answers.authorized_of,
)
DIALOGS = {
    "new": common(
        path=_public,
        budgets=BUDGETS,
        token=TOKEN,
        authorize=None,
        tickets=TICKETS,
        handshakes={401: TICKET_SPENT, 520: UPSTREAM},
    ),
    "legacy": common(
        path=_legacy,
        budgets=LEGACY_BUDGETS,
        token=LEGACY_TOKEN,
        authorize=authorize,
        tickets=None,
        handshakes={401: NO_APP, 520: GONE},
    ),
}


def venue(dialect: str) -> SocketVenue:
    """Return the venue as one of its two APIs speaks. Raises KeyError."""
    dialog = DIALOGS[dialect]
    ticks = Channel(
        name="ticks",
        path=lambda symbols: dialog.path(""),
        decode=decode,
        opening=opening,
        beat=BEAT,
        # Asked for over the socket.
        past=None,
        time_step_us=S_US,
    )
    return SocketVenue(
        key="deriv",
        source="deriv",
        title="Deriv",
        proof="cadence",
        channels={"ticks": ticks},
        page_limit=PAGE,
        # One connection an account, for everything; a minute's requests subscribe to so many.
        streams_per_connection=200,
        server_ping_s=BEAT.every_s,
        # No cut is told of; a day is what other venues grant.
        life_s=86_400.0,
        weight_per_minute=220,
        weight_header="",
        listing=lambda symbol: Question("/active_symbols", {"active_symbols": "brief"}),
        listing_of=answers.listing_of,
        day=lambda symbol, day_us: candles(symbol, day_us, day_us + DAY_US, DAY_US // S_US),
        day_of=answers.day_of,
        clock=lambda: Question("/time", {"time": 1}),
        clock_of=answers.clock_of,
        error_of=answers.rest_error_of,
        is_sized=False,
        cadence_us=cadence_us,
        symbol_hint="cryBTCUSD",
        dialog=dialog,
    )


VENUE = venue("new")
LEGACY = venue("legacy")
