"""`manage.py account` against a venue that checks each signature."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from marketdata.accounts import table
from marketdata.accounts.base import Rights
from marketdata.accounts.trial import todo_of, told_of
from marketdata.conf import Conf
from marketdata.core.errors import BadInputError
from tests.accounts.conftest import settings as settings_of
from tests.accounts.venue import SECRET, Venue, refused

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def venue(monkeypatch):
    with Venue() as venue:
        venue.use = lambda **more: monkeypatch.setattr(
            settings,
            "BOTCRYPTO",
            replace(settings_of(venue, **more), data_dir=Path(settings.BOTCRYPTO.data_dir)),
        )
        venue.use()
        yield venue


def account(*options, source="binance_ws"):
    """Run the command; return what it printed and its exit code."""
    out = StringIO()
    try:
        call_command("account", "--source", source, *options, stdout=out)
    except SystemExit as ended:
        return out.getvalue(), ended.code
    return out.getvalue(), 0


def refusal(*options, source="binance_ws"):
    with pytest.raises(CommandError) as caught:
        account(*options, source=source)
    return str(caught.value), caught.value.returncode


def test_what_is_held_as_json(venue):
    out, code = account("--json")
    assert code == 0
    answer = json.loads(out)
    assert {name: answer[name] for name in ("source", "mode", "host", "positions")} == {
        "source": "binance_ws", "mode": "live", "host": venue.url, "positions": [],
    }  # fmt: skip
    assert answer["balances"] == [
        {"asset": "BTC", "total": 0.6, "available": 0.5},
        {"asset": "USDT", "total": 25000, "available": 25000},
    ]
    assert answer["as_of"].endswith("Z")


def test_positions_as_json(venue):
    answer = json.loads(account("--json", source="binance_futures")[0])
    assert answer["positions"] == [
        {"symbol": "BTCUSDT", "qty": -0.01, "entry": 64000, "mark": 64010.5, "unrealised": -0.105}
    ]
    assert json.loads(account("--json", source="bybit")[0])["positions"][0]["mark"] is None


def test_what_is_held_for_people(venue):
    out, _ = account(source="bybit")
    assert out.splitlines()[1:] == [
        "balance    USDT       103.25, 100.00 available",
        "position   BTCUSDT    -0.015 at 64000, mark not told, unrealised -0.1575",
    ]
    assert out.startswith(f"bybit at {venue.url}, live, as of ")


def test_a_trial_tells_each_step(venue):
    out, code = account("--test", "--json", source="bybit")
    answer = json.loads(out)
    assert code == 0
    assert answer["ok"] is True
    assert [(step["name"], step["ok"]) for step in answer["steps"]] == [
        (name, True) for name in ("keys", "host", "clock", "balances", "permissions")
    ]
    told = {step["name"]: step for step in answer["steps"]}
    assert told["keys"]["told"] == "HMAC, from BYBIT_API_KEY and BYBIT_API_SECRET"
    assert told["permissions"]["told"] == (
        "the key may trade, may withdraw, works from anywhere, ends 2026-12-04T10:00:00Z (9 days)"
    )
    assert told["permissions"]["todo"] == (
        "take the right to withdraw from the key at once: nothing here needs it; "
        "renew the key, or bind it to addresses"
    )
    assert answer["account"]["balances"]
    assert not [path for path in venue.paths if "order" in path]


def test_a_trial_for_people(venue):
    venue.ahead_us = 2_000_000
    lines = account("--test")[0].splitlines()
    assert lines[0] == "keys         ok      HMAC, from BINANCE_API_KEY and BINANCE_API_SECRET"
    assert lines[1] == f"host         ok      {venue.url} answers, mode live"
    assert lines[2].startswith("clock        ok      ")
    assert lines[2].endswith(" ms behind the venue's; questions allow for that")
    assert 1990 < int(lines[2].split()[2]) < 2010
    assert lines[3].strip() == "do: let this machine follow a time server"
    assert lines[4] == "balances     ok      2 assets held, 0 positions open"
    assert lines[5] == "permissions  ok      the account may trade, may not withdraw"


@pytest.mark.parametrize(
    ("source", "more", "words", "todo"),
    [
        ("binance_ws", {"binance_api_key": "OTHER1"}, "code -2015", "BINANCE_MODE"),
        ("binance_ws", {"binance_api_secret": "OTHER1"}, "code -1022", "copy BINANCE_API_SECRET"),
        ("binance_futures", {"binance_api_secret": "OTHER1"}, "code -1022", "whole"),
        ("bybit", {"bybit_api_key": "OTHER1"}, "code 10003", "BYBIT_REST_BASE_URL"),
        ("bybit", {"bybit_api_secret": "OTHER1"}, "code 10004", "copy BYBIT_API_SECRET"),
    ],
)
def test_a_trial_that_fails_says_what_to_do_and_ends_with_1(venue, source, more, words, todo):
    venue.use(**more)
    out, code = account("--test", "--json", source=source)
    answer = json.loads(out)
    assert (code, answer["ok"], answer["account"]) == (1, False, None)
    steps = {step["name"]: step for step in answer["steps"]}
    assert (steps["host"]["ok"], steps["balances"]["ok"]) == (True, False)
    assert words in steps["balances"]["told"]
    assert todo in steps["balances"]["todo"]
    assert (steps["permissions"]["ok"], steps["permissions"]["told"]) == (None, "not tried")
    assert SECRET not in out
    assert "OTHER1" not in out


def test_a_host_that_does_not_answer_fails_its_step(venue):
    venue.use(binance_rest_url="http://127.0.0.1:9")
    out, code = account("--test")
    assert code == 1
    assert "host         failed  127.0.0.1:9/api/v3/time: no complete answer" in out
    assert "do: check the network and the URL of the host" in out
    assert "balances     –       not tried" in out


def test_a_refusal_without_a_trial_ends_with_1(venue):
    venue.script.append(refused(401, -2015, "Invalid API-key, IP, or permissions for action."))
    words, code = refusal("--json")
    assert code == 1
    assert "code -2015" in words
    assert "keys of demo trading and of the real venue differ" in words


@pytest.mark.parametrize("options", [(), ("--test",), ("--json",)])
def test_no_key_is_a_clear_error_that_names_the_settings(venue, options):
    venue.use(binance_api_key="", binance_api_secret="")
    words, code = refusal(*options)
    assert code == 2
    assert words.startswith("BINANCE_API_KEY and BINANCE_API_SECRET expected")
    assert not venue.paths


def test_an_unknown_source_is_a_bad_argument(venue):
    words, code = refusal(source="kraken")
    assert code == 2
    assert "binance_futures, bybit" in words


def test_each_account_says_what_it_lacks():
    """Whatever is missing is said by the name of a setting."""
    for kind in table.KINDS.values():
        assert not kind.is_configured(Conf())
        with pytest.raises(BadInputError, match=kind.settings[0]):
            kind.open(Conf(), None)


@pytest.mark.parametrize(
    ("rights", "told", "todo"),
    [
        (Rights("key", trade=False, withdraw=False), "the key may not trade, may not withdraw", ""),
        (
            Rights("key", trade=True, withdraw=False, is_bound=True),
            "the key may trade, may not withdraw, works from named addresses only",
            "make the key read-only: nothing here trades",
        ),
        (
            Rights("account", trade=None, withdraw=True),
            "the account is not said to trade, may withdraw",
            "see at the venue that the key may read and nothing else",
        ),
    ],
)
def test_rights_are_told_in_words(rights, told, todo):
    assert (told_of(rights), todo_of(rights)) == (told, todo)


def test_the_command_runs_in_a_process_of_its_own(venue, tmp_path):
    environment = {
        **os.environ, "DATA_DIR": str(tmp_path), "BINANCE_REST_URL": venue.url,
        "BINANCE_API_KEY": "SIMKEY", "BINANCE_API_SECRET": "SIMSECRET",
    }  # fmt: skip
    command = [sys.executable, "manage.py", "account", "--source", "binance_ws", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["balances"]
    assert "SIMSECRET" not in done.stderr
    assert "signature=" not in done.stderr
