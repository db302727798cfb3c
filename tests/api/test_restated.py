"""What was published and has changed, as the API tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marketdata import live
from marketdata.core.events import Batch
from marketdata.models import Restatement
from marketdata.store import restatements
from tests.api.house import BTC, NEW_YEAR_US, House, trades, until

Get = Callable[..., Any]


def late(house: House) -> None:
    """Feed a minute, close it by the next one, and bring a trade of it late."""
    house.open()
    house.feed(trades(1, [(1, 100.0, 1.0, True), (2, 101.0, 1.0, False)]))
    house.feed(trades(4, [(61, 102.0, 1.0, True)]))
    house.flow.put(*BTC, Batch(trades(3, [(3, 99.0, 2.0, False)]), "live", house.now_us))
    house.store()


def test_a_context_counts_what_was_restated(house: House, get: Get) -> None:
    late(house)
    until(lambda: get("/api/context")["restatements"] == 1)
    assert get("/api/context", scope="overlap")["restatements"] == 0


def test_events_tell_old_and_new_and_the_cause(house: House, get: Get) -> None:
    late(house)
    events = get("/api/strategy/events")["events"]
    (told,) = [event for event in events if event["kind"] == "restated"]
    assert told["ts"] == "2024-01-01T01:00:00.000Z"
    assert {name: told["detail"][name] for name in ("what", "name", "start_us", "cause")} == {
        "what": "candle", "name": "1m", "start_us": NEW_YEAR_US, "cause": "late",
    }  # fmt: skip
    old, new = told["detail"]["old"], told["detail"]["new"]
    assert (old["low"], old["volume"], old["trades"]) == (100.0, 2.0, 2)
    assert (new["low"], new["volume"], new["trades"]) == (99.0, 4.0, 3)
    row = Restatement.objects.get()
    # The same record from memory and from the table is told once.
    house.tape.event(house.flow.lanes[BTC].pipeline.instrument, restatements.event(row))
    events = get("/api/strategy/events")["events"]
    assert [event["kind"] for event in events].count("restated") == 1


def test_without_feeds_the_stored_records_count(house: House, get: Get) -> None:
    late(house)
    live.stop()
    assert get("/api/context")["restatements"] == 1


def test_counts_of_an_earlier_run_are_read_at_the_start(house: House) -> None:
    late(house)
    counts = restatements.Counts()
    instrument_id = house.flow.lanes[BTC].pipeline.instrument.id
    counts.load(instrument_id, NEW_YEAR_US)
    assert counts.of(instrument_id, NEW_YEAR_US, NEW_YEAR_US + 1) == 1
    assert counts.of(instrument_id, NEW_YEAR_US + 1, NEW_YEAR_US + 2) == 0
    assert counts.of(instrument_id + 1, 0, NEW_YEAR_US + 2) == 0
    counts.add([Restatement(instrument_id=instrument_id, start_us=NEW_YEAR_US + 1)])
    assert counts.of(instrument_id, NEW_YEAR_US + 1, NEW_YEAR_US + 2) == 1
    counts.load(instrument_id, NEW_YEAR_US + 1)
    assert counts.of(instrument_id, NEW_YEAR_US, NEW_YEAR_US + 1) == 0
