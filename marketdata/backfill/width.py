"""`Width`: how many requests may be under way, by how the venue bears them. Pure."""

from __future__ import annotations

# An answer that takes so many times the best smoothed one is a venue under strain.
SLOW = 3.0
# Below this a venue is quick, however quick it was before: loopback jitters by milliseconds.
QUICK_S = 0.25
SMOOTHING = 0.2
# After so many calm answers in a row one more request is let through.
CALM = 16
# A best forgotten in a hundred answers: a slower line is not a venue under strain for ever.
FORGETTING = 1.02


class Width:
    """Halves when the venue refuses or slows down, and grows back by one at a time.

    Parameters
    ----------
    most : int
        Never above this, at least 1.
    """

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.value = self.most
        self._calm = 0
        self._settling = 0
        self._smooth_s: float | None = None
        self._best_s = 0.0

    def refused(self) -> None:
        """Take that the venue refused a request for its rate."""
        self._halve()

    def answered(self, seconds: float) -> None:
        """Take how long the venue took for an answer."""
        if self._smooth_s is None:
            self._smooth_s = self._best_s = seconds
        self._smooth_s += SMOOTHING * (seconds - self._smooth_s)
        self._best_s = min(self._best_s * FORGETTING, self._smooth_s)
        if self._is_slow():
            self._halve()
            return
        self._calm += 1
        if self._calm >= CALM:
            self._calm = 0
            self.value = min(self.most, self.value + 1)

    def _is_slow(self) -> bool:
        # What was sent before the last halving comes back as slow as it was going to.
        self._settling = max(0, self._settling - 1)
        smooth_s = self._smooth_s or 0.0
        return not self._settling and smooth_s > max(QUICK_S, SLOW * self._best_s)

    def _halve(self) -> None:
        self.value = max(1, self.value // 2)
        self._calm = 0
        self._settling = CALM
