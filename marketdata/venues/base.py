"""What a venue must supply: data and pure functions. Generic code never names a venue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from marketdata.core.errors import FrameError
from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades


@dataclass(frozen=True, slots=True)
class Question:
    """One REST GET.

    Parameters
    ----------
    path : str
        From the root of the host, for example `/api/v3/time`.
    params : mapping
        Query parameters, not yet percent-encoded.
    weight : int
        What the venue charges for it.
    """

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Listing:
    """What the venue says of an instrument.

    Parameters
    ----------
    symbol : str
        The venue's spelling.
    grid : Grid
        Tick and lot.
    status : str
        The venue's own word, for example `TRADING`.
    weight_per_minute : int or None
        Request weight the venue grants a minute, where it says so.
    """

    symbol: str
    grid: Grid
    status: str
    weight_per_minute: int | None


@dataclass(frozen=True, slots=True)
class DayLevels:
    """High, low and close of one UTC day as the venue states them, quote per base."""

    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class Control:
    """A frame that is no data.

    Parameters
    ----------
    kind : {"ack", "refused", "shutdown"}
        A request accepted, a request refused, or a coming end of the connection.
    detail : str
        The venue's words.
    """

    kind: str
    detail: str = ""


@dataclass(slots=True)
class Received:
    """What some frames came to.

    Parameters
    ----------
    trades : dict of symbol to Trades
        In order of arrival, not checked for order.
    controls : list of Control
    errors : list of FrameError
        Frames refused, and frames taken that carry fields nobody knows.
    """

    trades: dict[str, Trades] = field(default_factory=dict)
    controls: list[Control] = field(default_factory=list)
    errors: list[FrameError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Archive:
    """Files in which a venue publishes a channel's finished UTC days.

    Parameters
    ----------
    path, checksum : callable
        (symbol, date as `2024-01-01`) → path of the day's file, and of the text that starts with
        its SHA-256, from the root of the archive's host.
    published_s : float
        How long after the end of a day its file can be expected.
    """

    path: Callable[[str, str], str]
    checksum: Callable[[str, str], str]
    published_s: float


@dataclass(frozen=True)
class Channel:
    """One kind of public trades: how it is streamed, and how its past is paged by id.

    Parameters
    ----------
    name : str
        The venue's word for it.
    path : callable
        Symbols → path and query of the socket's URL.
    decode : callable
        Frames and the symbols subscribed → what they came to. Never raises.
    page : callable
        (symbol, first id, limit) → the question for trades from that id on, ascending.
    first : callable
        (symbol, ts_us) → the question for the first trade at or after a time.
    page_of, first_of : callable
        Body of those answers → trades, or the id (None where there is none yet). Raise FrameError.
    archive : Archive or None
        Where its finished days are files.
    time_step_us : int
        Resolution of its times, microseconds. Files may be finer; cut to it, every way to a trade
        gives the same row.
    """

    name: str
    path: Callable[[Sequence[str]], str]
    decode: Callable[[Sequence[bytes], frozenset[str]], Received]
    page: Callable[[str, int, int], Question]
    page_of: Callable[[bytes], Trades]
    first: Callable[[str, int], Question]
    first_of: Callable[[bytes], int | None]
    archive: Archive | None = None
    time_step_us: int = 1


@dataclass(frozen=True)
class Venue:
    """A place we connect to.

    Parameters
    ----------
    key : str
        Our name of the venue.
    source : str
        Name of the feed in settings and URLs.
    title : str
        What people read.
    proof : {"id_exact", "overlap", "cadence", "none"}
        What its trade ids can prove.
    channels : mapping of name to Channel
        The first one is the default.
    page_limit : int
        Trades a page holds at most.
    streams_per_connection : int
        Symbols one socket carries at most.
    server_ping_s : float
        How often the server pings; a socket silent for much longer is dead.
    life_s : float
        Age at which the venue cuts a connection.
    weight_per_minute : int
        Request weight granted where the venue does not say.
    weight_header : str
        Response header that tells the weight used in the present minute.
    listing, day, clock : callable
        Questions for tick and lot of a symbol, for a UTC day's levels, for the server's time.
    listing_of, day_of, clock_of : callable
        Bodies of those answers → `Listing`, `DayLevels` (None where the day had no trades),
        microseconds UTC. Raise FrameError.
    error_of : callable
        Body of a refusal → the venue's own code and words, or None where it has none.
    fallbacks : mapping of str to str
        Base URL → base URL that serves the same public data where the first one may not.
    retryable_codes : frozenset of int
        Codes of `error_of` that pass by themselves, whatever the HTTP status.
    """

    key: str
    source: str
    title: str
    proof: str
    channels: Mapping[str, Channel]
    page_limit: int
    streams_per_connection: int
    server_ping_s: float
    life_s: float
    weight_per_minute: int
    weight_header: str
    listing: Callable[[str], Question]
    listing_of: Callable[[bytes, str], Listing]
    day: Callable[[str, int], Question]
    day_of: Callable[[bytes, int], DayLevels | None]
    clock: Callable[[], Question]
    clock_of: Callable[[bytes], int]
    error_of: Callable[[bytes], tuple[int, str] | None]
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    retryable_codes: frozenset[int] = frozenset()
