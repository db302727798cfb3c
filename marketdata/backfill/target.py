"""`Target`: the instrument a job fills, as the venue, the store or its trades tell it."""

from __future__ import annotations

import logging
import threading

from marketdata.backfill.means import Means
from marketdata.core.errors import BotCryptoError, StoppedError
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.trades import Trades
from marketdata.feeds.opening import INVENTED
from marketdata.models import BackfillJob
from marketdata.models import Instrument as InstrumentRow
from marketdata.store import instruments

log = logging.getLogger(__name__)


class Target:
    """Finds or makes the instrument's row. Several threads use it.

    Parameters
    ----------
    job : BackfillJob
    means : Means
    """

    def __init__(self, job: BackfillJob, means: Means) -> None:
        self.job = job
        self.means = means
        self.instrument: Instrument | None = None
        self._opening = threading.Lock()

    def open(self) -> None:
        """Ask the venue for tick and lot; a file is read without any network.

        Raises
        ------
        BotCryptoError
            The venue does not tell, and pages cannot be asked for without it; MixedDataError.
        """
        if self.job.via == "file":
            self._take_stored()
            return
        try:
            grid = self.means.client.listing(self.job.symbol).grid
        except StoppedError:
            raise
        except BotCryptoError as error:
            stored = instruments.find(self.job.source, self.job.symbol)
            if stored is None and self.job.via != "archive":
                raise
            log.warning("venue does not tell the tick symbol=%s error=%s", self.job.symbol, error)
            self.instrument = stored
        else:
            self._remember(grid, simulated=self.means.client.label == INVENTED)

    def of(self, trades: Trades) -> Instrument:
        """Return the instrument; one that nobody told of is counted on the grid its trades need."""
        with self._opening:
            if self.instrument is not None:
                return self.instrument
            grid = Grid.of_values(trades.price, trades.qty)
            return self._remember(grid, simulated=self.means.host.label == INVENTED)

    def _take_stored(self) -> None:
        """Take the stored instrument; a file says which ids it has, not who made its trades."""
        stored = InstrumentRow.objects.filter(
            source=self.job.source, symbol=self.job.symbol
        ).first()
        if stored is not None:
            self._remember(stored.value().grid, simulated=stored.simulated)

    def _remember(self, grid: Grid, *, simulated: bool) -> Instrument:
        self.instrument = instruments.remember(
            self.job.source,
            self.job.symbol,
            grid,
            simulated=simulated,
            channel=self.means.channel.name,
        )
        return self.instrument
