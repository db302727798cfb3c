"""Ask what an account holds, or try its keys. Nothing is ordered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from marketdata.accounts.base import Account, Opened
from marketdata.accounts.table import KINDS
from marketdata.accounts.trial import Step, Trial, advice_of
from marketdata.conf import conf
from marketdata.core.errors import BadInputError, BotCryptoError
from marketdata.management.fetching import signals
from marketdata.management.output import (
    WORK_FAILED,
    bad_argument,
    failed,
    refuse_bad_settings,
)
from marketdata.payload import iso

MARKS = {True: "ok", False: "failed", None: "–"}


class Command(BaseCommand):
    """`manage.py account`."""

    help = (
        "Ask the venue, signed, what an account holds; --test proves its keys step by step without "
        "trading. Exit code 1 where a step failed. Example: manage.py account --source bybit --test"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--source", default="binance_ws", help="feed name (default binance_ws)")
        parser.add_argument("--test", action="store_true", help="try the keys, step by step")
        parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_settings()
        source = options["source"]
        if source not in KINDS:
            raise bad_argument(f"a source of {', '.join(KINDS)} expected, seen {source!r}")
        if not conf().database_path.exists():
            # Where hosts are banned is written down there.
            conf().database_path.parent.mkdir(parents=True, exist_ok=True)
            call_command("migrate", verbosity=0, interactive=False)
        with _opened(source) as opened:
            work = self._test if options["test"] else self._show
            work(opened, is_json=options["json"])

    def _show(self, opened: Opened, *, is_json: bool) -> None:
        try:
            account = opened.account()
        except BotCryptoError as error:
            raise failed(f"{error}\n{advice_of(opened, error)}") from error
        if is_json:
            self.stdout.write(_json(told(account, opened.host)))
        else:
            self.stdout.write("\n".join(_page(account, opened.host)))

    def _test(self, opened: Opened, *, is_json: bool) -> None:
        trial, steps = Trial(opened), []
        for step in trial.steps():
            steps.append(step)
            if not is_json:
                self.stdout.write(_line(step))
        is_good = all(step.ok for step in steps)
        if is_json:
            self.stdout.write(_json(_tried(opened, trial.account, steps, is_good=is_good)))
        elif trial.account:
            self.stdout.write("\n".join(_page(trial.account, opened.host)))
        if not is_good:
            raise SystemExit(WORK_FAILED)


@contextmanager
def _opened(source: str) -> Iterator[Opened]:
    """Open an account for as long as it is asked; a signal ends the waiting."""
    stop = threading.Event()
    try:
        opened = KINDS[source].open(conf(), stop)
    except BadInputError as error:
        raise bad_argument(str(error)) from error
    try:
        with signals(stop):
            yield opened
    finally:
        opened.close()


def told(account: Account, host: str) -> dict[str, Any]:
    """Return an account as JSON."""
    return {
        "source": account.source,
        "mode": account.mode,
        "host": host,
        "as_of": iso(account.as_of_us),
        "balances": [
            {"asset": row.asset, "total": row.total, "available": row.available}
            for row in account.balances
        ],
        "positions": [
            {
                "symbol": row.symbol,
                "qty": row.qty,
                "entry": row.entry,
                "mark": row.mark,
                "unrealised": row.unrealised,
            }
            for row in account.positions
        ],
    }


def _tried(
    opened: Opened, account: Account | None, steps: list[Step], *, is_good: bool
) -> dict[str, Any]:
    return {
        "source": opened.source,
        "mode": opened.shown_mode(),
        "host": opened.host,
        "ok": is_good,
        "steps": [
            {"name": step.name, "ok": step.ok, "told": step.told, "todo": step.todo}
            for step in steps
        ],
        "account": told(account, opened.host) if account else None,
    }


def _line(step: Step) -> str:
    todo = f"\n{'':<21}do: {step.todo}" if step.todo else ""
    return f"{step.name:<12} {MARKS[step.ok]:<7} {step.told}{todo}"


def _page(account: Account, host: str) -> list[str]:
    return [
        f"{account.source} at {host}, {account.mode}, as of {iso(account.as_of_us)}",
        *(
            f"balance    {row.asset:<10} {_text(row.total)}, {_text(row.available)} available"
            for row in account.balances
        ),
        *(
            f"position   {row.symbol:<10} {_text(row.qty)} at {_text(row.entry)}, mark "
            f"{_text(row.mark)}, unrealised {_text(row.unrealised)}"
            for row in account.positions
        ),
        *([] if account.balances else ["balance    nothing is held"]),
    ]


def _text(number: Decimal | None) -> str:
    return "not told" if number is None else f"{number:f}"


def _json(answer: dict[str, Any]) -> str:
    """Return one JSON object; amounts are numbers, exact to the last digit."""
    return msgspec.json.Encoder(decimal_format="number").encode(answer).decode()
