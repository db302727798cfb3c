import logging
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections

from marketdata.core.candles import Candle
from marketdata.core.errors import BadTradesError
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Grid
from marketdata.models import Candle as CandleRow
from marketdata.models import CoverageSegment, FeedState, Instrument, Restatement, Trade
from marketdata.models import Event as EventRow
from marketdata.store import ledger, refusals
from marketdata.store import writer as module
from marketdata.store.writer import Writer, WriterStoppedError
from tests.core.invented import MONDAY, tape
from tests.store.stored import held_ids, locking_process, release, run_of, segments, until


@pytest.mark.django_db(transaction=True)
def test_rows_hold_what_was_handed_in(btc, writer):
    trades = tape(
        (7, MONDAY + 5, 42283.58, 0.03859, True),
        (8, MONDAY + 6, 42283.59, 1e-05, False),
    )
    writer.put_trades(btc.id, Batch(trades, "live"))
    assert writer.flush()
    rows = Trade.objects.order_by("id").values_list("trade_id", "ts_us", "price", "qty", "is_buy")
    assert list(rows) == [
        (7, MONDAY + 5, 42283.58, 0.03859, True),
        (8, MONDAY + 6, 42283.59, 1e-05, False),
    ]
    segment = CoverageSegment.objects.get()
    assert (segment.first_id, segment.last_id, segment.origin) == (7, 8, "live")
    assert (segment.first_ts_us, segment.last_ts_us) == (MONDAY + 5, MONDAY + 6)
    assert ledger.audit(btc.id) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [1, 99, 100, 101, 1234])
def test_any_number_of_rows_is_counted_exactly(btc, writer, count):
    writer.put_trades(btc.id, Batch(run_of(1, count)))
    assert writer.flush()
    assert Trade.objects.count() == writer.rows_written == count
    assert writer.statistics.duplicates == 0


@pytest.mark.django_db(transaction=True)
def test_what_is_there_already_is_left_alone(btc, writer):
    writer.put_trades(btc.id, Batch(run_of(10, 150), "live"))
    assert writer.flush()
    again = tape(*((id, MONDAY, 1.0, 1.0, True) for id in range(100, 200)))
    writer.put_trades(btc.id, Batch(again, "rest"))
    assert writer.flush()
    assert held_ids(btc.id) == list(range(10, 200))
    assert Trade.objects.filter(price=1.0).count() == 40
    assert segments(btc.id) == [(10, 159, "live"), (160, 199, "rest")]
    assert (writer.statistics.rows, writer.statistics.duplicates) == (190, 60)
    assert ledger.audit(btc.id) == []


@pytest.mark.django_db(transaction=True)
def test_an_id_told_twice_in_one_flush_is_one_row(btc, writer):
    writer.put_trades(btc.id, Batch(tape((5, MONDAY, 1, 1, True), (6, MONDAY + 9, 1, 1, True))))
    writer.put_trades(btc.id, Batch(tape((6, MONDAY + 8, 2, 1, True), (7, MONDAY + 3, 1, 1, True))))
    assert writer.flush()
    assert held_ids(btc.id) == [5, 6, 7]
    assert Trade.objects.get(trade_id=6).ts_us == MONDAY + 9
    assert ledger.audit(btc.id) == []


@pytest.mark.django_db(transaction=True)
def test_the_order_of_arrival_does_not_matter(btc, writer):
    for first in (50, 10, 90, 30, 70):
        writer.put_trades(btc.id, Batch(run_of(first, 20)[::-1]))
    assert writer.flush()
    assert segments(btc.id) == [(10, 109, "live")]
    assert ledger.audit(btc.id) == []


@pytest.mark.django_db(transaction=True)
def test_instruments_do_not_meet(btc, writer):
    other = Instrument.objects.create(source="binance_ws", symbol="LTCUSDT", tick="1", lot="1")
    writer.put_trades(btc.id, Batch(run_of(2**51 - 3, 3)))
    writer.put_trades(other.pk, Batch(run_of(0, 3)))
    assert writer.flush()
    assert held_ids(btc.id) == [2**51 - 3, 2**51 - 2, 2**51 - 1]
    assert held_ids(other.pk) == [0, 1, 2]
    assert ledger.audit(btc.id) == ledger.audit(other.pk) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("id", [-1, 2**51])
def test_an_id_that_fits_no_key_is_refused(btc, writer, id):
    with pytest.raises(BadTradesError, match=r"ids from 0 to 2\*\*51 expected"):
        writer.put_trades(btc.id, Batch(tape((id, MONDAY, 1, 1, True))))


@pytest.mark.django_db(transaction=True)
def test_trades_and_ledger_commit_together(btc, writer, monkeypatch, caplog):
    seen = []
    genuine = ledger.claim

    def failing(instrument_id, trades, origin):
        if not seen:
            # Inside the transaction the rows are there; another connection must not see them.
            inside = Trade.objects.filter(instrument_id=instrument_id).count()
            seen.append((inside, counted_elsewhere()))
            raise OperationalError("disk I/O error")
        genuine(instrument_id, trades, origin)

    monkeypatch.setattr(ledger, "claim", failing)
    with caplog.at_level(logging.INFO, logger="marketdata"):
        writer.put_trades(btc.id, Batch(run_of(1, 20)))
        assert writer.flush()
    assert seen == [(20, 0)]
    assert held_ids(btc.id) == list(range(1, 21))
    assert ledger.audit(btc.id) == []
    assert writer.statistics.retries == 1
    assert "disk I/O error" in caplog.text
    assert "rows are written again" in caplog.text


def counted_elsewhere():
    """How many rows another thread, so another connection, sees."""
    answers = []

    def ask():
        answers.append(Trade.objects.count())
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(10)
    return answers[0]


@pytest.mark.django_db(transaction=True)
def test_one_transaction_a_flush(btc, transactional_db):
    writer = Writer(flush_s=0.01)
    for first in range(0, 1000, 10):
        writer.put_trades(btc.id, Batch(run_of(first, 10)))
    writer.put_events(btc.id, [Event("gap", MONDAY, {"first_id": 1})])
    writer.start()
    assert writer.flush()
    assert writer.statistics.flushes == 1
    writer.stop()


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_is_waited_for(btc, impatient, writer):
    process = locking_process()
    writer.put_trades(btc.id, Batch(run_of(1, 50)))
    until(lambda: writer.statistics.retries >= 2)
    assert "locked" in writer.last_error
    assert writer.depth_rows == 50
    release(process)
    assert writer.flush()
    assert held_ids(btc.id) == list(range(1, 51))
    assert (writer.last_error, writer.depth_rows) == ("", 0)


@pytest.mark.django_db(transaction=True)
def test_a_full_database_is_waited_for(btc, monkeypatch, transactional_db):
    # A limit of pages is to SQLite what a full disk is: SQLITE_FULL in the middle of a flush.
    # Pages that other tests freed would be room.
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
    options = connections.settings["default"]["OPTIONS"]
    freed = options["init_command"]
    monkeypatch.setitem(options, "init_command", freed + "; PRAGMA max_page_count=1")
    writer = Writer(flush_s=0.01)
    writer.start()
    try:
        writer.put_trades(btc.id, Batch(run_of(1, 5000)))
        until(lambda: writer.statistics.retries >= 2)
        assert "full" in writer.last_error
        assert writer.depth_rows == 5000
    finally:
        monkeypatch.setitem(options, "init_command", freed)
        assert writer.stop()
    assert held_ids(btc.id) == list(range(1, 5001))
    assert segments(btc.id) == [(1, 5000, "live")]


@pytest.mark.django_db(transaction=True)
def test_stop_says_where_rows_had_to_be_left(btc, impatient, transactional_db):
    writer = Writer(flush_s=0.01)
    writer.start()
    process = locking_process()
    writer.put_trades(btc.id, Batch(run_of(1, 50)))
    until(lambda: writer.statistics.retries >= 1)
    assert writer.stop(0.2) is False
    assert not writer.is_alive()
    release(process)
    assert held_ids(btc.id) == segments(btc.id) == []


@pytest.mark.django_db(transaction=True)
def test_stop_writes_everything_in_full_batches(btc, transactional_db):
    writer = Writer(flush_rows=500, flush_s=60)
    writer.start()
    for id in range(2000):
        writer.put_trades(btc.id, Batch(run_of(id, 1)))
    assert writer.stop()
    assert held_ids(btc.id) == list(range(2000))
    assert writer.statistics.flushes <= 8
    assert not Path(f"{connection.settings_dict['NAME']}-wal").stat().st_size


@pytest.mark.django_db(transaction=True)
def test_a_stopped_writer_takes_no_more(btc, writer):
    assert writer.stop()
    with pytest.raises(WriterStoppedError):
        writer.put_trades(btc.id, Batch(run_of(1, 1)))
    assert writer.flush(0.05) is False


@pytest.mark.django_db(transaction=True)
def test_whoever_hands_in_too_much_waits(btc, transactional_db):
    writer = Writer(flush_s=0.01, most_rows=100)
    writer.put_trades(btc.id, Batch(run_of(0, 100)))
    handed = threading.Event()

    def more():
        writer.put_trades(btc.id, Batch(run_of(100, 50)))
        handed.set()

    thread = threading.Thread(target=more)
    thread.start()
    assert not handed.wait(0.1)
    assert writer.depth_rows == 100
    writer.start()
    assert handed.wait(5)
    thread.join(5)
    assert writer.stop()
    assert len(held_ids(btc.id)) == 150


@pytest.mark.django_db(transaction=True)
def test_a_backfill_waits_where_live_trades_do_not(btc, transactional_db):
    writer = Writer(flush_s=0.01)
    writer.put_trades(btc.id, Batch(run_of(1, 50), "archive"), most_rows=50)
    waiting = threading.Thread(
        target=lambda: writer.put_trades(btc.id, Batch(run_of(51, 50), "archive"), most_rows=50)
    )
    waiting.start()
    writer.put_trades(btc.id, Batch(run_of(1001, 10)))
    waiting.join(0.05)
    assert waiting.is_alive()
    assert writer.depth_rows == 60
    writer.start()
    waiting.join(5)
    assert not waiting.is_alive()
    assert writer.stop()
    assert held_ids(btc.id) == [*range(1, 101), *range(1001, 1011)]


@pytest.mark.django_db(transaction=True)
def test_stop_frees_whoever_waits(btc, transactional_db):
    writer = Writer(most_rows=10)
    writer.put_trades(btc.id, Batch(run_of(0, 10)))
    errors = []

    def more():
        try:
            writer.put_trades(btc.id, Batch(run_of(10, 1)))
        except WriterStoppedError as error:
            errors.append(error)

    thread = threading.Thread(target=more)
    thread.start()
    assert writer.stop(0.1) is False
    thread.join(5)
    assert len(errors) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "event",
    [
        Event("gap", MONDAY, {"seen": {1, 2}}),
        Event("gap", 2**70, {}),
        Event("x" * 10, None, {}),
    ],
    ids=["no JSON", "no 64 bits", "no time"],
)
def test_what_can_never_be_written_stops_nothing_else(btc, writer, event, caplog):
    writer.put_trades(btc.id, Batch(run_of(1, 20)))
    writer.put_events(btc.id, [event])
    writer.put_events(btc.id, [Event("day_roll", MONDAY)])
    writer.put_trades(btc.id, Batch(run_of(21, 20)))
    assert writer.flush()
    assert held_ids(btc.id) == list(range(1, 41))
    assert list(EventRow.objects.values_list("kind", flat=True)) == ["day_roll"]
    assert (writer.statistics.refused, writer.statistics.retries) == (1, 0)
    assert ledger.audit(btc.id) == []
    assert "left out for good" in caplog.text
    assert writer.is_alive()


@pytest.mark.django_db(transaction=True)
def test_nan_is_refused_and_not_claimed(btc, writer):
    writer.put_trades(btc.id, Batch(tape((1, MONDAY, float("nan"), 1, True))))
    writer.put_trades(btc.id, Batch(tape((2, MONDAY, 1, 1, True)), "rest"))
    assert writer.flush()
    assert (held_ids(btc.id), segments(btc.id)) == ([2], [(2, 2, "rest")])
    assert writer.statistics.refused == 1


@pytest.mark.django_db(transaction=True)
def test_candles_replace_their_restated_self(btc, writer):
    first = Candle(MONDAY, 1, 2, 1, 2, 10, 4, 15, 3, 100, 102)
    late = Candle(MONDAY, 1, 3, 1, 2, 12, 4, 18, 4, 100, 103)
    writer.put_candles(btc.id, "1m", [first])
    writer.put_candles(btc.id, "1m", [late])
    writer.put_candles(btc.id, "5m", [first])
    writer.put_candles(btc.id, "5m", [])
    assert writer.flush()
    rows = CandleRow.objects.order_by("timeframe").values_list("timeframe", "high", "trades")
    assert list(rows) == [("1m", 3.0, 4), ("5m", 2.0, 3)]


@pytest.mark.django_db(transaction=True)
def test_rows_and_grids_replace_what_was_there(btc, writer):
    for state in ("live", "stale"):
        row = FeedState(source="binance_ws", channel="aggTrade", symbol="BTCUSDT", state=state)
        row.since_us = MONDAY
        writer.put_row(row)
    writer.put_grid(btc.id, Grid(Decimal("0.001"), Decimal("0.0001")))
    assert writer.flush()
    assert FeedState.objects.get().state == "stale"
    assert list(Instrument.objects.values_list("tick", "lot")) == [("0.001", "0.0001")]


@pytest.mark.django_db(transaction=True)
def test_a_flush_is_told_with_its_rows(btc, transactional_db):
    told = []
    writer = Writer(flush_s=0.01, on_flush=lambda rows, seconds: told.append((rows, seconds > 0)))
    writer.put_trades(btc.id, Batch(run_of(1, 30)))
    writer.start()
    assert writer.flush()
    writer.stop()
    assert told == [(30, True)]


@pytest.mark.django_db(transaction=True)
def test_the_end_of_the_thread_closes_its_connection(btc, transactional_db):
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files can be counted on Linux only")
    connection.close()
    before = open_handles()
    writer = Writer(flush_s=0.01)
    writer.start()
    writer.put_trades(btc.id, Batch(run_of(1, 5)))
    assert writer.flush()
    assert open_handles() > before
    writer.stop()
    assert open_handles() == before


def open_handles():
    """How many open files of this process are the test database's."""
    name = str(Path(connection.settings_dict["NAME"]).resolve())
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(str(path.readlink()).startswith(name) for path in links if path.exists())


def test_no_statement_binds_more_than_sqlite_takes():
    assert module.INSERT_MANY.count("%s") == module.STATEMENT_ROWS * module.COLUMNS < 32_766


@pytest.mark.django_db(transaction=True)
def test_trades_stored_before_are_counted_as_refused(btc, writer):
    minute = 60_000_000
    writer.put_trades(
        btc.id, Batch(tape((1, MONDAY, 1, 1, True), (3, MONDAY + minute, 1, 1, True)))
    )
    assert writer.flush()
    again = tape(*((id, MONDAY + (id - 1) * minute // 2, 1, 1, True) for id in (1, 2, 3)))
    writer.put_trades(btc.id, Batch(again, "archive"))
    assert writer.flush()
    assert refusals.count(btc.id, MONDAY, MONDAY + minute) == 1
    assert refusals.count(btc.id, MONDAY, MONDAY + 2 * minute) == 2
    assert writer.statistics.duplicates == 2


@pytest.mark.django_db(transaction=True)
def test_a_restatement_is_told_once_it_is_committed(btc, transactional_db):
    told, writer = [], Writer(flush_s=0.01)
    writer.on_restated = lambda rows: told.extend((row.pk, row.cause) for row in rows)
    writer.put_candles(
        btc.id, "1m", [Candle(MONDAY, 1, 2, 1, 2, 10, 4, 15, 3, 100, 102)], "late", 7
    )
    writer.put_candles(
        btc.id, "1m", [Candle(MONDAY, 1, 3, 1, 2, 12, 4, 18, 4, 100, 103)], "late", 8
    )
    writer.start()
    assert writer.flush()
    writer.stop()
    row = Restatement.objects.get()
    assert told == [(row.pk, "late")]
    assert (row.old["high"], row.new["high"], row.ts_us) == (2, 3, 8)
