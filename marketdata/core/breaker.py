"""`Breaker`: leaves a host alone when it refuses or fails again and again."""

from __future__ import annotations

# How often those who wait for the outcome of the probe look again.
PROBE_WAIT_S = 0.2
# A host that failed may be back at once, and one question does it no harm: what cannot wait asks
# so soon. A host that refused is left alone for as long as was meant.
URGENT_S = 5.0


class Breaker:
    """Closed, open, then half-open with one probe at a time.

    Parameters
    ----------
    most_hits : int
        Refusals for rate within `hits_last_s` that open it.
    cooldown_s : float
        How long it stays open, seconds.
    most_failures : int
        Failures in a row that open it.
    hits_last_s : float
        How long a refusal is remembered, seconds.

    Notes
    -----
    What is told of a request names when that was sent: outcomes of requests sent before the
    last change say nothing about the present, and one burst in flight is one refusal.
    """

    def __init__(
        self,
        most_hits: int = 3,
        cooldown_s: float = 60.0,
        most_failures: int = 10,
        hits_last_s: float = 300.0,
    ) -> None:
        self.most_hits = most_hits
        self.cooldown_s = cooldown_s
        self.most_failures = most_failures
        self.hits_last_s = hits_last_s
        self.failures = 0
        self._hits: list[float] = []
        self._open_until_s: float | None = None
        self._urgent_from_s = float("-inf")
        self._probe_s: float | None = None

    def state(self, now_s: float) -> str:
        """Return `closed`, `open` or `half_open`."""
        if self._open_until_s is None:
            return "closed"
        return "open" if now_s < self._open_until_s else "half_open"

    def wait_s(self, now_s: float, *, urgent: bool = False) -> float:
        """Return after how many seconds it is worth asking `enter` again; 0 is now."""
        if self._open_until_s is None:
            return 0.0
        from_s = self._urgent_from_s if urgent else self._open_until_s
        if now_s < from_s:
            return from_s - now_s
        return 0.0 if self._probe_s is None else PROBE_WAIT_S

    def enter(self, now_s: float, *, urgent: bool = False) -> bool:
        """Tell whether a request may go now; unless it is closed, that request is the probe."""
        if self.wait_s(now_s, urgent=urgent) > 0:
            return False
        if self._open_until_s is not None:
            self._probe_s = now_s
        return True

    def succeeded(self, sent_s: float) -> None:
        """Take that a request sent then was answered properly."""
        if self._open_until_s is None:
            self.failures = 0
        elif self._is_probe(sent_s):
            self.reset()

    def failed(self, sent_s: float, now_s: float) -> None:
        """Take that a request sent then was not answered, or by an error of the server."""
        self.failures += self._open_until_s is None
        if self._is_probe(sent_s) or (
            self._open_until_s is None and self.failures >= self.most_failures
        ):
            self.trip(now_s, self.cooldown_s, URGENT_S)

    def refused(self, sent_s: float, now_s: float) -> None:
        """Take that a request sent then was refused for its rate."""
        if self._is_probe(sent_s):
            self.trip(now_s, self.cooldown_s)
        elif self._open_until_s is None and not (self._hits and sent_s < self._hits[-1]):
            self._hits = [at for at in self._hits if now_s - at < self.hits_last_s] + [now_s]
            if len(self._hits) >= self.most_hits:
                self.trip(now_s, self.cooldown_s)

    def left(self, sent_s: float) -> None:
        """Take that a request sent then came to no verdict; another one may probe."""
        if self._is_probe(sent_s):
            self._probe_s = None

    def trip(self, now_s: float, for_s: float, urgent_after_s: float | None = None) -> None:
        """Open it for some seconds, or for longer where it is open already.

        Parameters
        ----------
        now_s, for_s : float
            From when, and for how long, seconds.
        urgent_after_s : float, optional
            After so many seconds already, an urgent request may probe.
        """
        urgent_s = for_s if urgent_after_s is None else min(for_s, urgent_after_s)
        self._urgent_from_s = max(self._urgent_from_s, now_s + urgent_s)
        self._open_until_s = max(self._open_until_s or now_s, now_s + for_s)
        self._probe_s = None

    def reset(self) -> None:
        """Close it and forget what led to its opening."""
        self.failures, self._hits = 0, []
        self._open_until_s = self._probe_s = None
        self._urgent_from_s = float("-inf")

    def _is_probe(self, sent_s: float) -> bool:
        return self._probe_s is not None and sent_s >= self._probe_s
