"""`Balances`: what an account holds, asked for once in a while whoever wants to know."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from marketdata.core.errors import BotCryptoError, ConnectionLostError
from marketdata.rest.clock import CLOCK, SLICE_S, Clock
from marketdata.venues.dialog import Balance


@dataclass(frozen=True, slots=True)
class Held:
    """A balance, and when it was told, microseconds UTC by this machine."""

    balance: Balance
    as_of_us: int


@dataclass(slots=True, eq=False)
class _Flight:
    """A question under way, for all who want its answer."""

    held: Held | None = None
    error: BotCryptoError | None = None
    is_over: bool = False


class Balances:
    """Asks when what is known is too old, and once for all who ask meanwhile.

    Parameters
    ----------
    ask : callable
        The question, answered by the venue. Raises BotCryptoError.
    ttl_s : float
        How long an answer counts, seconds.
    clock : Clock
    """

    def __init__(self, ask: Callable[[], Balance], ttl_s: float, clock: Clock = CLOCK) -> None:
        self.ttl_s = ttl_s
        self._ask = ask
        self._clock = clock
        self._changed = threading.Condition()
        self._held: Held | None = None
        self._asked_s = float("-inf")
        self._flight: _Flight | None = None

    def get(self) -> Held:
        """Return the balance, at most `ttl_s` old. Any thread may call.

        Raises
        ------
        BotCryptoError
            The venue did not tell; the next call asks again.
        """
        with self._changed:
            if self._held and self._clock.monotonic_s() - self._asked_s < self.ttl_s:
                return self._held
            flight, is_mine = self._flight or _Flight(), self._flight is None
            self._flight = flight
        if is_mine:
            self._fly(flight)
        return self._landed(flight)

    def _fly(self, flight: _Flight) -> None:
        asked_s = self._clock.monotonic_s()
        try:
            flight.held = Held(self._ask(), self._clock.wall_us())
        except BotCryptoError as error:
            flight.error = error
        finally:
            with self._changed:
                if flight.held is not None:
                    self._held, self._asked_s = flight.held, asked_s
                flight.is_over, self._flight = True, None
                self._changed.notify_all()

    def _landed(self, flight: _Flight) -> Held:
        with self._changed:
            while not flight.is_over:
                self._changed.wait(SLICE_S)
        if flight.held is not None:
            return flight.held
        raise flight.error or ConnectionLostError("the balance was not told")
