"""Contexts and pipelines that took in invented trades."""

from marketdata.context import MarketContext
from marketdata.core.events import Batch
from marketdata.pipeline import Pipeline
from tests.core.invented import BTC, MINUTE, MONDAY, at, tape


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self):
        self.batches, self.events = [], []

    def trades(self, instrument, batch):
        self.batches.append(batch)

    def event(self, instrument, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if event.kind == kind]


def fed(*batches, calendar=None, definition=None, instrument=BTC):
    """A context that took in batches, with the ids held as the pipeline notes them."""
    pipeline = Pipeline(MarketContext(instrument, calendar, definition))
    for batch in batches:
        pipeline.feed(batch if isinstance(batch, Batch) else Batch(batch))
    return pipeline.context


def ids(first, last, start_us=MONDAY, step_us=MINUTE, price=100.0):
    """Trades first..last, one every `step_us`."""
    return tape(
        *(at(id, start_us + (id - first) * step_us, price) for id in range(first, last + 1))
    )
