"""Two days without the daemon: found, fetched from the venue, certified, by itself."""

from __future__ import annotations

import numpy as np
import pytest

from marketdata.backfill import auditor as module
from marketdata.backfill.auditor import Auditor, Parts
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.service import BackfillService
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.models import BackfillJob, Certificate, DailyLevel
from marketdata.store import instruments, ledger
from tests.backfill.conftest import SYMBOL, settings_of
from tests.backfill.made import DAY_LONG_US, DAY_US, made
from tests.store.stored import until

pytestmark = pytest.mark.django_db(transaction=True)
NOW = DAY_US + 3 * DAY_LONG_US + DAY_LONG_US // 2


def test_two_days_without_the_daemon_are_refilled(writer, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0)
    days = [
        made(range(1 + 3_000 * day, 1 + 3_000 * (day + 1)), DAY_US + day * DAY_LONG_US)
        for day in range(4)
    ]
    tape = Trades.concat(days)
    settings = settings_of(serve(tape).rest_url, tmp_path)
    btc = instruments.remember("binance_ws", SYMBOL, Grid.of_values(tape.price, tape.qty))
    # Live from the start until noon of the first day, and again since noon of the last one.
    missed = (tape.id > 1_500) & (tape.id < 10_500)
    for part in (tape[tape.id <= 1_500], tape[tape.id >= 10_500]):
        writer.put_trades(btc.id, Batch(part))
    assert writer.flush()
    inlet, given_up = Inlet(writer), []
    service = BackfillService(settings, inlet, lambda: NOW)
    parts = Parts(
        names=lambda: [(btc.source, btc.symbol)],
        inlet=inlet,
        submit=service.submit,
        give_up=lambda *told: given_up.append(told),
        clock=lambda: NOW,
    )
    auditor = Auditor(parts)
    service.start()
    try:
        auditor._turn()
        assert BackfillJob.objects.count() == 3
        until(lambda: not BackfillJob.objects.exclude(status="completed").exists(), 30)
        auditor._turn()
    finally:
        assert service.stop()
    assert writer.flush()
    today = DAY_US + 3 * DAY_LONG_US
    held = ledger.coverage(btc.id)
    # Of today live repair takes care.
    assert list(held) == [(1, 9_000), (10_500, 12_000)]
    assert (given_up, int(np.count_nonzero(missed))) == ([], 8_999)
    rows = Certificate.objects.filter(scope="day", start_us__lt=today).order_by("start_us")
    assert list(rows.values_list("held", "missing")) == [(3_000, 0)] * 3
    levels = DailyLevel.objects.filter(origin="trades", day_us__lt=today)
    assert set(levels.values_list("trades", "is_final")) == {(3_000, True)}
