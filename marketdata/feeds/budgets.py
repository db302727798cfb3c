"""`Budgets`: how many requests of each kind a venue still grants this minute and this hour."""

from __future__ import annotations

from marketdata.core.errors import HostRestingError
from marketdata.core.ratewindow import RateWindow
from marketdata.venues.dialog import Budget, Dialog

HOUR_S = 3600.0


class Budgets:
    """Counts requests by the venue's shared budgets. One thread at a time.

    Parameters
    ----------
    dialog : Dialog
        Names the budgets.

    Notes
    -----
    A tenth is left: what we send evenly may reach the venue in a bunch, and it counts there.
    """

    def __init__(self, dialog: Dialog) -> None:
        self._dialog = dialog
        self._windows = {
            budget: (
                (RateWindow(), budget.per_minute * 9 // 10),
                (RateWindow(HOUR_S), budget.per_hour * 9 // 10),
            )
            for budget in dialog.budgets
        }
        self._rests_until_s: dict[Budget, float] = {}

    def wait_s(self, call: str, now_s: float, until_s: float) -> float:
        """Return after how many seconds a call may go; 0 is now.

        Raises
        ------
        HostRestingError
            That is later than `until_s`.
        """
        budget = self._dialog.budget(call)
        rest_s = self._rests_until_s.get(budget, now_s) - now_s
        windows = self._windows[budget]
        wait_s = max(rest_s, *(window.wait_s(1, room, now_s) for window, room in windows))
        if wait_s > 0 and now_s + wait_s > until_s:
            raise HostRestingError(
                f"{call} was not asked: the venue grants {budget.per_minute} a minute and "
                f"{budget.per_hour} an hour, the next in {wait_s:.1f} s",
                retryable=True,
                retry_after_s=wait_s,
            )
        return max(0.0, wait_s)

    def take(self, call: str, now_s: float) -> None:
        """Count a call that goes now, whatever the budget says."""
        for window, _ in self._windows[self._dialog.budget(call)]:
            window.admit(1, now_s)

    def rest(self, call: str, until_s: float) -> None:
        """Let nothing of a call's budget go before a time: the venue said that it was too much."""
        self._rests_until_s[self._dialog.budget(call)] = until_s
