"""The page's state as its URL carries it, and the choices of its switchers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from marketdata import answers, compare
from marketdata.context import CURRENT, DAY
from marketdata.core.pair import base_of
from marketdata.core.timeframe import TIMEFRAMES
from marketdata.feeds.flow import Name

SHOWN_TIMEFRAMES = ("1m", "5m", "15m", "1h")
# Words and shapes of a source's feed, as `feeds.js` has them.
FEEDS = {
    "live": "● live",
    "connecting": "◌ connecting",
    "stale": "▲ silent",
    "backoff": "◌ reconnecting",
    "stopped": "■ stopped",
    "stored": "■ stored",
}
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


def side_by_side(names: Sequence[Name]) -> str:
    """Return the URL of a comparison."""
    query = {"symbols": ",".join(map(":".join, names))}
    return f"{reverse('compare')}?{urlencode(query, safe=':,')}"


def beside(symbol: str) -> str:
    """Return the URL that compares all that trades the same, where there is more than one."""
    names = compare.of_base(base_of(symbol))
    return side_by_side(names) if len(names) > 1 else ""


@dataclass(frozen=True, slots=True)
class Link:
    """A choice of a switcher; of an instrument `title` is its venue's, `state` that of its feed."""

    name: str
    title: str
    url: str
    is_chosen: bool
    source: str = ""
    state: str = ""

    @property
    def word(self) -> str:
        """The state of the feed for people."""
        return FEEDS.get(self.state, self.state)


def instruments(asked: Asked | None = None) -> list[Link]:
    """Return every instrument there is, by venue, the one asked for marked."""
    states, names = compare.source_states(), answers.names()
    sources = list(dict.fromkeys(source for source, _ in names))
    ordered = sorted(names, key=lambda name: sources.index(name[0]))
    return [_instrument(name, asked, states[name[0]]) for name in ordered]


def _instrument(name: Name, asked: Asked | None, state: str) -> Link:
    source, symbol = name
    chosen = asked or Asked(source, symbol, DAY, "1m")
    url = chosen.url(source=source, symbol=symbol)
    is_chosen = asked is not None and name == (asked.source, asked.symbol)
    return Link(symbol, compare.venue_now(source).title, url, is_chosen, source, state)


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
