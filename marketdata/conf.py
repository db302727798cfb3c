"""The settings: each field has a type, a default, a unit and a help line."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = (
    "binance_ws", "binance_futures", "bybit", "deriv", "bybit_connector", "hft_connector",
)  # fmt: skip
VALUE_AREA_RULES = ("two_row", "one_row")
DATA = Path("data")
HTTP, WS = ("https", "http"), ("wss", "ws")
TENTH = Decimal("0.1")


def _setting(default: Any, unit: str, help: str, **bounds: Any) -> Any:
    is_shown = not bounds.get("secret")
    return field(default=default, repr=is_shown, metadata={"unit": unit, "help": help, **bounds})


# Binance by mode: spot REST and streams, futures REST and streams.
BINANCE_HOSTS = {
    "live": (
        "https://api.binance.com",
        "wss://stream.binance.com:9443",
        "https://fapi.binance.com",
        "wss://fstream.binance.com",
    ),
    "paper": (
        "https://demo-api.binance.com",
        "wss://demo-stream.binance.com:9443",
        "https://demo-fapi.binance.com",
        "wss://fstream.binancefuture.com",
    ),
}
BYBIT_STREAMS, BYBIT_TEST_STREAMS = "wss://stream.bybit.com", "wss://stream-testnet.bybit.com"
DERIV = {
    "new": ("https://api.derivws.com", "wss://api.derivws.com"),
    "legacy": ("https://api.derivws.com", "wss://ws.derivws.com"),
}


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where a feed's venue is asked and heard, before the venue's own paths, and how.

    Parameters
    ----------
    variant : str
        Which of the venue's kinds: a category, a dialect; empty where there is one.
    channel : str
        Which of its channels carries trades; empty is its first.
    timeout_s : float
        Deadline of one request.
    weight_per_minute : int
        Most request weight we spend.
    """

    rest: str
    ws: str
    archive: str
    variant: str = ""
    channel: str = ""
    timeout_s: float = 30.0
    weight_per_minute: int = 1200


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
        (),
        "symbols",
        "several symbols, comma separated; wins over SYMBOL. A source before a colon makes one "
        "its own: BTCUSDT,deriv:cryBTCUSD",
    )
    data_source: tuple[str, ...] = _setting(
        ("binance_ws",), "sources", "feeds to run, comma separated", choices=SOURCES
    )
    binance_channel: str = _setting(
        "aggTrade", "channel", "which Binance stream carries trades", choices=("aggTrade", "trade")
    )
    binance_mode: str = _setting(
        "live",
        "mode",
        "which of Binance's worlds is heard and asked: the real one, or demo trading",
        choices=("live", "paper"),
    )
    depth_interval_ms: int = _setting(
        100,
        "milliseconds",
        "pace of order book updates, as near as the venue offers it; 0: no book is kept",
        low=0,
        high=1000,
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
        url=HTTP,
    )
    binance_rest_url: str = _setting(
        "", "URL", "replaces the host before /api/v3; empty is that of BINANCE_MODE", url=HTTP
    )
    binance_ws_url: str = _setting(
        "", "URL", "replaces the host before /ws and /stream; empty is that of the mode", url=WS
    )
    binance_futures_rest_url: str = _setting(
        "", "URL", "replaces the host before /fapi/v1; empty is that of BINANCE_MODE", url=HTTP
    )
    binance_futures_ws_url: str = _setting(
        "",
        "URL",
        "replaces the host before /market, /public and /private; empty is that of the mode",
        url=WS,
    )
    binance_api_key: str = _setting("", "secret", "key of signed questions", secret=True)
    binance_api_secret: str = _setting(
        "",
        "secret",
        "HMAC secret, or an Ed25519 private key in PEM, of signed questions",
        secret=True,
    )
    bybit_api_key: str = _setting("", "secret", "key of signed questions", secret=True)
    bybit_api_secret: str = _setting("", "secret", "HMAC secret of signed questions", secret=True)
    bybit_rest_base_url: str = _setting(
        "https://api.bybit.com", "URL", "host before /v5; regional accounts have others", url=HTTP
    )
    bybit_ws_url: str = _setting("", "URL", "replaces the host of the streams before /v5", url=WS)
    bybit_archive_url: str = _setting(
        "https://public.bybit.com", "URL", "host before /trading and /spot", url=HTTP
    )
    bybit_category: str = _setting(
        "linear", "category", "which of Bybit's markets", choices=("linear", "spot")
    )
    bybit_api_timeout: float = _setting(
        30.0, "seconds", "deadline of one REST request", low=0.1, high=600.0
    )
    bybit_rate_limit_per_minute: int = _setting(
        500,
        "requests per minute",
        "most requests to Bybit; below 600, which is its limit for five seconds",
        low=10,
        high=7200,
    )
    bybit_backfill_max_concurrent_chunks: int = _setting(
        8, "chunks", "archive days fetched at a time at most", low=1, high=32
    )
    bybit_connector_config_file: str = _setting(
        "", "file", "TOML with public_url, rest_url and category for bybit_connector"
    )
    bybit_connector_testnet: bool = _setting(
        False, "true or false", "bybit_connector follows the test network"
    )
    connector_name: str = _setting(
        "", "name", "service name of a running hftbacktest connector, for hft_connector"
    )
    connector_poll_interval_ms: int = _setting(
        100, "milliseconds", "how often a connector is asked for events", low=1, high=60_000
    )
    connector_paper_trading: bool = _setting(
        True, "true or false", "a connector may not send orders"
    )
    deriv_ws_url: str = _setting("", "URL", "replaces Deriv's WebSocket host", url=WS)
    deriv_rest_url: str = _setting("", "URL", "replaces Deriv's REST host", url=HTTP)
    deriv_dialect: str = _setting(
        "new",
        "dialect",
        "the API of 2026, or the one it replaces and that is being switched off",
        choices=("new", "legacy"),
    )
    deriv_app_id: str = _setting("", "id", "application id; the legacy dialect's is a number")
    deriv_api_token: str = _setting(
        "", "secret", "access token of the account; `token:loginid` is split", secret=True
    )
    deriv_account_id: str = _setting("", "id", "which account; empty takes the only one")
    deriv_balance_ttl_s: float = _setting(
        60.0, "seconds", "how long a balance is kept before it is asked for again", low=1, high=3600
    )
    record_frames: bool = _setting(
        False, "true or false", "keep every frame as it came, in DATA_DIR/frames"
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

    def watched(self, source: str) -> tuple[str, ...]:
        """Return what a feed follows: its own of SYMBOLS, else those of nobody, else SYMBOL."""
        owned = [_owned(text) for text in self.symbols]
        mine = tuple(symbol for owner, symbol in owned if owner == source)
        return mine or tuple(symbol for owner, symbol in owned if not owner) or (self.symbol,)

    @property
    def idle_sources(self) -> list[str]:
        """The sources that SYMBOLS gives symbols and DATA_SOURCE does not run."""
        owners = dict.fromkeys(owner for owner, _ in map(_owned, self.symbols) if owner)
        return [owner for owner in owners if owner not in self.data_source]

    @property
    def instruments(self) -> list[tuple[str, str]]:
        """Every (source, symbol) to follow, in order; the first is every question's default."""
        return [(source, s) for source in self.data_source for s in self.watched(source)]

    def hosts(self, source: str) -> Hosts:
        """Return the hosts of a feed. Raises KeyError for a name that is no feed."""
        return {
            "binance_ws": self._binance_spot,
            "binance_futures": self._binance_futures,
            "bybit": self._bybit,
            "bybit_connector": self._bybit_connector,
            "hft_connector": self._bybit,
            "deriv": self._deriv,
        }[source]()

    def _binance_spot(self) -> Hosts:
        rest, ws, _, _ = BINANCE_HOSTS[self.binance_mode]
        return Hosts(
            self.binance_rest_url or rest,
            self.binance_ws_url or ws,
            self.binance_archive_url,
            channel=self.binance_channel,
            timeout_s=self.binance_api_timeout,
            weight_per_minute=self.binance_rate_limit_per_minute,
        )

    def _binance_futures(self) -> Hosts:
        _, _, rest, ws = BINANCE_HOSTS[self.binance_mode]
        return Hosts(
            self.binance_futures_rest_url or rest,
            self.binance_futures_ws_url or ws,
            self.binance_archive_url,
            timeout_s=self.binance_api_timeout,
            weight_per_minute=self.binance_rate_limit_per_minute,
        )

    def _bybit(self) -> Hosts:
        return Hosts(
            self.bybit_rest_base_url,
            self.bybit_ws_url or BYBIT_STREAMS,
            self.bybit_archive_url,
            variant=self.bybit_category,
            timeout_s=self.bybit_api_timeout,
            weight_per_minute=self.bybit_rate_limit_per_minute,
        )

    def _bybit_connector(self) -> Hosts:
        if not self.bybit_connector_testnet:
            return self._bybit()
        ws = self.bybit_ws_url or BYBIT_TEST_STREAMS
        return replace(self._bybit(), rest="https://api-testnet.bybit.com", ws=ws)

    def _deriv(self) -> Hosts:
        rest, ws = DERIV[self.deriv_dialect]
        return Hosts(
            self.deriv_rest_url or rest, self.deriv_ws_url or ws, "", variant=self.deriv_dialect
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that nobody may read."""
        names = (item.name for item in fields(self) if item.metadata.get("secret"))
        return tuple(value for value in (getattr(self, name) for name in names) if value)

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


def _owned(text: str) -> tuple[str, str]:
    """Return (source, symbol) of an entry of SYMBOLS; the source is empty where none is named."""
    owner, colon, symbol = text.partition(":")
    return (owner, symbol) if colon and owner in SOURCES else ("", text)


def conf() -> Conf:
    """Return the settings the process started with."""
    return django_settings.BOTCRYPTO


def described() -> Iterator[tuple[str, Any, str, str]]:
    """Yield (environment name, default, unit, help) of every setting."""
    for item in fields(Conf):
        yield item.name.upper(), item.default, item.metadata["unit"], item.metadata["help"]
