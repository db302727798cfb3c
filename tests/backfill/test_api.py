"""The doors of backfills: who may knock, what is asked, what is answered."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import Client

from marketdata import live
from marketdata.backfill import jobs
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.backfill.service import BackfillService
from marketdata.models import BackfillChunk, BackfillJob
from marketdata.store.writer import Writer
from tests.backfill.made import DAY_LONG_US, DAY_US

pytestmark = pytest.mark.django_db(transaction=True)
KEY = "a long secret"


@pytest.fixture
def service(monkeypatch):
    """Return a service that is not started: what is queued stays queued."""
    conf = replace(django_settings.BOTCRYPTO, api_key=KEY, symbol="ETHUSDT")
    monkeypatch.setattr(django_settings, "BOTCRYPTO", conf)
    service = BackfillService(conf, Inlet(Writer()))

    class Running:
        backfill = service

    live.start(Running())
    yield service
    live.stop()


def post(client, path, body=None, **headers):
    return client.post(
        f"/api/backfill{path}", json.dumps(body or {}), "application/json", headers=headers
    )


def with_key(client, path, body=None):
    return post(client, path, body, **{"X-API-Key": KEY})


def test_the_state_is_told_to_everybody(client, service):
    answer = client.get("/api/backfill/status").json()
    assert (answer["status"], answer["running"], answer["jobs"]) == ("idle", False, [])
    assert answer["progress"].keys() >= {
        "current", "total", "percentage", "estimated_seconds_remaining",
    }  # fmt: skip
    service.submit(Request("binance_ws", "BTCUSDT", DAY_US, DAY_US + DAY_LONG_US))
    answer = client.get("/api/backfill/status").json()
    assert [job["status"] for job in answer["jobs"]] == ["queued"]


def test_the_last_job_that_is_over_decides_the_state(client, service):
    for day, status in enumerate(("completed", "failed", "cancelled")):
        start = DAY_US + day * DAY_LONG_US
        job = service.submit(Request("binance_ws", "BTCUSDT", start, start + DAY_LONG_US))
        jobs.keep(job, status=status)
    assert client.get("/api/backfill/status").json()["status"] == "failed"


def test_a_process_without_feeds_tells_of_stored_jobs_and_takes_none(client, service):
    live.stop()
    assert client.get("/api/backfill/status").json()["status"] == "idle"
    assert with_key(client, "/jobs", {"date": "2024-01-01"}).status_code == 503


def test_a_key_may_queue_a_day(client, service):
    answer = with_key(client, "/jobs", {"symbol": "BTCUSDT", "date": "2024-01-01"})
    assert answer.status_code == 202
    job = answer.json()
    assert (job["symbol"], job["source"], job["via"]) == ("BTCUSDT", "binance_ws", "auto")
    assert (job["start"], job["end"]) == ("2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z")
    assert (job["status"], job["missing"], job["vwap"]) == ("queued", 0, None)
    again = with_key(client, "/jobs", {"symbol": "BTCUSDT", "date": "2024-01-01"})
    assert again.json()["id"] == job["id"]


def test_today_and_ranges_default_to_what_is_configured(client, service):
    job = with_key(client, "/jobs", {"today": True, "via": "rest", "workers": 2}).json()
    assert job["symbol"] == "ETHUSDT"
    assert job["start"].endswith("T00:00:00.000Z")
    body = {"start": "2024-01-01T06:00:00+02:00", "end": "2024-01-03"}
    job = with_key(client, "/jobs", body).json()
    assert (job["start"], job["end"]) == ("2024-01-01T04:00:00.000Z", "2024-01-03T00:00:00.000Z")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"today": True, "date": "2024-01-01"},
        {"start": "2024-01-01"},
        {"end": "2024-01-01"},
        {"date": "yesterday"},
        {"date": "2999-01-01"},
        {"date": "2024-01-01", "via": "file"},
        {"date": "2024-01-01", "workers": 1_000},
        {"date": "2024-01-01", "source": "nowhere"},
        {"date": "2024-01-01", "symbol": "x" * 65},
    ],
)
def test_a_malformed_request_is_422(client, service, body):
    answer = with_key(client, "/jobs", body)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert not BackfillJob.objects.exists()


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", "schlüssel"])
def test_a_wrong_key_opens_nothing(client, service, key):
    answer = post(client, "/jobs", {"today": True}, **{"X-API-Key": key})
    assert answer.status_code in (401, 403)
    assert not BackfillJob.objects.exists()


def test_without_a_key_in_the_settings_no_key_opens(client, service, monkeypatch):
    conf = replace(django_settings.BOTCRYPTO, api_key="")
    monkeypatch.setattr(django_settings, "BOTCRYPTO", conf)
    assert post(client, "/jobs", {"today": True}, **{"X-API-Key": ""}).status_code in (401, 403)


def test_a_staff_session_needs_its_csrf_token(service):
    user = get_user_model().objects.create_user("desk", password="a password", is_staff=True)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert post(client, "/jobs", {"date": "2024-01-01"}).status_code == 403
    client.get("/admin/")
    token = client.get("/admin/password_change/").cookies["csrftoken"].value
    answer = post(client, "/jobs", {"date": "2024-01-01"}, **{"X-CSRFToken": token})
    assert answer.status_code == 202


def test_a_session_of_somebody_else_is_not_enough(service):
    user = get_user_model().objects.create_user("guest", password="a password")
    client = Client()
    client.force_login(user)
    assert post(client, "/jobs", {"date": "2024-01-01"}).status_code == 401
    assert post(Client(), "/jobs", {"date": "2024-01-01"}).status_code == 401


def test_a_job_is_shown_with_its_chunks_and_cancelled(client, service):
    job = service.submit(Request("binance_ws", "BTCUSDT", DAY_US, DAY_US + DAY_LONG_US))
    BackfillChunk.objects.create(
        job=job, number=1, origin="rest", day_us=DAY_US, first_id=5, last_id=9, lacking=[[7, 7]]
    )
    shown = client.get(f"/api/backfill/jobs/{job.pk}").json()
    assert shown["chunks"][0]["day"] == "2024-01-01"
    assert shown["chunks"][0]["lacking"] == [[7, 7]]
    answer = with_key(client, f"/jobs/{job.pk}/cancel")
    assert (answer.status_code, answer.json()) == (202, {"id": job.pk, "cancelling": True})
    assert BackfillJob.objects.get().status == "cancelled"
    assert with_key(client, f"/jobs/{job.pk}/cancel").json()["cancelling"] is False
    assert post(client, f"/jobs/{job.pk}/cancel").status_code in (401, 403)
    unknown = with_key(client, "/jobs/999/cancel")
    assert (unknown.status_code, unknown.json()["known"]) == (404, [job.pk])
    assert client.get("/api/backfill/jobs/999").status_code == 404


def test_a_job_that_is_over_is_queued_again(client, service):
    job = service.submit(Request("binance_ws", "BTCUSDT", DAY_US, DAY_US + DAY_LONG_US))
    assert with_key(client, f"/jobs/{job.pk}/retry").json() == {"id": job.pk, "queued": False}
    jobs.keep(job, status="failed", error="no network")
    answer = with_key(client, f"/jobs/{job.pk}/retry")
    assert (answer.status_code, answer.json()) == (202, {"id": job.pk, "queued": True})
    job.refresh_from_db()
    assert (job.status, job.error) == ("queued", "")
    jobs.keep(job, status="failed")
    assert post(client, f"/jobs/{job.pk}/retry").status_code in (401, 403)
    unknown = with_key(client, "/jobs/999/retry")
    assert (unknown.status_code, unknown.json()["known"]) == (404, [job.pk])
    live.stop()
    assert with_key(client, f"/jobs/{job.pk}/retry").status_code == 503
    assert BackfillJob.objects.get().status == "failed"


def test_a_job_that_shall_end_says_so(client, service):
    job = service.submit(Request("binance_ws", "BTCUSDT", DAY_US, DAY_US + DAY_LONG_US))
    jobs.keep(job, status="running")
    service.cancel(job.pk)
    (told,) = client.get("/api/backfill/status").json()["jobs"]
    assert (told["status"], told["cancelling"]) == ("running", True)
    jobs.keep(job, status="cancelled")
    (told,) = client.get("/api/backfill/status").json()["jobs"]
    assert (told["status"], told["cancelling"]) == ("cancelled", False)
