"""A backfill service that fetches nothing: jobs begin at once and move with each look."""

from marketdata.backfill import jobs
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.backfill.progress import ProgressNow
from marketdata.backfill.service import BackfillService
from marketdata.conf import conf
from marketdata.models import BackfillChunk, BackfillJob
from marketdata.store.writer import Writer

DAY_US = 86_400_000_000
MONDAY_US = 1_704_067_200_000_000  # 2024-01-01
TOTAL = 863_403


class Standing(BackfillService):
    """Stands for the daemon's; its newest job that runs is a tenth done, and one trade more."""

    def __init__(self) -> None:
        super().__init__(conf(), Inlet(Writer()))
        self.looks = 0

    def running(self) -> tuple[int, ProgressNow] | None:
        job = BackfillJob.objects.filter(status="running").first()
        if job is None:
            return None
        self.looks += 1
        note = "pages by id, 8 at a time"
        now = ProgressNow(86_340 + self.looks, TOTAL, 87, 8, 14_312.4, 54.3, 0.4167, note)
        return job.pk, now

    def submit(self, request: Request) -> BackfillJob:
        job = super().submit(request)
        jobs.keep(job, status="running", started_us=self.clock(), attempts=job.attempts + 1)
        return job

    def cancel(self, job_id: int) -> bool:
        found = super().cancel(job_id)
        BackfillJob.objects.filter(pk=job_id, status="running").update(status="cancelled")
        return found


def past() -> list[BackfillJob]:
    """Store a job that waits, and one of each way to end; all but the first are over."""
    day = {"source": "binance_ws", "symbol": "BTCUSDT", "created_us": MONDAY_US + 40 * DAY_US}
    told = [
        {"status": "queued", "symbol": "ETHUSDT", "via": "rest", "days": 1},
        {"status": "completed", "trades": TOTAL, "expected": TOTAL, "inserted": TOTAL, "days": 1,
         "vwap": 42_000.5, "via": "archive", "attempts": 1, "asked_by": "api"},
        {"status": "completed", "trades": TOTAL - 7, "expected": TOTAL, "missing": 7, "days": 7,
         "exchange_side": [[5, 6]], "attempts": 2},
        {"status": "failed", "days": 2, "attempts": 3, "expected": 1_000_000, "missing": 1_000_000,
         "error": "api.binance.com refused <b>twice</b>: 403, an HTML page; the network blocks it"},
        {"status": "stopped", "days": 1, "attempts": 1},
        {"status": "cancelled", "days": 1, "symbol": "<img src=x onerror=1>币安"},
    ]  # fmt: skip
    made = []
    for number, item in enumerate(told):
        start_us, days = MONDAY_US + 3 * number * DAY_US, item.pop("days")
        over = item["status"] != "queued"
        made.append(
            BackfillJob.objects.create(
                **{**day, **item}, start_us=start_us, end_us=start_us + days * DAY_US,
                finished_us=(MONDAY_US + 41 * DAY_US) * over,
            )
        )  # fmt: skip
    BackfillChunk.objects.create(
        job=made[2], number=1, origin="rest", day_us=made[2].start_us, first_id=5, last_id=9,
        lacking=[[5, 6]], trades=3, pages=1, attempts=2, status="done",
    )  # fmt: skip
    return made
