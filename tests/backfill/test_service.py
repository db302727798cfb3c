"""The daemon's queue: one job after another, resumed after a crash, stopped at a page."""

from __future__ import annotations

import threading
import time

import pytest

from marketdata.backfill import jobs
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.backfill.means import means_of
from marketdata.backfill.service import BackfillService
from marketdata.backfill.status import status_answer
from marketdata.core.errors import BadInputError
from marketdata.models import BackfillJob
from marketdata.store import instruments, rows
from tests.backfill.conftest import FIRST, LAST, SYMBOL
from tests.backfill.made import DAY_LONG_US, DAY_US

pytestmark = pytest.mark.django_db(transaction=True)
TOTAL = LAST - FIRST + 1


def request(**given) -> Request:
    values = {
        "source": "binance_ws",
        "symbol": SYMBOL,
        "start_us": DAY_US,
        "end_us": DAY_US + DAY_LONG_US,
        "via": "rest",
        "workers": 1,
        **given,
    }
    return Request(**values)


def until(holds, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def status_of(job) -> str:
    return BackfillJob.objects.get(pk=job.pk).status


class Gated:
    """Makes means whose pages wait for leave, so that a test can act in the middle of a job."""

    def __init__(self) -> None:
        self.leave = threading.Semaphore(0)
        self.asked = threading.Event()
        self.is_open = False

    def __call__(self, source, settings, stop):
        means = means_of(source, settings, stop)
        page = means.client.page

        def gated(*args, **kwargs):
            self.asked.set()
            while not self.is_open and not self.leave.acquire(timeout=0.01):
                if stop.is_set():
                    break
            return page(*args, **kwargs)

        means.client.page = gated
        return means


@pytest.fixture
def gated():
    return Gated()


@pytest.fixture
def start(writer, settings_at, gated):
    started = []

    def make(**given) -> BackfillService:
        started.append(BackfillService(settings_at, Inlet(writer), make_means=gated, **given))
        started[-1].start()
        return started[-1]

    yield make
    for service in started:
        assert service.stop()


def test_a_job_is_run_and_its_progress_told(start, gated):
    service = start()
    assert status_answer(service)["status"] == "idle"
    job = service.submit(request())
    until(gated.asked.is_set)
    until(lambda: status_of(job) == "running")
    # One page tells the last id, the others are the job's.
    gated.leave.release(7)
    until(lambda: service.running()[1].current >= 5_000)
    answer = status_answer(service)
    assert (answer["status"], answer["running"], answer["job"]) == ("running", True, job.pk)
    assert service.concerns("binance_ws", SYMBOL, DAY_US + DAY_LONG_US - 1)
    assert not service.concerns("binance_ws", SYMBOL, DAY_US + DAY_LONG_US)
    assert not service.concerns("binance_ws", "ETHUSDT", DAY_US)
    progress = answer["progress"]
    assert progress["total"] == TOTAL
    assert progress["percentage"] == pytest.approx(100 * progress["current"] / TOTAL, abs=0.01)
    assert progress["estimated_seconds_remaining"] > 0
    assert 0 < progress["limit_headroom"] <= 1
    gated.is_open = True
    until(lambda: status_of(job) == "completed")
    until(lambda: service.running() is None)
    answer = status_answer(service)
    assert (answer["status"], answer["running"]) == ("completed", False)
    assert not service.concerns("binance_ws", SYMBOL, DAY_US)
    assert answer["jobs"][0]["trades"] == TOTAL
    assert answer["jobs"][0]["start"] == "2024-01-01T00:00:00.000Z"


def test_jobs_wait_for_each_other_and_the_same_one_is_one(start, gated):
    service = start()
    first = service.submit(request())
    assert service.submit(request()).pk == first.pk
    until(lambda: status_of(first) == "running")
    assert service.submit(request()).pk == first.pk
    second = service.submit(request(end_us=DAY_US + DAY_LONG_US // 2))
    assert status_of(second) == "queued"
    gated.is_open = True
    until(lambda: status_of(second) == "completed")
    assert status_of(first) == "completed"
    # What the first brought was there for the second.
    assert BackfillJob.objects.get(pk=second.pk).inserted == 0


def test_a_request_that_makes_no_sense_is_refused(start):
    service = start()
    for wrong in (
        {"source": "nowhere"},
        {"symbol": ""},
        {"via": "pigeon"},
        {"via": "file"},
        {"path": "/etc/passwd"},
        {"workers": -1},
        {"end_us": DAY_US},
        {"start_us": jobs.wall_us() + DAY_LONG_US, "end_us": jobs.wall_us() + 2 * DAY_LONG_US},
    ):
        with pytest.raises(BadInputError):
            service.submit(request(**wrong))
    assert not BackfillJob.objects.exists()


def test_a_running_job_is_cancelled_after_the_page_at_hand(start, gated):
    service = start()
    job = service.submit(request())
    until(gated.asked.is_set)
    gated.leave.release(4)
    until(lambda: service.running() and service.running()[1].current >= 1_000)
    assert service.cancel(job.pk)
    until(lambda: status_of(job) == "cancelled")
    held = sum(map(len, rows.read_ids(instruments.find("binance_ws", SYMBOL).id, 0, LAST)))
    assert 0 < held < TOTAL
    assert not service.cancel(job.pk)
    assert not service.cancel(job.pk + 1000)
    # Again, please.
    assert service.retry(job.pk)
    gated.is_open = True
    until(lambda: status_of(job) == "completed")
    assert not service.retry(job.pk + 1000)


def test_a_waiting_job_is_cancelled_before_it_begins(start, gated):
    service = start()
    first = service.submit(request())
    until(lambda: status_of(first) == "running")
    second = service.submit(request(end_us=DAY_US + 5))
    assert service.cancel(second.pk)
    assert status_of(second) == "cancelled"
    gated.is_open = True
    until(lambda: status_of(first) == "completed")


def test_a_job_cancelled_in_the_database_ends(start, gated):
    # As the admin of another process does it.
    service = start()
    job = service.submit(request())
    until(lambda: status_of(job) == "running")
    assert jobs.cancel(job.pk, jobs.wall_us())
    until(lambda: status_of(job) == "cancelled")


def test_a_stopped_service_leaves_its_job_to_the_next_one(start, gated):
    service = start()
    job = service.submit(request())
    until(gated.asked.is_set)
    gated.leave.release(3)
    until(lambda: service.running() and service.running()[1].current >= 1_000)
    began = time.monotonic()
    assert service.stop()
    assert time.monotonic() - began < 5
    assert status_of(job) == "queued"
    gated.is_open = True
    start()
    until(lambda: status_of(job) == "completed")
    again = BackfillJob.objects.get(pk=job.pk)
    assert (again.attempts, again.trades, again.missing) == (2, TOTAL, 0)
    assert again.inserted < TOTAL


def test_a_job_that_ran_when_its_process_died_is_resumed(start, gated):
    job = jobs.opened(request(), jobs.wall_us())
    jobs.begin(job, jobs.wall_us())
    gated.is_open = True
    start()
    until(lambda: status_of(job) == "completed")


def test_a_job_that_breaks_does_not_end_the_queue(start, gated, monkeypatch, caplog):
    monkeypatch.setattr("marketdata.backfill.service.PAUSE_S", 0.01)
    service = start()
    make, calls = service._make_means, []

    def broken_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return make(*args)

    service._make_means = broken_once
    gated.is_open = True
    first = service.submit(request())
    until(lambda: status_of(first) == "failed")
    assert BackfillJob.objects.get(pk=first.pk).error == "RuntimeError: a bug"
    second = service.submit(request(end_us=DAY_US + DAY_LONG_US // 2))
    until(lambda: status_of(second) == "completed")
    until(lambda: status_answer(service)["status"] in ("completed", "failed"))
    assert "goes on after an error" in caplog.text
