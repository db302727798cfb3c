"""What a venue must supply: data and pure functions. Generic code never names a venue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from marketdata.core.errors import FrameError
from marketdata.core.facts import BookUpdate, Fact, Reading
from marketdata.core.instrument import Grid
from marketdata.core.sequencer import Sequencer
from marketdata.core.trades import Trades


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signed question adds to its path, made for one try.

    Parameters
    ----------
    query : str
        Percent-encoded, and sent byte for byte: the signature is over it.
    headers : mapping
    """

    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


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
    sign : callable or None
        Signs it anew for each try: a venue refuses an old time.
    """

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    weight: int = 1
    sign: Callable[[], Signed] | None = field(default=None, repr=False)

    def sent(self) -> tuple[Mapping[str, str | int] | str, Mapping[str, str]]:
        """Return query and headers of the next try."""
        if self.sign is None:
            return self.params, {}
        signed = self.sign()
        return signed.query, signed.headers


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
    kind : {"ack", "refused", "shutdown", "pong"}
        A request accepted, a request refused, a coming end of the connection, an answer to the
        venue's own kind of ping.
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
    facts : list of (symbol, Fact)
        What is no trade, in order of arrival.
    topics : set of str
        Which of the stream's topics something came for.
    replies : dict of int to bytes
        Answers to requests that carried a number, as they came.
    controls : list of Control
    errors : list of FrameError
        Frames refused, and frames taken that carry fields nobody knows.
    """

    trades: dict[str, Trades] = field(default_factory=dict)
    facts: list[tuple[str, Fact]] = field(default_factory=list)
    topics: set[str] = field(default_factory=set)
    replies: dict[int, bytes] = field(default_factory=dict)
    controls: list[Control] = field(default_factory=list)
    errors: list[FrameError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Archive:
    """Files in which a venue publishes a channel's finished UTC days.

    Parameters
    ----------
    path, checksum : callable
        (symbol, date as `2024-01-01`) → path of the day's file, and of the text that starts with
        its SHA-256, from the root of the archive's host; no checksum where the venue tells none.
    published_s : float
        How long after the end of a day its file can be expected.
    """

    path: Callable[[str, str], str]
    checksum: Callable[[str, str], str] | None
    published_s: float


@dataclass(frozen=True, slots=True)
class Beat:
    """A venue's own kind of ping, where WebSocket's is not enough.

    Parameters
    ----------
    frame : bytes
        What is sent.
    every_s : float
    pong_within_s : float
        Without any `pong` control for so long after one was sent, the line is dead.
    """

    frame: bytes
    every_s: float
    pong_within_s: float


def nothing_said(symbols: Sequence[str]) -> Sequence[bytes]:
    """Return no frames: the URL says it all."""
    return ()


def each_symbol(symbols: Sequence[str]) -> frozenset[str]:
    """Return the symbols themselves as topics: of each something must come."""
    return frozenset(symbols)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one socket carries.

    Parameters
    ----------
    name : str
        The venue's word for it.
    path : callable
        Symbols → path and query of the socket's URL.
    decode : callable
        Frames and the symbols subscribed → what they came to. Never raises.
    opening : callable
        Symbols → frames to send once the socket is open, each time it is.
    topics : callable
        Symbols → topics of which something must come soon after the opening: an acknowledgement
        proves nothing. Topics that may well be silent are left out.
    beat : Beat or None
        The venue's own kind of ping.
    """

    name: str
    path: Callable[[Sequence[str]], str]
    decode: Callable[[Sequence[bytes], frozenset[str]], Received]
    opening: Callable[[Sequence[str]], Sequence[bytes]] = nothing_said
    topics: Callable[[Sequence[str]], frozenset[str]] = each_symbol
    beat: Beat | None = None


@dataclass(frozen=True, slots=True)
class ById:
    """The past of trades that the venue numbers without holes.

    Parameters
    ----------
    page : callable
        (symbol, first id, limit) → the question for trades from that id on, ascending.
    first : callable
        (symbol, ts_us) → the question for the first trade at or after a time.
    page_of, first_of : callable
        Body of those answers → trades, or the id (None where there is none yet). Raise FrameError.
    reach_s : float or None
        How far back pages go; None where no end is told.
    """

    page: Callable[[str, int, int], Question]
    page_of: Callable[[bytes], Trades]
    first: Callable[[str, int], Question]
    first_of: Callable[[bytes], int | None]
    reach_s: float | None = None


@dataclass(frozen=True, slots=True)
class Newest:
    """The past of trades of which the venue serves one page, the newest ones.

    Parameters
    ----------
    ask : callable
        Symbol → the question.
    read : callable
        Body → trades with `ref`, in the order in which they were matched. Raises FrameError.
    """

    ask: Callable[[str], Question]
    read: Callable[[bytes], Trades]


@dataclass(frozen=True, kw_only=True)
class Channel(Stream):
    """One kind of public trades: how it is streamed, and how its past is had.

    Parameters
    ----------
    past : ById, Newest or None
        None where the past comes over the socket.
    archive : Archive or None
        Where its finished days are files.
    time_step_us : int
        Resolution of its times, microseconds. Files may be finer; cut to it, every way to a trade
        gives the same row.
    """

    past: ById | Newest | None
    archive: Archive | None = None
    time_step_us: int = 1

    @property
    def by_id(self) -> ById:
        """The past by id. Raises TypeError where the venue numbers no trades."""
        if not isinstance(self.past, ById):
            raise TypeError(f"channel {self.name} has no trades by id")
        return self.past


@dataclass(frozen=True)
class Depth:
    """How a venue's book is kept.

    Parameters
    ----------
    stream : callable
        Wanted milliseconds between updates → the stream that carries them, as near as there is.
    sequencer : callable
        The rule by which updates follow one another.
    snapshot : callable or None
        Symbol → the question for a whole book; None where the stream itself sends it.
    snapshot_of : callable or None
        Body of that answer → the book. Raises FrameError.
    levels : int
        Levels a side that are known after a snapshot.
    resubscribe : callable or None
        (wanted milliseconds, symbol) → frames after which the stream sends a whole book, where
        there is no such question.
    """

    stream: Callable[[int], Stream]
    sequencer: Sequencer
    snapshot: Callable[[str], Question] | None
    snapshot_of: Callable[[bytes], BookUpdate] | None
    levels: int
    resubscribe: Callable[[int, str], Sequence[bytes]] | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A series of readings that a venue keeps, for example funding rates.

    Parameters
    ----------
    ask : callable
        (symbol, start_us, end_us) → the question for readings in [start_us, end_us).
    read : callable
        Body → readings, ascending. Raises FrameError.
    span_us : int
        Microseconds of which an answer holds every reading; of more it may hold the newest alone.
    reach_s : float or None
        How far back it goes.
    """

    ask: Callable[[str, int, int], Question]
    read: Callable[[bytes], list[Reading]]
    span_us: int
    reach_s: float | None = None


def never(body: bytes) -> bool:
    """Return False: HTTP's status says whether the venue refuses."""
    return False


def no_cadence(symbol: str) -> None:
    """Return None: trades come when they come."""


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
    rate_codes : frozenset of int
        Codes of `error_of` that say: too often.
    is_refusal : callable
        Body → whether it refuses although HTTP says 200; `error_of` then tells why.
    rate_block_s : float
        How long nothing is asked after a 403 that is the venue's own rate limit; 0 where 403
        never is.
    depth : Depth or None
        How its book is kept.
    series : mapping of str to Series
        By kind of reading.
    is_sized : bool
        Whether trades tell size and side; ticks of a quote feed do not.
    cadence_us : callable
        Symbol → microseconds from tick to tick where the venue keeps to one, else None.
    symbol_hint : str
        An example of its spelling, for error messages.
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
    rate_codes: frozenset[int] = frozenset()
    is_refusal: Callable[[bytes], bool] = never
    rate_block_s: float = 0.0
    depth: Depth | None = None
    series: Mapping[str, Series] = field(default_factory=dict)
    is_sized: bool = True
    cadence_us: Callable[[str], int | None] = no_cadence
    symbol_hint: str = "BTCUSDT"

    def channel(self, name: str = "") -> Channel:
        """Return a channel, the first where none is named. Raises KeyError."""
        return self.channels[name or next(iter(self.channels))]

    @property
    def is_numbered(self) -> bool:
        """Whether its trades carry ids to count by; else the feed numbers them."""
        return self.proof == "id_exact"
