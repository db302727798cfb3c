"""Trading sessions: definitions, their windows in time, and which one is current."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marketdata.core.errors import BadInputError
from marketdata.core.timeframe import DAY_US, MINUTE_US, open_us

EVERY_DAY = frozenset(range(1, 8))
OFF = "off"


@dataclass(frozen=True, slots=True)
class SessionDefinition:
    """When a session is open, as a rule.

    Parameters
    ----------
    name : str
        Slug, used as the scope's name.
    title : str
        What people read.
    tz : str
        IANA zone, or `UTC`; a local zone moves with daylight saving.
    start_minute, end_minute : int
        Minutes after local midnight, 0..1439; half-open. An end at or before the start is the
        next day's.
    weekdays : frozenset of int
        Local weekdays on which it starts, 1 = Monday.

    Raises
    ------
    BadInputError
        Unknown zone, minutes out of range, no weekday, start equal to end.
    """

    name: str
    title: str
    tz: str
    start_minute: int
    end_minute: int
    weekdays: frozenset[int] = EVERY_DAY

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.tz)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadInputError(f"an IANA time zone expected, seen {self.tz!r}") from error
        minutes = (self.start_minute, self.end_minute)
        if not all(0 <= minute < 1440 for minute in minutes) or minutes[0] == minutes[1]:
            raise BadInputError(f"two different minutes from 0 to 1439 expected, seen {minutes}")
        if not self.weekdays or not self.weekdays <= EVERY_DAY:
            raise BadInputError(f"weekdays from 1 to 7 expected, seen {sorted(self.weekdays)}")

    def window(self, day: date) -> Window | None:
        """Return the window that starts on a local date, or None where it does not open.

        Notes
        -----
        Where clocks go forward, a time in the hour left out counts as an hour later; a window that
        would so end before it begins does not open. Where they go back, the first of two counts.
        """
        if day.isoweekday() not in self.weekdays:
            return None
        end_day = day if self.end_minute > self.start_minute else day + timedelta(days=1)
        start = _utc_us(day, self.start_minute, self.tz)
        end = _utc_us(end_day, self.end_minute, self.tz)
        return Window(self.name, self.title, start, end) if start < end else None


@dataclass(frozen=True, slots=True)
class Window:
    """A session that happens: half-open [start_us, end_us), microseconds UTC."""

    name: str
    title: str
    start_us: int
    end_us: int

    def holds(self, ts_us: int) -> bool:
        """Tell whether a time falls inside."""
        return self.start_us <= ts_us < self.end_us


DEFAULT_SESSIONS = (
    SessionDefinition("london", "London", "UTC", 8 * 60, 12 * 60),
    SessionDefinition("overlap", "New York overlap", "UTC", 13 * 60, 17 * 60),
)


def _utc_us(day: date, minute: int, tz: str) -> int:
    local = datetime.combine(day, time(minute // 60, minute % 60), ZoneInfo(tz))
    return int(local.timestamp()) * 1_000_000


def _date(ts_us: int) -> date:
    return datetime.fromtimestamp(ts_us // 1_000_000, UTC).date()


class SessionCalendar:
    """The windows of a set of definitions.

    Parameters
    ----------
    definitions : sequence of SessionDefinition
        Names must differ.
    """

    def __init__(self, definitions: Sequence[SessionDefinition] = DEFAULT_SESSIONS) -> None:
        names = [item.name for item in definitions]
        if len(set(names)) != len(names) or {OFF, "day", "current"} & set(names):
            raise BadInputError(
                f"different session names, none of them off, day or current, expected, seen {names}"
            )
        self.definitions = tuple(definitions)
        self.windows = lru_cache(maxsize=16)(self._windows)

    def _windows(self, day_us: int) -> tuple[Window, ...]:
        """Return the windows that touch the UTC day starting at `day_us`, by start."""
        today = _date(day_us)
        found = [
            window
            for item in self.definitions
            # Local dates run up to 14 hours ahead of UTC, and a window may last into the next day.
            for shift in (-2, -1, 0, 1)
            if (window := item.window(today + timedelta(days=shift))) is not None
            and window.start_us < day_us + DAY_US
            and window.end_us > day_us
        ]
        return tuple(sorted(found, key=lambda window: (window.start_us, window.name)))

    def at(self, ts_us: int) -> tuple[Window, ...]:
        """Return the windows open at a time, by start."""
        day = open_us(ts_us, DAY_US)
        return tuple(window for window in self.windows(day) if window.holds(ts_us))

    def current(self, ts_us: int) -> Window:
        """Return the window that counts as current: the last one opened, else the pause."""
        active = self.at(ts_us)
        return active[-1] if active else self._pause(ts_us)

    def _pause(self, ts_us: int) -> Window:
        day = open_us(ts_us, DAY_US)
        near = [w for shift in (-DAY_US, 0, DAY_US) for w in self.windows(day + shift)]
        # A pause never outlasts its UTC day, so that it belongs to one day's state.
        start = max([day, *(w.end_us for w in near if w.end_us <= ts_us)])
        end = min([day + DAY_US, *(w.start_us for w in near if w.start_us > ts_us)])
        return Window(OFF, "Off hours", start, end)

    def next(self, ts_us: int) -> Window | None:
        """Return the next window to open within eight days, or None."""
        day = open_us(ts_us, DAY_US)
        for shift in range(9):
            later = [w for w in self.windows(day + shift * DAY_US) if w.start_us > ts_us]
            if later:
                return later[0]
        return None

    def edges(self, start_us: int, end_us: int) -> list[int]:
        """Return the times in (start_us, end_us] at which a day or session begins or ends."""
        found: set[int] = set()
        day = open_us(start_us, DAY_US)
        while day <= end_us:
            found.add(day)
            found.update(edge for w in self.windows(day) for edge in (w.start_us, w.end_us))
            day += DAY_US
        return sorted(edge for edge in found if start_us < edge <= end_us)

    def message(self, ts_us: int) -> str:
        """Say in words which session is open and how long, for people."""
        now = self.current(ts_us)
        if now.name != OFF:
            return f"{now.title} session, {_span(now.end_us - ts_us)} left"
        coming = self.next(ts_us)
        if coming is None:
            return "Off hours"
        return f"Off hours, {coming.title} opens in {_span(coming.start_us - ts_us)}"


def _span(length_us: int) -> str:
    hours, minutes = divmod(-(-length_us // MINUTE_US), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
