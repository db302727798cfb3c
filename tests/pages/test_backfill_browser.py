"""The page of backfills in Chromium: the same before scripts and after, live, and its buttons."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pages.test_browser import Served, chromium, unused_port, visit

__all__ = ["chromium", "unused_port", "visit"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
PASSWORD = "a password"
IS_LIVE = "() => document.querySelector('#contact').textContent === '● live'"
SAYS = "(text) => document.querySelector('#said').textContent === text"
STATE = (
    "([job, text]) => document.querySelector(`[data-job='${job}']`).cells[1].textContent === text"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory, unused_port) -> Iterator[Served]:
    desk = Served(unused_port, tmp_path_factory.mktemp("jobs"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STAFF", PASSWORD)
        desk.start()
    yield desk
    desk.stop()


def log_in(page) -> None:
    page.get_by_role("link", name="log in").click()
    page.locator("#id_username").fill("desk")
    page.locator("#id_password").fill(PASSWORD)
    page.locator("[type=submit]").click()
    page.wait_for_url("**/backfill/")


def test_scripts_say_what_the_server_said(visit):
    still, moving = visit("backfill/", java_script_enabled=False), visit("backfill/")
    moving.until(IS_LIVE)
    assert moving.text("#jobs") == still.text("#jobs")
    assert moving.text(".now") == still.text(".now")
    assert "✕ failed" in still.text("#jobs")
    assert moving.complaints == []


def test_staff_queue_cancel_and_retry(visit, served):
    seen = visit("backfill/")
    assert seen.page.locator("button").count() == 0
    log_in(seen.page)
    seen.until(IS_LIVE)
    form = seen.page.locator("#ask")
    form.get_by_label("What").select_option("several days")
    form.get_by_label("From (UTC)").fill("2024-02-27")
    form.get_by_label("To, included").fill("2024-02-29")
    form.get_by_role("button", name="Queue").click()
    seen.until("() => document.querySelector('#said').textContent.endsWith('is queued.')")
    job = seen.text("#said").split()[2]
    seen.until("(job) => document.querySelector('#jobs tbody tr').dataset.job === job", job)
    seen.until(STATE, [job, "▶ running"])
    assert seen.text("#jobs tbody tr td[data-label=Range]") == "2024-02-27 – 2024-02-29"
    before = seen.text("[data-n=trades]")
    assert before.endswith(" of 863,403")
    seen.until(
        "(before) => document.querySelector('[data-n=trades]').textContent !== before", before
    )
    assert seen.text("#now-title") == f"Job {job} runs"
    # The server says the same of a job that runs, but for the count that goes on.
    cells = "() => [...document.querySelectorAll('#jobs tr')].map((row) => row.textContent)"
    live = seen.page.evaluate(cells)
    seen.page.reload(wait_until="domcontentloaded")
    assert seen.page.evaluate(cells) == live
    seen.page.get_by_role("button", name=f"Cancel job {job}").click()
    seen.until(SAYS, f"✓ Job {job} ends.")
    seen.until(STATE, [job, "⊘ cancelled"])
    seen.until("() => !document.querySelector('#idle').hidden")
    seen.page.get_by_role("button", name=f"Retry job {job}").click()
    seen.until(SAYS, f"✓ Job {job} is queued again.")
    seen.until(STATE, [job, "◌ waiting"])
    assert seen.complaints == []
    assert seen.hosts == {f"127.0.0.1:{served.port}"}


def test_a_refusal_is_told_in_words(visit):
    seen = visit("backfill/")
    log_in(seen.page)
    form = seen.page.locator("#ask")
    form.get_by_label("What").select_option("one day")
    form.get_by_label("Day (UTC)").fill("2999-01-01")
    form.get_by_role("button", name="Queue").click()
    seen.until("() => document.querySelector('#said').textContent.startsWith('▲ Refused: ')")
    assert "a range of the past that starts before it ends expected" in seen.text("#said")


def test_it_fits_a_telephone_and_says_when_nobody_answers(visit):
    seen = visit("backfill/", 390, 844)
    log_in(seen.page)
    seen.until(IS_LIVE)
    wide = "() => document.documentElement.scrollWidth - innerWidth"
    assert seen.page.evaluate(wide) == 0
    small = """() => [...document.querySelectorAll('main :is(button, input, select)')]
        .filter((x) => x.offsetParent && x.getBoundingClientRect().height < 44).length"""
    assert seen.page.evaluate(small) == 0
    seen.page.context.set_offline(True)
    seen.until("() => /^▲ no answer since [0-9:]{8} UTC$/.test("
               "document.querySelector('#contact').textContent)")  # fmt: skip
    seen.page.context.set_offline(False)
    seen.until(IS_LIVE)
