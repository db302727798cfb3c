"""Jobs of backfills in the admin: shown, acted upon through the service, edited by nobody."""

import re
from copy import copy

import pytest
from django.contrib.auth.models import Permission

from marketdata import live
from marketdata.models import BackfillChunk, BackfillJob
from tests.core.invented import MONDAY
from tests.pages.standing import Standing
from tests.test_admin import asked, check_cheap, job, page, quick_passwords

__all__ = ["quick_passwords"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def service():
    """Run a service that fetches nothing: jobs begin at once."""
    running = Standing()

    class Running:
        backfill = running

    live.start(Running())
    yield running
    live.stop()


def links(text):
    """Return what the rows' links are called."""
    return re.findall(r'<th class="field-job_number"><a [^>]*>(\d+)</a>', text)


def act(client, action, *jobs):
    """Choose an action for some jobs; return what the page then says."""
    chosen = {"action": action, "_selected_action": [job.pk for job in jobs]}
    answer = client.post(page(BackfillJob), chosen, follow=True)
    return [(told.level_tag, told.message) for told in answer.context["messages"]]


def test_jobs_are_listed_with_their_progress_and_edited_by_nobody(admin_client, service):
    whole = job(status="completed", expected=863_403, trades=863_403)
    # 863,402 of 863,403 is not 100 %.
    job(status="failed", expected=863_403, trades=863_402, missing=1, error="no <b>network</b>")
    job(status="running", is_cancelling=True)
    text, _ = asked(admin_client, page(BackfillJob))
    for told in (
        "863,403 of 863,403 (100.0 %)", "863,402 of 863,403 (99.9 %)", "no &lt;b&gt;network",
        "running, being cancelled", "86,341 of 863,403 (10.0 %)", "2024-01-02T00:00:00.000Z",
    ):  # fmt: skip
        assert told in text
    of_failed, _ = asked(admin_client, page(BackfillJob) + "?of=failed")
    assert of_failed.count("field-state") == 1
    before = list(BackfillJob.objects.values())
    assert "_save" not in asked(admin_client, page(BackfillJob, "change", whole.pk))[0]
    for name, arguments in (("add", ()), ("delete", (whole.pk,)), ("change", (whole.pk,))):
        answer = admin_client.post(page(BackfillJob, name, *arguments), {"post": "yes"})
        assert answer.status_code == 403
    assert act(admin_client, "delete_selected", whole)[0][0] == "warning"
    assert list(BackfillJob.objects.values()) == before


def test_jobs_are_listed_by_a_few_cheap_questions(admin_client):
    told = job(status="failed")
    told.pk = None
    BackfillJob.objects.bulk_create([copy(told) for _ in range(250)])
    for query in ("", "?p=2", "?of=failed", "?o=3"):
        _, queries = asked(admin_client, page(BackfillJob) + query)
        check_cheap(queries, "marketdata_backfilljob")


def test_a_job_is_run_retried_and_cancelled_by_the_service(admin_client, service):
    whole, failed = job(status="completed", via="rest", workers=3), job(status="failed", error="x")
    number = failed.pk + 1
    text = f"Job {number} is queued, as job {whole.pk} was asked for."
    assert act(admin_client, "run", whole) == [("success", text)]
    made = BackfillJob.objects.get(pk=number)
    for name in ("source", "symbol", "start_us", "end_us", "via", "workers"):
        assert getattr(made, name) == getattr(whole, name)
    assert (made.asked_by, made.status) == ("admin", "running")
    assert act(admin_client, "retry", failed, made) == [
        ("success", f"Job {failed.pk} is queued again."),
        ("warning", f"Job {number} is not over: nothing to retry."),
    ]
    assert act(admin_client, "cancel", whole, failed, made) == [
        ("warning", f"Job {whole.pk} is over already."),
        ("success", f"Job {failed.pk} ends."),
        ("success", f"Job {number} ends."),
    ]
    statuses = dict(BackfillJob.objects.values_list("pk", "status"))
    assert statuses == {whole.pk: "completed", failed.pk: "cancelled", number: "cancelled"}


def test_a_job_that_makes_no_sense_any_more_is_refused_in_words(admin_client, service):
    ((level, text),) = act(admin_client, "run", job(source="nowhere", status="failed"))
    assert level == "warning"
    assert "bybit, deriv, bybit_connector, hft_connector expected, seen 'nowhere'" in text


@pytest.mark.parametrize("action", ["run", "retry", "cancel"])
def test_where_no_service_runs_actions_say_so(admin_client, action):
    ((level, text),) = act(admin_client, action, job(status="failed"))
    assert (level, text) == (
        "error", "No backfill service runs in this process; manage.py run starts one.",
    )  # fmt: skip
    assert list(BackfillJob.objects.values_list("status", flat=True)) == ["failed"]


def test_who_may_only_look_at_jobs_is_offered_no_action(client, service, django_user_model):
    user = django_user_model.objects.create_user("guest", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_backfilljob"))
    client.force_login(user)
    row = job(status="failed")
    assert 'name="action"' not in client.get(page(BackfillJob)).content.decode()
    act(client, "retry", row)
    row.refresh_from_db()
    assert row.status == "failed"


def test_chunks_are_listed_by_their_job(admin_client):
    first, second = job(), job()
    BackfillChunk.objects.bulk_create(
        [
            BackfillChunk(job=owner, number=n, origin="rest", updated_us=MONDAY)
            for owner in (first, second)
            for n in range(150)
        ]
    )
    text, queries = asked(admin_client, page(BackfillChunk))
    check_cheap(queries, "marketdata_backfillchunk")
    assert links(text) == [str(second.pk)] * 100
    text, queries = asked(admin_client, page(BackfillChunk) + f"?of={first.pk}")
    check_cheap(queries, "marketdata_backfillchunk")
    assert links(text) == [str(first.pk)] * 100
