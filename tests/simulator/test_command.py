"""`manage.py simulate` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from django.core.management import CommandError, call_command

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "manage.py", "simulate"]


@pytest.fixture
def run(tmp_path):
    """Start the command; killed at the end if it still runs."""
    started = []
    environment = {**os.environ, "DATA_DIR": str(tmp_path / "data")}

    def start(*arguments, command=COMMAND):
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_serves_and_stops_when_told(run, tmp_path, number):
    process = run(
        *("--symbols", "BTCUSDT,ethusdt", "--seed", "5", "--fault", "http=429"),
        *("--venues", "binance_spot"),
    )
    ready = json.loads(process.stdout.readline())
    assert ready["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert ready["venues"] == {"binance_spot": ["BTCUSDT", "ETHUSDT"]}
    assert (ready["label"], ready["pid"]) == ("generated", process.pid)
    assert ready["ws_url"] == ready["rest_url"].replace("http", "ws")
    statuses = [requests.get(f"{ready['rest_url']}/api/v3/time").status_code for _ in range(2)]
    assert statuses == [429, 200]
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "")
    assert not list(tmp_path.rglob("*.sqlite3"))


def test_it_ends_with_the_process_that_started_it(run):
    script = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen({[*COMMAND, '--exit-with-parent']!r})\n"
        "time.sleep(60)\n"
    )
    parent = run(command=[sys.executable, "-c", script])
    ready = json.loads(parent.stdout.readline())
    assert requests.get(f"{ready['rest_url']}/api/v3/ping").json() == {}
    parent.kill()
    ended = time.monotonic() + 10
    while Path(f"/proc/{ready['pid']}").exists() and time.monotonic() < ended:
        time.sleep(0.05)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{ready['rest_url']}/api/v3/ping")


def test_it_plays_a_tape(run, tmp_path):
    path = tmp_path / "LTCUSDT-aggTrades-2024-01-01.csv"
    path.write_text(
        "7,70.01000000,0.50000000,9,9,1704067200000,True,True\n"
        "8,70.02000000,0.25000000,10,10,1704067200500,False,True\n"
    )
    process = run("--tape", str(path), "--speed", "0")
    ready = json.loads(process.stdout.readline())
    assert (ready["label"], ready["symbols"]) == ("recorded", ["LTCUSDT"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fault", "nope=1"], "fault 'nope' is not known"),
        (["--fault", "drop=2"], "probability of each trade frame from 0 to 1 expected"),
        (["--fault", "drop=x"], "a number expected"),
        (["--rate", "0"], "--rate above 0"),
        (["--speed", "2"], "--speed belongs to --tape"),
        (["--weight-limit", "0"], "--weight-limit above 0"),
        (["--venues", "nasdaq"], "--venues all or of binance_spot.*expected, seen 'nasdaq'"),
        (["--tape", "x.zip", "--venues", "all"], "--venues does not go with --tape"),
        (["--port", "99999"], "--port from 0 to 65535"),
        (["--tape", "x.zip", "--seed", "1"], "--seed does not go with --tape"),
        (["--tape", "x.zip", "--speed", "-1"], "--speed of 0 or more"),
        (["--tape", "x.zip", "--symbols", "A,B"], "one symbol expected"),
    ],
)
def test_bad_arguments_are_told_with_code_2(arguments, says):
    with pytest.raises(CommandError, match=says) as refused:
        call_command("simulate", *arguments)
    assert refused.value.returncode == 2


def test_a_tape_that_is_not_there_is_failed_work():
    with pytest.raises(CommandError, match="there is none") as refused:
        call_command("simulate", "--tape", "nowhere.zip")
    assert refused.value.returncode == 1


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        call_command("simulate", "--help")
    assert "manage.py simulate --symbols" in " ".join(capsys.readouterr().out.split())
