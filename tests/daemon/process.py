"""Commands of ours as processes of their own, in a data folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 40.0


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """Return an environment in which nothing of the tester's own settings counts."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    given = {name: str(value) for name, value in settings.items()}
    return {**kept, "DATA_DIR": str(folder), "PYTHONWARNINGS": "error", **given}


def manage(folder: Path, *arguments: str, code: int = 0, **settings: object) -> Any:
    """Run a command to its end and return what it printed, as JSON where it is JSON."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        cwd=folder,
        env=environment(folder, **settings),
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    text = done.stdout.decode()
    return json.loads(text) if text.startswith("{") else text + done.stderr.decode()


class Running:
    """A daemon that runs: its process and its URL."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url

    def get(self, path: str) -> Any:
        """Return the JSON of a path."""
        return requests.get(self.url + path, timeout=10).json()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it in order and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(15)


@contextmanager
def running(folder: Path, *arguments: str, **settings: object) -> Iterator[Running]:
    """Start `manage.py run`, wait for its URL, and leave nothing behind."""
    log = (folder / "run.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "run", "--port", "0", *arguments],
        cwd=folder,
        env=environment(folder, **settings),
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        line = process.stdout.readline().decode()
        assert "http://" in line, (folder / "run.log").read_text()
        yield Running(process, line.split("at ")[1].split(" ")[0].rstrip("/"))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
        log.close()


def until(holds: Callable[[], object], what: str, wait_s: float = WAIT_S) -> None:
    """Wait for something, with a deadline."""
    deadline = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)
