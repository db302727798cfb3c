"""Faults on demand: what is set, what it did. None of them changes what REST says of the past."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from marketdata.core.errors import BadInputError

GARBAGE = -1


@dataclass(frozen=True, slots=True)
class Kind:
    """How a fault's value is read: its unit, its largest value, whether it wears off by time."""

    unit: str
    high: float
    passing: bool = False


PROBABILITY = Kind("probability of each trade frame", 1.0)
SECONDS = Kind("seconds", 86_400.0)
FOR_SECONDS = Kind("seconds from now", 86_400.0, passing=True)
TIMES = Kind("times", 1e9)

KINDS: dict[str, tuple[Kind, str]] = {
    "drop": (PROBABILITY, "a trade frame is not sent"),
    "duplicate": (PROBABILITY, "a trade frame is sent twice"),
    "reorder": (PROBABILITY, "a trade frame changes places with the next of its batch"),
    "garbage": (PROBABILITY, "an invalid frame is sent before a trade frame"),
    "slow": (SECONDS, "every trade frame is late by this or, after a busy while, up to twice this"),
    "disconnect_every": (SECONDS, "a stream connection is cut at this age"),
    "skip_while_down": (TIMES, "trades the next connection does not see, at each cut"),
    "skip": (TIMES, "the next trades are not sent"),
    "stall": (FOR_SECONDS, "no data is sent; pings are answered"),
    "outage": (FOR_SECONDS, "stream connections are cut and refused while trades pass"),
    "half_frame": (TIMES, "half of a trade frame is sent, then nothing on that connection"),
    "rst": (TIMES, "all stream connections are reset"),
    "close": (TIMES, "all stream connections are closed with code 1001"),
    "server_shutdown": (TIMES, "the serverShutdown event is sent, and the cut follows"),
    "server_shutdown_lead": (SECONDS, "seconds between the serverShutdown event and the cut"),
    "deaf": (TIMES, "a subscription is acknowledged and never served"),
    "refuse": (TIMES, "a SUBSCRIBE is answered by an error"),
    "depth_gap": (TIMES, "a depth update is not sent"),
    "stale_snapshot": (TIMES, "a depth snapshot older than the stream is served"),
    "book_again": (TIMES, "a whole book is sent in the middle of a depth stream"),
    "book_restart": (TIMES, "a whole book is sent under update id 1, as after a restart"),
    "delete_absent": (TIMES, "a depth update deletes a level that nobody has"),
    "odd_pong": (TIMES, "a ping of the venue's own kind is answered in its other shape"),
    "st_mixed": (TIMES, "a future of another kind (st 2) is sent under the same symbol first"),
    "liquidation": (TIMES, "a forced order is sent in the next second"),
    "archive_missing": (TIMES, "an archive file is not there yet"),
    "archive_corrupt": (TIMES, "an archive file does not match its checksum"),
    "retry_after": (SECONDS, "Retry-After of the HTTP faults"),
    "http_429": (TIMES, "REST answers 429"),
    "http_418": (TIMES, "REST answers 418"),
    "http_451": (TIMES, "REST answers 451"),
    "http_403": (TIMES, "REST answers 403, as to an address that asks too often"),
    "http_403html": (TIMES, "REST answers 403 with a page of HTML"),
    "http_200html": (TIMES, "REST answers 200 with a page of HTML"),
    "http_500": (TIMES, "REST answers 500"),
    "http_502": (TIMES, "REST answers 502"),
    "http_503": (TIMES, "REST answers 503"),
    "http_10006": (TIMES, "REST answers 200 and the venue's own code for too many requests"),
    "http_truncate": (TIMES, "REST breaks off in the middle of the body"),
    "http_drip": (TIMES, "REST sends its body a byte every 0.2 s"),
    "http_reset": (TIMES, "REST resets the connection"),
    "no_pong": (FOR_SECONDS, "a client's ping is not answered"),
    "rate_limit": (TIMES, "a call over the socket is answered by RateLimit"),
    "wrong_response": (TIMES, "a call over the socket is answered by WrongResponse"),
    "market_closed": (FOR_SECONDS, "ticks are refused with MarketIsClosed, and none is sent"),
    "deriv_bare_error": (TIMES, "an error comes without the echo of its request"),
    "legacy_gone": (FOR_SECONDS, "the legacy socket answers its handshake with HTTP 520"),
}
DEFAULTS = {"retry_after": 2.0, "server_shutdown_lead": 1.0}


class Faults:
    """The faults of one venue.

    Parameters
    ----------
    wanted : mapping, optional
        Name to value, as in `set`.
    seed : int
        Seed of the probabilities.

    Notes
    -----
    Set from any thread; what is set and what is used up meet under one lock.
    """

    def __init__(self, wanted: Mapping[str, float] | None = None, seed: int = 0) -> None:
        self.done: Counter[str] = Counter()
        self._values: dict[str, float] = dict(DEFAULTS)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.update(wanted or {})

    def set(self, name: str, value: float = 1) -> None:
        """Set one fault; 0 ends it. Raises BadInputError."""
        self.update({name: value})

    def update(self, wanted: Mapping[str, float]) -> None:
        """Set several faults, or none of them when one is wrong. Raises BadInputError."""
        checked = {name: self._checked(name, value) for name, value in wanted.items()}
        with self._lock:
            self._values = {**self._values, **checked}

    def clear(self) -> None:
        """End every fault; the counters stay."""
        with self._lock:
            self._values = dict(DEFAULTS)

    def value(self, name: str) -> float:
        """Return what a fault is set to; for those that wear off, the seconds left."""
        value = self._values.get(name, 0.0)
        if KINDS[name][0].passing:
            return max(0.0, value - time.monotonic())
        return value

    def take(self, name: str, times: int = 1) -> int:
        """Use up a counted fault and return how often, at most `times`."""
        if not self._values.get(name):
            return 0
        with self._lock:
            used = int(min(times, self._values.get(name, 0)))
            self._values[name] = self._values.get(name, 0) - used
        self.done[name] += used
        return used

    def note(self, name: str, times: int = 1) -> None:
        """Count what a fault that is not used up has done."""
        self.done[name] += times

    def take_http(self) -> str | None:
        """Use up one HTTP fault and return its name, without the prefix."""
        for name in list(self._values):
            if name.startswith("http_") and self.take(name):
                return name.removeprefix("http_")
        return None

    def plan(self, count: int) -> list[int] | None:
        """Return which of `count` frames to send, in which order; None is all as they are.

        Notes
        -----
        One plan serves every client, so that all see the same faults. GARBAGE stands for an
        invalid frame.
        """
        skipped = self.take("skip", count)
        chances = [self._values.get(name, 0.0) for name in ("drop", "duplicate", "garbage")]
        order = list(range(skipped, count))
        reorder = self._values.get("reorder", 0.0)
        if not any(chances) and not reorder:
            return order if skipped else None
        self._reorder(order, reorder)
        return [sent for row in order for sent in self._fates(row, *chances)]

    def snapshot(self) -> dict[str, dict[str, float]]:
        """Return what is set and what every fault has done."""
        values = {name: self.value(name) for name in KINDS}
        active = {name: value for name, value in values.items() if value}
        return {"active": active, "done": {name: n for name, n in self.done.items() if n}}

    def _reorder(self, order: list[int], chance: float) -> None:
        row = 0
        while row + 1 < len(order):
            if self._happens("reorder", chance):
                order[row], order[row + 1] = order[row + 1], order[row]
                row += 1
            row += 1

    def _fates(self, row: int, drop: float, duplicate: float, garbage: float) -> list[int]:
        before = [GARBAGE] if self._happens("garbage", garbage) else []
        if self._happens("drop", drop):
            return before
        return [*before, row, row] if self._happens("duplicate", duplicate) else [*before, row]

    def _happens(self, name: str, chance: float) -> bool:
        happens = self._random.random() < chance
        if happens:
            self.done[name] += 1
        return happens

    def _checked(self, name: str, value: float) -> float:
        if name not in KINDS:
            raise BadInputError(f"fault {name!r} is not known; known are {', '.join(KINDS)}")
        kind = KINDS[name][0]
        if isinstance(value, bool) or not 0 <= value <= kind.high:
            raise BadInputError(
                f"fault {name}: {kind.unit} from 0 to {kind.high:g} expected, seen {value!r}"
            )
        return value + time.monotonic() if kind.passing and value else float(value)


def parsed(text: str) -> tuple[str, float]:
    """Read `NAME`, `NAME=VALUE` or `http=STATUS` from the command line. Raises BadInputError."""
    name, _, value = text.partition("=")
    if name == "http":
        return f"http_{value}", 1.0
    try:
        return name, float(value or 1)
    except ValueError:
        raise BadInputError(f"fault {name}: a number expected, seen {value!r}") from None
