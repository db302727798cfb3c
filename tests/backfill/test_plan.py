"""The plan: which days by file, which ids by page, and nothing that is held."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketdata.backfill.plan import (
    Chunk,
    Part,
    Rules,
    checked_range,
    cut,
    pages,
    parts_of,
    plan,
    stretches,
)
from marketdata.core.coverage import Coverage
from marketdata.core.errors import BadInputError
from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US

DAY = 1_704_067_200_000_000  # 2024-01-01
HOURS_8 = 8 * 3600.0


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def rules(via="auto", now=DAY + 30 * DAY_US, **more) -> Rules:
    return Rules(via, now, 1000, **{"published_s": HOURS_8, **more})


@pytest.mark.parametrize("clock", ["00:05", "12:00", "23:55"])
def test_today_so_far_is_one_stretch_from_midnight(clock):
    now = at(f"2024-03-31T{clock}")
    start, end = checked_range(at("2024-03-31"), now, now)
    assert stretches(start, end) == [(at("2024-03-31"), now)]
    # By REST, whatever the hour: the day is not over.
    parts = parts_of(start, end, {start: 500}, 200_499)
    chunks = plan(parts, Coverage(), rules(now=now))
    assert {chunk.origin for chunk in chunks} == {"rest"}
    assert chunks[0].runs[0][0] == 500
    assert chunks[-1].runs[-1][1] == 200_499
    assert sum(chunk.size for chunk in chunks) == 200_000


def test_a_day_in_which_clocks_change_has_24_utc_hours():
    # Europe and New York change on different days; UTC on none.
    for date in ("2024-03-31", "2024-10-27", "2024-11-03"):
        start = at(date)
        assert stretches(start, start + DAY_US) == [(start, start + DAY_US)]


def test_a_range_is_cut_at_each_midnight():
    start, end = at("2024-01-30T22:00"), at("2024-02-01T03:00")
    assert stretches(start, end) == [
        (start, at("2024-01-31")),
        (at("2024-01-31"), at("2024-02-01")),
        (at("2024-02-01"), end),
    ]


def test_an_end_in_the_future_is_now_and_a_start_there_is_refused():
    assert checked_range(DAY, DAY + DAY_US, DAY + HOUR_US) == (DAY, DAY + HOUR_US)
    with pytest.raises(BadInputError, match="range of the past"):
        checked_range(DAY, DAY + DAY_US, DAY)
    with pytest.raises(BadInputError):
        checked_range(DAY + 5, DAY + 5, DAY + DAY_US)


def test_each_day_ends_before_the_first_id_of_the_next():
    start, end = DAY, DAY + 2 * DAY_US + HOUR_US
    firsts = {DAY: 100, DAY + DAY_US: 300, DAY + 2 * DAY_US: 700}
    assert [(p.first_id, p.last_id) for p in parts_of(start, end, firsts, 750)] == [
        (100, 299),
        (300, 699),
        (700, 750),
    ]


def test_a_day_without_trades_has_no_ids_and_nothing_to_fetch():
    firsts = {DAY: 100, DAY + DAY_US: 100}
    quiet, busy = parts_of(DAY, DAY + 2 * DAY_US, firsts, 40_000)
    assert (quiet.is_known, quiet.is_told) == (True, False)
    assert (busy.first_id, busy.last_id) == (100, 40_000)
    # REST may not reach back so far: the file of a finished day is looked at all the same.
    assert plan([quiet], Coverage(), rules()) == [Chunk("archive", DAY, DAY + DAY_US)]
    assert plan([quiet], Coverage(), rules("rest")) == []


def test_no_trade_since_the_start_is_nothing_to_fetch():
    # Five past midnight, and nobody has traded yet.
    parts = parts_of(DAY, DAY + 5 * MINUTE_US, {DAY: None}, None)
    assert parts == [Part(DAY, DAY + 5 * MINUTE_US, 0, -1)]
    assert plan(parts, Coverage(), rules(now=DAY + 5 * MINUTE_US)) == []


def test_where_pages_may_not_reach_back_the_file_is_looked_at():
    firsts = {DAY: 95_000, DAY + DAY_US: 100_000}
    parts = parts_of(DAY, DAY + 2 * DAY_US, firsts, 103_000, is_proven=False)
    # Only the day in which they begin is in doubt; few pages are enough for the next.
    assert [part.is_proven for part in parts] == [False, True]
    assert [c.origin for c in plan(parts, Coverage(), rules())] == ["archive", "rest"]
    # What is held does not settle it, the file does.
    held = Coverage([(95_000, 103_000)])
    assert [c.origin for c in plan(parts, held, rules())] == ["archive"]
    assert plan(parts, held, rules(tried=frozenset({DAY}))) == []
    assert plan(parts, held, rules("rest")) == []


def test_finished_days_come_by_file_and_the_present_one_by_page():
    now = DAY + 2 * DAY_US + 12 * HOUR_US
    firsts = {DAY: 0, DAY + DAY_US: 50_000, DAY + 2 * DAY_US: 100_000}
    parts = parts_of(DAY, now, firsts, 119_999)
    chunks = plan(parts, Coverage(), rules(now=now))
    assert [chunk.origin for chunk in chunks] == ["archive", "archive", "rest", "rest"]
    # They join by id, without overlap or hole.
    assert Coverage(run for chunk in chunks for run in chunk.runs) == Coverage([(0, 119_999)])
    assert sum(chunk.size for chunk in chunks) == 120_000


def test_a_file_is_asked_for_when_it_can_be_there():
    part = Part(DAY, DAY + DAY_US, 0, 99_999)
    published = DAY + DAY_US + 8 * HOUR_US
    assert plan([part], Coverage(), rules(now=published))[0].origin == "archive"
    assert plan([part], Coverage(), rules(now=published - 1))[0].origin == "rest"
    # Who asks for the archive alone gets it tried at once.
    assert plan([part], Coverage(), rules("archive", now=published - 1))[0].origin == "archive"


def test_what_few_pages_hold_is_not_worth_a_file():
    part = Part(DAY, DAY + DAY_US, 0, 99_999)
    held = Coverage([(0, 79_999)])
    assert {c.origin for c in plan([part], held, rules())} == {"rest"}
    held = Coverage([(0, 78_999)])
    assert [c.origin for c in plan([part], held, rules())] == ["archive"]


def test_a_file_that_is_not_there_makes_room_for_pages_unless_it_alone_was_wanted():
    part = Part(DAY, DAY + DAY_US, 0, 99_999)
    tried = frozenset({DAY})
    assert {c.origin for c in plan([part], Coverage(), rules(tried=tried))} == {"rest"}
    assert plan([part], Coverage(), rules("archive", tried=tried)) == []
    assert {c.origin for c in plan([part], Coverage(), rules(published_s=None))} == {"rest"}


def test_nothing_is_fetched_that_is_held():
    part = Part(DAY, DAY + DAY_US, 1_000, 50_999)
    assert plan([part], Coverage([(0, 60_000)]), rules()) == []
    held = Coverage([(0, 1_999), (3_000, 60_000)])
    assert plan([part], held, rules()) == [
        Chunk("rest", DAY, DAY + DAY_US, ((2_000, 2_999),)),
    ]


def test_days_whose_ids_nobody_told_come_by_file_only():
    parts = parts_of(DAY, DAY + 2 * DAY_US, {}, None)
    assert [c.origin for c in plan(parts, Coverage(), rules("archive"))] == ["archive"] * 2
    assert plan(parts, Coverage(), rules("rest")) == []


def test_a_local_file_is_read_once_for_the_whole_range():
    parts = parts_of(DAY, DAY + 3 * DAY_US, {}, None)
    assert plan(parts, Coverage(), rules("file")) == [Chunk("file", DAY, DAY + 3 * DAY_US)]


def test_a_sample_is_the_newest_page():
    firsts = {DAY: 0, DAY + DAY_US: 50_000}
    parts = parts_of(DAY, DAY + 2 * DAY_US, firsts, 99_999)
    chunks = plan(parts, Coverage(), rules(newest_only=True))
    assert chunks == [Chunk("rest", DAY + DAY_US, DAY + 2 * DAY_US, ((99_000, 99_999),))]
    chunks = plan(parts, Coverage(), rules("archive", newest_only=True))
    assert [(c.origin, c.day_us) for c in chunks] == [("archive", DAY + DAY_US)]


def test_one_page_covers_the_small_holes_near_each_other():
    assert list(pages([(5, 6), (100, 101), (1_004, 1_005)], 1000)) == [5, 1_005]
    assert list(cut([(5, 6), (100, 101), (1_004, 1_005)], 1000, 1)) == [
        ((5, 6), (100, 101), (1_004, 1_004)),
        ((1_005, 1_005),),
    ]


RUNS = some.lists(some.tuples(some.integers(0, 3_000), some.integers(0, 400)), max_size=12)


@given(RUNS, some.integers(1, 50), some.integers(1, 5))
def test_chunks_are_the_holes_exactly_and_no_page_is_asked_twice(starts, limit, size):
    holes = list(Coverage((first, first + length) for first, length in starts))
    chunks = list(cut(holes, limit, size))
    flat = [run for chunk in chunks for run in chunk]
    assert Coverage(flat) == Coverage(holes)
    assert sum(b - a + 1 for a, b in flat) == sum(b - a + 1 for a, b in holes)
    for chunk in chunks:
        assert len(list(pages(chunk, limit))) <= size
    asked = [start for chunk in chunks for start in pages(chunk, limit)]
    assert asked == list(pages(holes, limit))
    # An oracle, id by id: a page starts at each missing id that the page before does not reach.
    wanted, reach = [], -1
    for first, last in holes:
        for id in range(first, last + 1):
            if id > reach:
                wanted.append(id)
                reach = id + limit - 1
    assert asked == wanted
