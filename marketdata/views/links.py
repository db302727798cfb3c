"""The page's state as its URL carries it, and the choices of its switchers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from marketdata import answers
from marketdata.context import CURRENT, DAY
from marketdata.core.timeframe import TIMEFRAMES
from marketdata.feeds.flow import Name
from marketdata.venues import VENUES

SHOWN_TIMEFRAMES = ("1m", "5m", "15m", "1h")
SCOPE_TITLES = {DAY: "UTC day", CURRENT: "Current"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a URL asks for."""

    source: str
    symbol: str
    scope: str
    timeframe: str

    def url(self, **changes: str) -> str:
        """Return the page's URL with some of it changed."""
        query = {
            "symbol": self.symbol,
            "source": self.source,
            "scope": self.scope,
            "timeframe": self.timeframe,
            **changes,
        }
        return f"{reverse('dashboard')}?{urlencode(query)}"


def proof(source: str, symbol: str, **more: str) -> str:
    """Return the URL of an instrument's proof."""
    return f"{reverse('proof')}?{urlencode({'symbol': symbol, 'source': source, **more})}"


@dataclass(frozen=True, slots=True)
class Link:
    """A choice of a switcher."""

    name: str
    title: str
    url: str
    is_chosen: bool


def instruments(asked: Asked | None = None) -> list[Link]:
    """Return every instrument there is, the one asked for marked."""
    return [_instrument(name, asked) for name in answers.names()]


def _instrument(name: Name, asked: Asked | None) -> Link:
    source, symbol = name
    chosen = asked or Asked(source, symbol, DAY, "1m")
    url = chosen.url(source=source, symbol=symbol)
    is_chosen = asked is not None and name == (asked.source, asked.symbol)
    return Link(symbol, VENUES[source].title, url, is_chosen)


def timeframes(asked: Asked) -> list[Link]:
    """Return the timeframes of the switcher, with the one asked for among them."""
    names = sorted({*SHOWN_TIMEFRAMES, asked.timeframe}, key=TIMEFRAMES.__getitem__)
    return [Link(name, name, asked.url(timeframe=name), name == asked.timeframe) for name in names]


def scopes(asked: Asked, sessions: list[dict[str, Any]]) -> list[Link]:
    """Return the scopes: the day, the current session, and each session by name."""
    titles = {**SCOPE_TITLES, **{item["name"]: item["title"] for item in sessions}}
    titles.setdefault(asked.scope, asked.scope)
    return [
        Link(name, title, asked.url(scope=name), name == asked.scope)
        for name, title in titles.items()
    ]
