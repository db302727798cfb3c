"""The clerk: hears what a client says and answers it, call by call, in its dialect."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from marketdata.core.timeframe import SECOND_US
from marketdata.simulator.connection import frame
from marketdata.simulator.deriv import past
from marketdata.simulator.deriv.accounts import ACCOUNTS, DEMO, TOKENS, legacy_login
from marketdata.simulator.deriv.limits import Budgets, DerivRules
from marketdata.simulator.deriv.listed import Listed
from marketdata.simulator.deriv.past import Window
from marketdata.simulator.deriv.requests import LEGACY, RefusedError, Request
from marketdata.simulator.deriv.streams import BALANCE, CANDLES, TICKS, Client, Key, Streams
from marketdata.simulator.faults import Faults
from marketdata.simulator.rules import Allowance

# An answer that must look at more than this many seconds of ticks is made beside the loop.
SLOW_S = 400_000
OF_ACCOUNTS = (
    "balance", "portfolio", "statement", "profit_table", "transaction", "proposal_open_contract",
    "buy", "sell",
)  # fmt: skip


class Clerk:
    """Answers requests.

    Attributes
    ----------
    requests : Counter
        Calls by name, refused ones included; empty for what is no call.
    """

    def __init__(
        self,
        listed: Mapping[str, Listed],
        streams: Streams,
        faults: Faults,
        rules: DerivRules,
        clock_us: Callable[[], int],
    ) -> None:
        self.requests: Counter[str] = Counter()
        self._listed = listed
        self._streams = streams
        self._faults = faults
        self._rules = rules
        self._clock_us = clock_us
        self._budgets = Budgets(rules)
        self._pings: dict[int, Allowance] = {}
        self._slow: set[asyncio.Task[None]] = set()

    def hear(self, client: Client, text: str) -> None:
        """Answer one message, now or a little later."""
        client.heard += 1
        try:
            request = Request.read(text, client.dialect)
        except RefusedError as error:
            self._refuse(client, Request("", {}), error)
            return
        self.requests[request.name] += 1
        try:
            self._admit(client, request)
            getattr(self, f"_{request.name}")(client, request)
        except RefusedError as error:
            self._refuse(client, request, error)

    def forget(self, client: Client) -> None:
        """Forget a client that is gone."""
        self._streams.leave(client)
        self._pings.pop(client.connection.number, None)

    # --- what every call goes through ---

    def _admit(self, client: Client, request: Request) -> None:
        request.check(client.dialect)
        name = request.name
        if name == "ping":
            self._admit_ping(client)
            return
        within = self._budgets.allow(client.user, name, client.dialect)
        if not within or self._faults.take("rate_limit"):
            raise _too_often(name)
        if self._faults.take("wrong_response"):
            raise RefusedError("WrongResponse", "There was a problem processing this request.")
        if request.subscribes and self._faults.take("refuse"):
            raise RefusedError("InternalServerError", "The simulator refuses on demand.")
        if name in OF_ACCOUNTS and client.account is None:
            raise RefusedError("AuthorizationRequired", "Please log in.")

    def _admit_ping(self, client: Client) -> None:
        number = client.connection.number
        allowance = self._pings.setdefault(number, Allowance(self._rules.pings_per_s, 1.0))
        if not allowance.allows():
            raise _too_often("ping")

    def _named(self, symbol: str) -> Listed:
        if symbol not in self._listed:
            raise RefusedError("InvalidSymbol", f"Symbol {symbol} is invalid.")
        return self._listed[symbol]

    def _open(self, symbol: str) -> Listed:
        listed = self._named(symbol)
        if self._faults.value("market_closed"):
            self._faults.note("market_closed")
            raise RefusedError("MarketIsClosed", "This market is presently closed.")
        return listed

    def _tell(self, client: Client, request: Request, msg_type: str, **payload: Any) -> None:
        told = {**request.envelope(msg_type), **payload}
        client.connection.send(frame(msgspec.json.encode(told)), 0)

    def _refuse(self, client: Client, request: Request, error: RefusedError) -> None:
        bare = not request.sent or bool(self._faults.take("deriv_bare_error"))
        around = request.envelope(request.name or "error", bare=bare)
        client.connection.send(frame(msgspec.json.encode({**around, "error": error.told()})), 0)

    # --- the calls, each by its name ---

    def _ping(self, client: Client, request: Request) -> None:
        if self._faults.value("no_pong"):
            self._faults.note("no_pong")
            return
        self._tell(client, request, "ping", ping="pong")

    def _time(self, client: Client, request: Request) -> None:
        self._tell(client, request, "time", time=self._clock_us() // SECOND_US)

    def _active_symbols(self, client: Client, request: Request) -> None:
        is_open = not self._faults.value("market_closed")
        rows = [
            one.legacy_row(order, is_open=is_open)
            if client.dialect == LEGACY
            else one.row(is_open=is_open)
            for order, one in enumerate(self._listed.values())
        ]
        self._tell(client, request, "active_symbols", active_symbols=rows)

    def _contracts_for(self, client: Client, request: Request) -> None:
        contracts = self._named(request.get("contracts_for")).contracts()
        self._tell(client, request, "contracts_for", contracts_for=contracts)

    def _ticks(self, client: Client, request: Request) -> None:
        asked = request.get("ticks")
        for symbol in [asked] if isinstance(asked, str) else asked:
            try:
                self._tick(client, request, symbol)
            except RefusedError as error:
                self._refuse(client, request, error)

    def _tick(self, client: Client, request: Request, symbol: str) -> None:
        listed, key = self._open(symbol), (TICKS, symbol, 0)
        if not request.subscribes:
            self._tell(client, request, "tick", tick=listed.ticks(listed.newest())[0])
            return
        self._streams.refuse_second(client, key)
        self._streams.begin(client, symbol)
        newest = listed.newest()
        made = self._streams.follow(client, request, key, int(newest.id[0]))
        client.connection.send(made.told("tick", listed.ticks(newest)[0]), 0)

    def _ticks_history(self, client: Client, request: Request) -> None:
        symbol = request.get("ticks_history")
        listed = self._open(symbol) if request.subscribes else self._named(symbol)
        past.check(request)
        granularity = past.granularity(request)
        key = (CANDLES if granularity else TICKS, symbol, granularity)
        if request.subscribes:
            self._streams.refuse_second(client, key)
            self._streams.begin(client, symbol)
        # History ends and the stream begins at one instant.
        now = listed.market.now_us() // SECOND_US
        window = Window.of(request, client.dialect, now)
        since = min(listed.market.last_id, listed.market.id_at((now + 1) * SECOND_US) - 1)
        if window.work_s < SLOW_S:
            self._past(client, request, key, since, _history(listed, window))
            return
        slow = asyncio.create_task(self._slowly(client, request, key, since, window))
        self._slow.add(slow)
        slow.add_done_callback(self._slow.discard)

    async def _slowly(
        self, client: Client, request: Request, key: Key, since: int, window: Window
    ) -> None:
        told = await asyncio.to_thread(_history, self._listed[key[1]], window)
        if not client.connection.is_open:
            return
        try:
            self._past(client, request, key, since, told)
        except RefusedError as error:
            self._refuse(client, request, error)

    def _past(
        self, client: Client, request: Request, key: Key, since: int, told: dict[str, Any]
    ) -> None:
        """Send history, and what has happened since it was read."""
        msg_type = "candles" if key[0] == CANDLES else "history"
        if not request.subscribes:
            self._tell(client, request, msg_type, **told)
            return
        made = self._streams.follow(client, request, key, since)
        self._tell(client, request, msg_type, **told, subscription={"id": made.id})
        self._streams.catch_up(client, made)

    def _forget(self, client: Client, request: Request) -> None:
        id = request.get("forget")
        keys = [key for key, made in client.streams.items() if made.id == id]
        self._tell(client, request, "forget", forget=len(self._streams.forget(client, keys)))

    def _forget_all(self, client: Client, request: Request) -> None:
        kinds = request.get("forget_all")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        keys = [key for key in client.streams if key[0] in kinds]
        self._tell(client, request, "forget_all", forget_all=self._streams.forget(client, keys))

    def _balance(self, client: Client, request: Request) -> None:
        account = client.account
        assert account  # noqa: S101  (admitted)
        told = {
            "balance": account.balance,
            "currency": account.currency,
            "loginid": account.loginid if client.dialect == LEGACY else account.id,
        }
        if not request.subscribes:
            self._tell(client, request, "balance", balance=told)
            return
        made = self._streams.follow(client, request, (BALANCE, "", 0), 0)
        client.connection.send(made.told("balance", told), 0)

    def _portfolio(self, client: Client, request: Request) -> None:
        self._tell(client, request, "portfolio", portfolio={"contracts": []})

    def _statement(self, client: Client, request: Request) -> None:
        self._tell(client, request, "statement", statement={"count": 0, "transactions": []})

    def _profit_table(self, client: Client, request: Request) -> None:
        self._tell(client, request, "profit_table", profit_table={"count": 0, "transactions": []})

    def _buy(self, client: Client, request: Request) -> None:
        raise RefusedError("PermissionDenied", "Permission denied, requires trade scope.")

    _sell = _transaction = _proposal_open_contract = _buy

    def _authorize(self, client: Client, request: Request) -> None:
        if request.get("authorize") not in TOKENS:
            raise RefusedError("InvalidToken", "The token is invalid.")
        client.account = next(one for one in ACCOUNTS.values() if one.kind == DEMO)
        self._tell(client, request, "authorize", authorize=legacy_login(client.account))


def _history(listed: Listed, window: Window) -> dict[str, Any]:
    if window.granularity:
        rows = [candle._asdict() for candle in past.candles(listed.market, window)]
        return {"candles": rows, "pip_size": listed.decimals}
    found = past.ticks(listed.market, window)
    history = {"prices": found.price.tolist(), "times": (found.ts_us // SECOND_US).tolist()}
    return {"history": history, "pip_size": listed.decimals}


def _too_often(call: str) -> RefusedError:
    return RefusedError("RateLimit", f"You have reached the rate limit for {call}.")
