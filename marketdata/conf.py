"""The settings: each field has a type, a default, a unit and a help line."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = ("binance_ws",)
VALUE_AREA_RULES = ("two_row", "one_row")
DATA = Path("data")
TENTH = Decimal("0.1")


def _setting(default: Any, unit: str, help: str, **bounds: Any) -> Any:
    return field(default=default, metadata={"unit": unit, "help": help, **bounds})


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where a feed's venue is asked and heard, before the venue's own paths."""

    rest: str
    ws: str
    archive: str


@dataclass(frozen=True)
class Conf:
    """What the process runs with; one field per environment variable, in upper case there."""

    backend_port: int = _setting(
        8000, "TCP port", "port of the pages and the API", low=0, high=65535
    )
    host: str = _setting(
        "127.0.0.1", "address", "address to listen on; keep loopback unless behind a proxy"
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), "names", "host names the pages answer to besides HOST and loopback"
    )
    symbol: str = _setting("BTCUSDT", "symbol", "the one symbol to follow, in the venue's spelling")
    symbols: tuple[str, ...] = _setting(
        (), "symbols", "several symbols, comma separated; wins over SYMBOL"
    )
    data_source: tuple[str, ...] = _setting(
        ("binance_ws",), "sources", "feeds to run, comma separated", choices=SOURCES
    )
    binance_channel: str = _setting(
        "aggTrade", "channel", "which Binance stream carries trades", choices=("aggTrade", "trade")
    )
    max_queue: int = _setting(
        5000,
        "batches",
        "batches waiting for the pipeline before live data is dropped and repaired",
        low=10,
        high=1_000_000,
    )
    log_level: str = _setting(
        "INFO", "level", "least level logged", choices=("DEBUG", "INFO", "WARNING", "ERROR")
    )
    log_format: str = _setting(
        "console", "format", "log lines for people or for machines", choices=("console", "json")
    )
    api_key: str = _setting(
        "",
        "secret",
        "what the X-API-Key of a writing request must be; empty: staff sessions alone may write",
        secret=True,
    )
    data_dir: Path = _setting(DATA, "folder", "where the database, keys and caches live")
    database_url: str = _setting(
        "", "URL", "sqlite:///PATH; empty is botcrypto.sqlite3 in DATA_DIR"
    )
    context_bootstrap_prev_day: bool = _setting(
        True, "true or false", "ask the venue for the previous day's high, low and close at start"
    )
    context_backfill_enabled: bool = _setting(
        True,
        "true or false",
        "fetch today's trades from before the start, and refill holes, by REST",
    )
    profile_tick_size: Decimal = _setting(
        TENTH,
        "quote per base",
        "height of a profile row; a multiple of the venue's tick",
        low=Decimal("1e-12"),
        high=Decimal(10) ** 9,
    )
    value_area_pct: float = _setting(
        0.70, "fraction", "share of volume in the value area", low=0.01, high=1.0
    )
    value_area_rule: str = _setting(
        "two_row", "rule", "how the value area grows", choices=VALUE_AREA_RULES
    )
    http_user_agent: str = _setting(
        "", "text", "User-Agent of venue requests; empty is BotCrypto and its version"
    )
    binance_api_timeout: float = _setting(
        30.0, "seconds", "deadline of one REST request", low=0.1, high=600.0
    )
    backfill_max_retries: int = _setting(
        5, "retries", "how often a failed request is asked again at most", low=0, high=100
    )
    backfill_retry_base: float = _setting(
        0.5,
        "seconds",
        "wait before the first retry; it doubles with each one, up to 30 s",
        low=0.01,
        high=30.0,
    )
    backfill_rate_limit_threshold: int = _setting(
        3, "refusals", "rate limit refusals after which a host is left alone", low=1, high=100
    )
    backfill_cooldown_seconds: float = _setting(
        60.0, "seconds", "how long a host is left alone then", low=0.1, high=3600.0
    )
    backfill_public_delay_ms: int = _setting(
        100, "milliseconds", "least time between two backfill requests", low=0, high=60_000
    )
    backfill_cache_enabled: bool = _setting(
        True, "true or false", "keep fetched chunks of finished days as files, and read them again"
    )
    backfill_cache_dir: str = _setting(
        "", "folder", "where fetched chunks are kept; empty is backfill_cache in DATA_DIR"
    )
    context_backfill_test_mode: bool = _setting(
        False,
        "true or false",
        "fetch the newest page of a job only, to try a set-up without the load of a day",
    )
    binance_rate_limit_per_minute: int = _setting(
        1200,
        "request weight per minute",
        "most weight spent at Binance; its own limit stays above it",
        low=10,
        high=100_000,
    )
    binance_archive_url: str = _setting(
        "https://data.binance.vision",
        "URL",
        "replaces the host before /data/spot/daily",
        url=("https", "http"),
    )
    binance_rest_url: str = _setting(
        "https://api.binance.com", "URL", "replaces the host before /api/v3", url=("https", "http")
    )
    binance_ws_url: str = _setting(
        "wss://stream.binance.com:9443",
        "URL",
        "replaces the host before /ws and /stream",
        url=("wss", "ws"),
    )
    feed_stale_after_s: float = _setting(
        10.0, "seconds", "silence after which a feed is shown as stale", low=0.1, high=3600.0
    )
    feed_dead_after_s: float = _setting(
        60.0, "seconds", "silence after which a feed is connected anew", low=0.2, high=7200.0
    )
    feed_roll_after_s: float = _setting(
        84_600.0,
        "seconds",
        "age at which a connection is replaced, before the venue's 24 h cut",
        low=1.0,
        high=86_000.0,
    )

    @property
    def watched(self) -> tuple[str, ...]:
        """The symbols to follow: SYMBOLS where given, else SYMBOL."""
        return self.symbols or (self.symbol,)

    def hosts(self, source: str) -> Hosts:
        """Return the hosts of a feed. Raises KeyError for a name that is no feed."""
        return {
            "binance_ws": Hosts(
                self.binance_rest_url, self.binance_ws_url, self.binance_archive_url
            )
        }[source]

    @property
    def cache_path(self) -> Path:
        """The folder of fetched chunks."""
        given = self.backfill_cache_dir
        return Path(given) if given else self.data_dir / "backfill_cache"

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return (
            Path(self.database_url.removeprefix("sqlite:///"))
            if self.database_url
            else self.data_dir / "botcrypto.sqlite3"
        )


def conf() -> Conf:
    """Return the settings the process started with."""
    return django_settings.BOTCRYPTO


def described() -> Iterator[tuple[str, Any, str, str]]:
    """Yield (environment name, default, unit, help) of every setting."""
    for item in fields(Conf):
        yield item.name.upper(), item.default, item.metadata["unit"], item.metadata["help"]
