from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.errors import BadInputError
from marketdata.core.sessions import (
    DEFAULT_SESSIONS,
    EVERY_DAY,
    OFF,
    SessionCalendar,
    SessionDefinition,
)
from tests.core.invented import DAY_US, HOUR, MINUTE, MONDAY

DEFAULT = SessionCalendar()


def us(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def utc(ts_us):
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts_us)).strftime(
        "%Y-%m-%d %H:%M"
    )


def session(name="x", tz="UTC", start="08:00", end="12:00", weekdays=EVERY_DAY):
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in (start, end)]
    return SessionDefinition(name, name.title(), tz, *minutes, frozenset(weekdays))


def hours(definition, day):
    window = definition.window(date.fromisoformat(day))
    return window and (utc(window.start_us), utc(window.end_us))


# Definitions


@pytest.mark.parametrize("tz", ["Mars/Olympus", "", "../etc/passwd", "Europe", "a\0b", "Zürich"])
def test_an_unknown_zone_is_refused_by_name(tz):
    with pytest.raises(BadInputError, match="an IANA time zone expected, seen"):
        session(tz=tz)


@pytest.mark.parametrize("minutes", [(-1, 60), (0, 1440), (1440, 0), (60, 60)])
def test_minutes_out_of_the_day_or_equal_are_refused(minutes):
    with pytest.raises(BadInputError, match=r"two different minutes from 0 to 1439 .* seen \("):
        SessionDefinition("x", "X", "UTC", *minutes)


@pytest.mark.parametrize("weekdays", [set(), {0}, {8}, {1, 9}])
def test_weekdays_are_one_to_seven_and_at_least_one(weekdays):
    with pytest.raises(BadInputError, match="weekdays from 1 to 7 expected, seen"):
        session(weekdays=weekdays)


@pytest.mark.parametrize("names", [["a", "a"], ["off"], ["day"], ["current"]])
def test_names_of_sessions_differ_and_are_not_ours(names):
    with pytest.raises(BadInputError, match="different session names, none of them off, day"):
        SessionCalendar([session(name) for name in names])


def test_the_defaults_are_london_and_the_new_york_overlap_in_utc():
    assert [(item.name, hours(item, "2024-07-03")) for item in DEFAULT_SESSIONS] == [
        ("london", ("2024-07-03 08:00", "2024-07-03 12:00")),
        ("overlap", ("2024-07-03 13:00", "2024-07-03 17:00")),
    ]


# Daylight saving


@pytest.mark.parametrize(
    ("tz", "day", "opens", "closes"),
    [
        # London goes forward at 01:00 UTC on 2024-03-31, back at 01:00 UTC on 2024-10-27.
        ("Europe/London", "2024-03-30", "2024-03-30 08:00", "2024-03-30 12:00"),
        ("Europe/London", "2024-03-31", "2024-03-31 07:00", "2024-03-31 11:00"),
        ("Europe/London", "2024-10-26", "2024-10-26 07:00", "2024-10-26 11:00"),
        ("Europe/London", "2024-10-27", "2024-10-27 08:00", "2024-10-27 12:00"),
        # New York goes forward at 07:00 UTC on 2024-03-10, back at 06:00 UTC on 2024-11-03.
        ("America/New_York", "2024-03-09", "2024-03-09 13:00", "2024-03-09 17:00"),
        ("America/New_York", "2024-03-10", "2024-03-10 12:00", "2024-03-10 16:00"),
        ("America/New_York", "2024-11-02", "2024-11-02 12:00", "2024-11-02 16:00"),
        ("America/New_York", "2024-11-03", "2024-11-03 13:00", "2024-11-03 17:00"),
        ("UTC", "2024-03-31", "2024-03-31 08:00", "2024-03-31 12:00"),
        ("Pacific/Kiritimati", "2024-01-02", "2024-01-01 18:00", "2024-01-01 22:00"),
        ("Pacific/Pago_Pago", "2024-01-02", "2024-01-02 19:00", "2024-01-02 23:00"),
    ],
)
def test_local_hours_move_with_daylight_saving(tz, day, opens, closes):
    assert hours(session(tz=tz), day) == (opens, closes)


def test_a_session_over_the_change_is_an_hour_shorter_or_longer():
    night = session(tz="Europe/London", start="22:00", end="06:00")
    assert hours(night, "2024-03-30") == ("2024-03-30 22:00", "2024-03-31 05:00")
    assert hours(night, "2024-10-26") == ("2024-10-26 21:00", "2024-10-27 06:00")


def test_an_hour_that_the_clocks_leave_out_counts_as_an_hour_later():
    skipped = session(tz="America/New_York", start="02:15", end="02:45")
    assert hours(skipped, "2024-03-10") == ("2024-03-10 07:15", "2024-03-10 07:45")


def test_a_session_that_would_end_before_it_begins_does_not_open():
    skipped = session(tz="America/New_York", start="02:30", end="03:00")
    assert hours(skipped, "2024-03-09") == ("2024-03-09 07:30", "2024-03-09 08:00")
    assert hours(skipped, "2024-03-10") is None
    assert not SessionCalendar([skipped]).at(us("2024-03-10 07:10"))


def test_of_an_hour_that_comes_twice_the_first_counts():
    twice = session(tz="America/New_York", start="01:30", end="03:00")
    assert hours(twice, "2024-11-03") == ("2024-11-03 05:30", "2024-11-03 08:00")


# Windows


def test_windows_are_half_open():
    at = [DEFAULT.current(us(text)).name for text in ("2024-01-02 07:59:59", "2024-01-02 08:00")]
    assert at == [OFF, "london"]
    assert DEFAULT.current(us("2024-01-02 12:00") - 1).name == "london"
    assert DEFAULT.current(us("2024-01-02 12:00")).name == OFF


def test_a_session_over_midnight_touches_both_days():
    calendar = SessionCalendar([session(start="22:00", end="02:00")])
    monday = calendar.windows(MONDAY)
    assert [(utc(w.start_us), utc(w.end_us)) for w in monday] == [
        ("2023-12-31 22:00", "2024-01-01 02:00"),
        ("2024-01-01 22:00", "2024-01-02 02:00"),
    ]
    assert calendar.current(MONDAY).start_us == MONDAY - 2 * HOUR


def test_weekdays_are_those_of_the_local_day_it_starts_on():
    tokyo = SessionCalendar([session(tz="Asia/Tokyo", start="08:00", end="10:00", weekdays={1})])
    # Monday 08:00 in Tokyo is Sunday 23:00 UTC.
    assert tokyo.current(us("2023-12-31 23:30")).name == "x"
    assert tokyo.current(us("2024-01-01 23:30")).name == OFF


def test_a_friday_night_lasts_into_saturday():
    friday = SessionCalendar([session(start="22:00", end="02:00", weekdays={5})])
    assert friday.current(us("2024-01-06 01:59")).name == "x"
    assert friday.current(us("2024-01-06 22:30")).name == OFF


def test_of_sessions_that_overlap_the_last_one_opened_is_current():
    calendar = SessionCalendar(
        [session("long", start="08:00", end="16:00"), session("short", start="10:00", end="11:00")]
    )
    names = [calendar.current(MONDAY + hour * HOUR).name for hour in (9, 10, 11)]
    assert names == ["long", "short", "long"]
    assert [window.name for window in calendar.at(MONDAY + 10 * HOUR)] == ["long", "short"]


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2024-01-02 03:00", "2024-01-02 00:00", "2024-01-02 08:00"),
        ("2024-01-02 12:00", "2024-01-02 12:00", "2024-01-02 13:00"),
        ("2024-01-02 17:00", "2024-01-02 17:00", "2024-01-03 00:00"),
    ],
)
def test_a_pause_lies_between_sessions_and_within_its_day(at, start, end):
    pause = DEFAULT.current(us(at))
    assert (pause.name, utc(pause.start_us), utc(pause.end_us)) == (OFF, start, end)


def test_without_sessions_every_day_is_one_pause():
    pause = SessionCalendar([]).current(MONDAY + HOUR)
    assert (pause.start_us, pause.end_us) == (MONDAY, MONDAY + DAY_US)


# Edges


def test_edges_are_those_after_the_start_up_to_the_end():
    assert DEFAULT.edges(MONDAY, MONDAY + 12 * HOUR) == [MONDAY + 8 * HOUR, MONDAY + 12 * HOUR]
    assert DEFAULT.edges(MONDAY + 17 * HOUR, MONDAY + DAY_US) == [MONDAY + DAY_US]
    assert DEFAULT.edges(MONDAY - 1, MONDAY) == [MONDAY]
    assert DEFAULT.edges(MONDAY, MONDAY) == []


ZONES = ["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"]
CLOCK = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02d}:{quarter % 4 * 15:02d}")
DEFINITIONS = st.lists(
    st.tuples(st.sampled_from(ZONES), CLOCK, CLOCK, st.sets(st.integers(1, 7), min_size=1)).filter(
        lambda item: item[1] != item[2]
    ),
    max_size=3,
)
# Days around every change of clocks of the zones above, and a quiet one.
DAYS = st.sampled_from(["2024-03-10", "2024-03-31", "2024-10-27", "2024-11-03", "2024-07-01"])


@given(
    definitions=DEFINITIONS,
    day=DAYS,
    minute=st.integers(-1440, 2880),
)
def test_the_current_window_holds_the_time_and_nothing_begins_or_ends_inside_an_edge(
    definitions, day, minute
):
    calendar = SessionCalendar([session(f"s{n}", *item) for n, item in enumerate(definitions)])
    ts_us = us(day) + minute * MINUTE
    current = calendar.current(ts_us)
    assert current.holds(ts_us)
    assert calendar.current(current.start_us - 1) != current
    assert calendar.current(current.end_us) != current
    # Between two edges the same windows are open.
    nearest = calendar.edges(ts_us, ts_us + DAY_US)[0]
    assert calendar.at(nearest - 1) == calendar.at(ts_us)
    assert calendar.current(nearest - 1) == calendar.current(ts_us)


# Words


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("2024-01-02 08:00:00", "London session, 4 h 00 min left"),
        ("2024-01-02 11:59:30", "London session, 1 min left"),
        ("2024-01-02 15:46:00", "New York overlap session, 1 h 14 min left"),
        ("2024-01-02 12:18:01", "Off hours, New York overlap opens in 42 min"),
        ("2024-01-02 17:00:00", "Off hours, London opens in 15 h 00 min"),
    ],
)
def test_people_are_told_what_is_open_and_for_how_long(at, message):
    assert DEFAULT.message(us(at)) == message


def test_the_next_session_is_found_over_a_weekend_and_a_week():
    weekly = SessionCalendar([session("weekly", weekdays={1})])
    assert utc(weekly.next(us("2024-01-01 08:00")).start_us) == "2024-01-08 08:00"
    assert weekly.message(us("2024-01-01 12:00")) == "Off hours, Weekly opens in 164 h 00 min"


def test_where_no_session_comes_people_are_told_no_more():
    assert SessionCalendar([]).next(MONDAY) is None
    assert SessionCalendar([]).message(MONDAY) == "Off hours"
