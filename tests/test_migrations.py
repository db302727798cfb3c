from datetime import time
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from marketdata.models import Instrument, Trade, TradingSession

pytestmark = pytest.mark.django_db


def test_the_models_need_no_migration():
    out = StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)
    assert out.getvalue().strip() == "No changes detected"


def test_an_installation_starts_with_two_sessions():
    loaded = MigrationExecutor(connection).loader.project_state(
        ("marketdata", "0002_default_sessions")
    )
    assert "tradingsession" in {name for app, name in loaded.models if app == "marketdata"}
    from importlib import import_module

    TradingSession.objects.all().delete()
    module = import_module("marketdata.migrations.0002_default_sessions")
    for _ in range(2):  # a second time changes nothing
        module.add(loaded.apps, None)
    rows = TradingSession.objects.values_list("name", "tz", "start", "end", "weekdays", "is_active")
    assert list(rows) == [
        ("london", "UTC", time(8), time(12), "1234567", True),
        ("overlap", "UTC", time(13), time(17), "1234567", True),
    ]


def test_trades_are_one_tree():
    """The key of a trade is SQLite's own row id, so that there is no second index to keep."""
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, Trade._meta.db_table)
        assert [column.name for column in columns if column.pk] == ["id"]
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = %s",
                       [Trade._meta.db_table])  # fmt: skip
        assert cursor.fetchall() == []
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [Trade._meta.db_table])
        assert '"id" integer NOT NULL PRIMARY KEY' in cursor.fetchone()[0]


def test_the_largest_key_fits():
    Trade.objects.create(
        id=2**63 - 1, instrument_id=4095, trade_id=2**51 - 1, ts_us=1, price=1, qty=1, is_buy=True
    )
    assert Trade.objects.get(id=2**63 - 1).trade_id == 2**51 - 1


def test_an_instrument_counts_aggregates_unless_told():
    row = Instrument.objects.create(source="x", symbol="y", tick="1", lot="1")
    assert (row.channel, row.simulated) == ("aggTrade", False)
