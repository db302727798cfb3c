"""The page of backfills: what it says before any script runs, and to whom it offers what."""

from __future__ import annotations

import json
import re

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from botcrypto.csp import POLICY
from marketdata import live
from marketdata.backfill import jobs
from marketdata.models import BackfillChunk, BackfillJob, Instrument
from marketdata.views import backfill
from tests.pages.standing import MONDAY_US, Standing, past

URL = "/backfill/"


@pytest.fixture
def service(running: live.Live) -> Standing:
    running.backfill = Standing()
    return running.backfill


@pytest.fixture
def staff(db: None) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(get_user_model().objects.create_user("desk", is_staff=True))
    return client


def rows_of(response) -> list[list[str]]:
    """Return the texts of the cells of the jobs' table."""
    html = response.content.decode()
    table = html[html.index('id="jobs"') :].split("<tbody>")[1].split("</tbody>")[0]
    return [
        [
            " ".join(re.sub(r"<[^>]+>", " ", cell).split())
            for cell in re.findall(r"<td.*?</td>", row)
        ]
        for row in re.findall(r"<tr.*?</tr>", table)
    ]


@pytest.mark.django_db
def test_nothing_runs_and_nothing_is_stored(client):
    response = client.get(URL)
    assert response.status_code == 200
    html = response.content.decode()
    assert "No backfill runs" in html
    assert "No job has ended yet." in html
    assert "no job yet" in html
    assert "NOT LIVE" in html
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert response.headers["Content-Security-Policy"] == POLICY
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|style=", html)


def test_what_runs_is_told_with_words(client, service, texts):
    past()
    jobs.keep(BackfillJob.objects.get(status="queued"), status="running", started_us=MONDAY_US)
    response = client.get(URL)
    # (86,340 + 1) / 863,403 = 10.00007 %.
    assert '<progress max="100" value="10.0"' in response.content.decode()
    shown = " ".join(texts(response)["running"].split())
    for text in ("10.0 %", "55 s left", "86,341 of 863,403", "14,312 trades/s", "8 of 87",
                 "42 % free", "pages by id, 8 at a time"):  # fmt: skip
        assert text in shown
    assert ' id="idle" data-n="idle" hidden' in response.content.decode()


@pytest.mark.django_db
def test_a_job_of_another_process_is_told_as_such(client):
    job = past()[0]
    jobs.keep(job, status="running", started_us=MONDAY_US)
    html = client.get(URL).content.decode()
    assert "No backfill runs" in html
    assert f"Job {job.pk} was begun by another process" in html


def test_every_state_is_a_shape_and_a_word(client, service):
    past()
    assert [row[1:-1] for row in rows_of(client.get(URL))] == [
        ["⊘ cancelled", "&lt;img src=x onerror=1&gt;币安 binance_ws", "2024-01-16", "auto", "–",
         "–", "0", "2024-02-11 00:00", ""],
        ["■ stopped", "BTCUSDT binance_ws", "2024-01-13", "auto", "–", "–", "1",
         "2024-02-11 00:00", ""],
        ["✕ failed", "BTCUSDT binance_ws", "2024-01-10 – 2024-01-11", "auto", "0 of 1,000,000",
         "1,000,000", "3", "2024-02-11 00:00",
         "api.binance.com refused &lt;b&gt;twice&lt;/b&gt;: 403, an HTML page; the network blocks "
         "it"],
        ["✓ completed", "BTCUSDT binance_ws", "2024-01-07 – 2024-01-13", "auto",
         "863,396 of 863,403", "7", "2", "2024-02-11 00:00", ""],
        ["✓ completed", "BTCUSDT binance_ws", "2024-01-04", "archive", "863,403 of 863,403", "0",
         "1", "2024-02-11 00:00", ""],
        ["◌ waiting", "ETHUSDT binance_ws", "2024-01-01", "rest", "–", "–", "0",
         "2024-02-10 00:00", ""],
    ]  # fmt: skip
    html = client.get(URL).content.decode()
    assert "The newest job that is over is job" in html
    assert "It failed." in html


def test_a_job_is_shown_with_its_parts(client, service, monkeypatch):
    job = past()[2]
    html = client.get(URL, {"job": job.pk}).content.decode()
    assert f"Job {job.pk} <small>" in html
    assert '<td data-label="Ids">5–9</td>' in html
    assert '<td data-label="Not at the venue">2</td>' in html
    monkeypatch.setattr(backfill, "MOST_CHUNKS", 1)
    BackfillChunk.objects.create(job=job, number=2, origin="rest")
    html = client.get(URL, {"job": job.pk}).content.decode()
    assert "and 1 more" in html
    assert f'href="/api/backfill/jobs/{job.pk}"' in html


@pytest.mark.django_db
@pytest.mark.parametrize("asked", ["999", "0", "-1", "x", "9" * 40, "²", "<b>"])
def test_an_unknown_job_is_404_and_the_page_all_the_same(client, asked):
    past()
    response = client.get(URL, {"job": asked})
    assert response.status_code == 404
    assert "is not known" in response.content.decode()
    assert "<b>" not in response.content.decode().split("is not known")[0].split("alert")[-1]
    assert len(rows_of(response)) == 6


@pytest.mark.django_db
def test_it_is_read_only(client):
    assert client.post(URL).status_code == 405


@pytest.mark.parametrize("label", ["simulated", "replay"])
def test_what_must_be_said_of_the_trades_is_said(client, running, label):
    running.label = label
    assert f"<strong>{label.upper()}</strong>" in client.get(URL).content.decode()


@pytest.mark.django_db
def test_stored_jobs_of_invented_trades_are_simulated(client):
    past()
    assert "SIMULATED" not in client.get(URL).content.decode()
    Instrument.objects.create(
        source="binance_ws", symbol="ETHUSDT", tick="0.01", lot="1", simulated=True
    )
    assert "SIMULATED" in client.get(URL).content.decode()


# Who may ask


def test_strangers_see_no_form_and_no_button(client, service):
    past()
    html = client.get(URL).content.decode()
    assert "<form" not in html
    assert "<button" not in html
    assert 'href="/admin/login/?next=/backfill/"' in html
    assert client.get(URL).cookies == {}
    client.force_login(get_user_model().objects.create_user("guest"))
    assert "<form" not in client.get(URL).content.decode()


def test_staff_see_what_can_be_done_to_each(staff, service):
    past()
    buttons = [row[-1] for row in rows_of(staff.get(URL))]
    assert buttons == ["Retry", "Retry", "Retry", "Retry", "", "Cancel"]
    wanted = BackfillJob.objects.get(status="queued")
    jobs.keep(wanted, status="running", is_cancelling=True)
    row = rows_of(staff.get(URL))[-1]
    assert (row[1], row[-1]) == ("◌ being cancelled", "")


def test_staff_are_told_where_no_service_runs(staff, running):
    past()
    html = staff.get(URL).content.decode()
    assert "No backfill service runs in this process" in html
    assert "<form" not in html
    assert "<button" not in html


def test_the_token_of_the_page_opens_the_api(staff, service):
    def post(path, body, token):
        headers = {"X-CSRFToken": token} if token else {}
        return staff.post(
            f"/api/backfill/jobs{path}", json.dumps(body), "application/json", headers=headers
        )

    html = staff.get(URL).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)[1]
    assert post("", {"date": "2024-01-01"}, "").status_code == 403
    assert not BackfillJob.objects.exists()
    assert post("", {"date": "2024-01-01"}, token).status_code == 202
    job = BackfillJob.objects.get()
    assert post(f"/{job.pk}/retry", {}, "").status_code == 403
    answer = post(f"/{job.pk}/retry", {}, token)
    assert (answer.status_code, answer.json()) == (202, {"id": job.pk, "queued": False})
    assert post(f"/{job.pk}/cancel", {}, token).json()["cancelling"] is True
    assert post(f"/{job.pk}/retry", {}, token).json()["queued"] is True
    job.refresh_from_db()
    assert (job.status, job.is_cancelling) == ("queued", False)
    assert post("/999/retry", {}, token).status_code == 404


# Texts


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2024-01-01T00:00", "2024-01-02T00:00", "2024-01-01"),
        ("2023-12-30T00:00", "2024-01-02T00:00", "2023-12-30 – 2024-01-01"),
        ("2024-01-01T00:00", "2024-01-01T09:30", "2024-01-01 until 09:30"),
        ("2024-01-01T04:00", "2024-01-02T00:00", "2024-01-01 04:00 – 2024-01-02 00:00"),
        ("2024-01-01T00:00", "2024-01-02T09:30", "2024-01-01 00:00 – 2024-01-02 09:30"),
    ],
)
def test_ranges_as_people_say_them(start, end, told):
    assert backfill.span(f"{start}:00.000Z", f"{end}:00.000Z") == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "1 s"), (59.1, "1 min 0 s"), (61, "1 min 1 s"), (3_599.5, "1 h 0 min"),
     (90_061, "25 h 1 min")],
)  # fmt: skip
def test_times_left_as_people_say_them(seconds, told):
    assert backfill.duration(seconds) == told
