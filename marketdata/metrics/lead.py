"""Who leads: which of two markets' prices move first, by the cross-correlation of their returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marketdata.core.trades import Floats

# Seconds of prices kept, seconds looked ahead and back, and what a finding needs at least.
KEEP_S = 900
MOST_LAG_S = 5
LEAST_SECONDS = 120
LEAST_CORRELATION = 0.1
# Of series that have nothing to do with each other, the best of eleven lags stays below this over
# the root of the seconds in 99 of 100 cases: one of eleven normal values exceeds it in 1 %.
CHANCE = 3.12
# A lead stands out by two standard errors of the difference of two correlations, over the root of
# the seconds: 2 √2. Else noise would make one of two that move together the leader, in turns.
CLEAR = 2.83
# Returns closer together than this are one: float64 has rounded them apart.
LEAST_MOVE = 1e-12

FEW = "too few seconds"
STILL = "no movement"
WEAK = "no correlation"
CHANCY = "no more than chance"
TOGETHER = "within one second"
UNCLEAR = "no clear order"


class Track:
    """The last price of each second, a quarter of an hour of them. One thread at a time.

    Parameters
    ----------
    keep_s : int
        Seconds kept.
    """

    def __init__(self, keep_s: int = KEEP_S) -> None:
        self._prices = np.full(keep_s, np.nan)
        self.newest_s = 0

    def put(self, second: int, price: float | None) -> None:
        """Note the price that held in a second; None: not known. The first word counts.

        Parameters
        ----------
        second : int
            Seconds since the epoch; older ones than the newest are passed over.
        """
        keep_s = len(self._prices)
        passed = min(second - self.newest_s, keep_s)
        if passed <= 0:
            return
        self._prices[np.arange(second - passed + 1, second) % keep_s] = np.nan
        self._prices[second % keep_s] = np.nan if price is None else price
        self.newest_s = second

    def series(self, until_s: int) -> Floats:
        """Return the prices of the seconds up to and with `until_s`, (keep_s,); NaN is unknown."""
        keep_s = len(self._prices)
        seconds = np.arange(until_s - keep_s + 1, until_s + 1)
        known = (seconds > self.newest_s - keep_s) & (seconds <= self.newest_s)
        return np.where(known, self._prices[seconds % keep_s], np.nan)


@dataclass(frozen=True, slots=True)
class Lead:
    """What two series say of each other.

    Parameters
    ----------
    leader : int or None
        0 where the first one's returns come first, 1 where the second one's do; None: neither,
        and `reason` says why.
    lag_s : int or None
        Seconds by which the leader is ahead; None where no lag stands out.
    correlation : float or None
        Of the returns at that lag, −1 to 1.
    seconds : int
        Pairs of returns it was computed from.
    reason : str
        Why there is no leader; empty where there is one.
    """

    leader: int | None
    lag_s: int | None
    correlation: float | None
    seconds: int
    reason: str = ""


def returns(prices: Floats) -> Floats:
    """Return the logarithmic returns from second to second; NaN where a price is unknown.

    Parameters
    ----------
    prices : (n,) float64
        Above zero, quote per base; NaN is unknown.

    Returns
    -------
    (n − 1,) float64

    Examples
    --------
    >>> returns(np.array([100.0, 100.0, np.nan])).tolist()
    [0.0, nan]
    """
    return np.diff(np.log(prices))


def lead(first: Floats, second: Floats) -> Lead:
    """Return which of two price series of the same seconds leads, and by how much.

    Parameters
    ----------
    first, second : (n,) float64
        Prices second by second, quote per base; NaN is unknown.

    Returns
    -------
    Lead

    Notes
    -----
    The correlation of r₁(t) with r₂(t + k) over all t where both are known, for each k from −5 to
    5 seconds. The highest one decides: k > 0 says that the first leads by k seconds, k < 0 that the
    second does. Of equal ones the smallest |k| wins. A lead must stand out from what is found
    without a lag and the other way round. A market that trades less often looks later
    than it is: its last price is older.
    """
    ahead, behind = returns(first), returns(second)
    pairs = [(k, *_aligned(ahead, behind, k)) for k in _lags()]
    pairs = [(k, x, y) for k, x, y in pairs if len(x) >= LEAST_SECONDS]
    if not pairs:
        both = ~np.isnan(ahead) & ~np.isnan(behind)
        return Lead(None, None, None, int(both.sum()), FEW)
    found = [(_correlation(x, y), k, len(x)) for k, x, y in pairs]
    moved = [(c, k, n) for c, k, n in found if c is not None]
    if not moved:
        return Lead(None, None, None, found[0][2], STILL)
    # `max` takes the first of equal ones, and the lags come by size.
    best = max(moved, key=lambda item: round(item[0], 12))
    # What says that neither leads, or the other one does.
    against = [c for c, k, _ in moved if k * best[1] <= 0 and k != best[1]]
    return _judged(*best, against=max(against, default=-1.0))


def _lags() -> list[int]:
    """Return the lags tried, the smallest first."""
    return sorted(range(-MOST_LAG_S, MOST_LAG_S + 1), key=abs)


def _aligned(x: Floats, y: Floats, lag: int) -> tuple[Floats, Floats]:
    """Return x(t) and y(t + lag) wherever both are known."""
    if lag >= 0:
        x, y = x[: len(x) - lag], y[lag:]
    else:
        x, y = x[-lag:], y[: len(y) + lag]
    both = ~(np.isnan(x) | np.isnan(y))
    return x[both], y[both]


def _correlation(x: Floats, y: Floats) -> float | None:
    """Return Pearson's correlation, or None where one of the two never changed."""
    if min(np.ptp(x), np.ptp(y)) < LEAST_MOVE:
        return None
    x, y = x - x.mean(), y - y.mean()
    return min(1.0, float(np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y))))


def _judged(correlation: float, lag: int, seconds: int, *, against: float) -> Lead:
    if correlation < LEAST_CORRELATION:
        return Lead(None, None, correlation, seconds, WEAK)
    if correlation < CHANCE / seconds**0.5:
        return Lead(None, None, correlation, seconds, CHANCY)
    if lag == 0:
        return Lead(None, 0, correlation, seconds, TOGETHER)
    if correlation - against < CLEAR / seconds**0.5:
        return Lead(None, None, correlation, seconds, UNCLEAR)
    return Lead(0 if lag > 0 else 1, abs(lag), correlation, seconds)
