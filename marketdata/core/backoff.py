"""`Backoff`: growing, jittered, capped waiting times."""

from __future__ import annotations

from marketdata.core.errors import BadInputError


class Backoff:
    """Delays base, base·factor, … up to a cap, each spread evenly by ± jitter.

    Parameters
    ----------
    base_s, cap_s : float
        First and longest delay in seconds, 0 < base_s <= cap_s.
    factor : float
        Growth, at least 1.
    jitter : float
        Share of the delay, 0 <= jitter < 1.

    Raises
    ------
    BadInputError
        A value outside these bounds.
    """

    def __init__(
        self, base_s: float = 0.5, factor: float = 2.0, cap_s: float = 30.0, jitter: float = 0.2
    ) -> None:
        if not (0 < base_s <= cap_s and factor >= 1 and 0 <= jitter < 1):
            raise BadInputError(
                "0 < base_s <= cap_s, factor >= 1 and 0 <= jitter < 1 expected, "
                f"seen {base_s}, {cap_s}, {factor} and {jitter}"
            )
        self.base_s = base_s
        self.factor = factor
        self.cap_s = cap_s
        self.jitter = jitter
        self.attempts = 0
        self._delay_s = base_s

    def next(self, random01: float) -> float:
        """Return the next delay in seconds, given an even random number from [0, 1)."""
        delay_s = self._delay_s
        self.attempts += 1
        self._delay_s = min(delay_s * self.factor, self.cap_s)
        return delay_s * (1 + self.jitter * (2 * random01 - 1))

    def reset(self) -> None:
        """Start anew from the base."""
        self.attempts = 0
        self._delay_s = self.base_s
