"""The simulated venues as a child process, so that it cannot slow what it feeds."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from marketdata.core.errors import BotCryptoError

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
READY_S = 30.0
STOP_S = 3.0


class VenueProcessError(BotCryptoError):
    """The simulated venue did not come up."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the simulated venues listen, and what they play.

    Parameters
    ----------
    symbols : tuple of str
        Those of the first venue.
    venues : mapping of str to tuple of str
        Symbols of each venue, in its own spelling, by its name in the simulator.
    """

    rest_url: str
    ws_url: str
    label: str
    symbols: tuple[str, ...]
    venues: Mapping[str, tuple[str, ...]]


class VenueProcess:
    """Runs `manage.py simulate` until closed; it also ends by itself when we die.

    Parameters
    ----------
    arguments : sequence of str
        Further arguments of the command.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, str(MANAGE), "simulate", "--port", "0", "--exit-with-parent"]
        # S603: our own interpreter and script; the arguments are one list, no shell reads them.
        self._process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE)  # noqa: S603

    def __enter__(self) -> VenueProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def address(self, timeout_s: float = READY_S) -> Address:
        """Wait until it listens. Raises VenueProcessError."""
        line = self._first_line(timeout_s)
        try:
            return _address(json.loads(line))
        except (ValueError, KeyError) as error:
            self.close()
            raise VenueProcessError(
                "the simulated venue did not start; what it said stands above"
            ) from error

    def _first_line(self, timeout_s: float) -> bytes:
        pipe = self._process.stdout
        if pipe is None:
            return b""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ready, _, _ = select.select([pipe], [], [], 0.5)
            if ready:
                return pipe.readline()
        return b""

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _address(told: dict[str, Any]) -> Address:
    return Address(
        told["rest_url"],
        told["ws_url"],
        told["label"],
        tuple(told["symbols"]),
        {name: tuple(symbols) for name, symbols in told["venues"].items()},
    )
