import pytest

from marketdata.core.events import ORIGINS, Batch, Event, Gap
from tests.core.invented import MONDAY, tape


def test_a_batch_is_live_unless_told_otherwise():
    batch = Batch(tape((1, MONDAY, 1.0, 1.0, True)))
    assert (batch.origin, batch.recv_us) == ("live", 0)
    assert batch.origin in ORIGINS


def test_events_do_not_share_their_detail():
    assert Event("gap", 1).detail is not Event("gap", 1).detail


def test_values_cannot_be_changed():
    with pytest.raises(AttributeError):
        Gap(1, 2, "sequence").reason = "overflow"
