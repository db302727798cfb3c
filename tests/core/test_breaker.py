import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from marketdata.core.breaker import PROBE_WAIT_S, URGENT_S, Breaker


def opened(at_s=0.0, cooldown_s=60.0):
    breaker = Breaker(cooldown_s=cooldown_s)
    breaker.trip(at_s, cooldown_s)
    return breaker


def test_rate_refusals_open_it_for_the_cooldown():
    breaker = Breaker(most_hits=3, cooldown_s=60.0)
    states = []
    for at in (1.0, 2.0, 3.0):
        breaker.refused(at, at)
        states.append(breaker.state(at))
    assert states == ["closed", "closed", "open"]
    assert breaker.wait_s(13.0) == 50.0
    assert not breaker.enter(62.9)
    assert breaker.state(63.0) == "half_open"


def test_one_burst_in_flight_is_one_refusal():
    breaker = Breaker(most_hits=2)
    breaker.refused(sent_s=1.0, now_s=2.0)
    breaker.refused(sent_s=1.5, now_s=2.1)
    assert breaker.state(2.1) == "closed"
    breaker.refused(sent_s=2.1, now_s=2.2)
    assert breaker.state(2.2) == "open"


def test_refusals_are_forgotten_after_a_while():
    breaker = Breaker(most_hits=2, hits_last_s=300.0)
    breaker.refused(0.0, 0.0)
    breaker.refused(300.0, 300.0)
    assert breaker.state(300.0) == "closed"
    breaker.refused(599.0, 599.0)
    assert breaker.state(599.0) == "open"


def test_failures_in_a_row_open_it_and_a_success_starts_the_count_anew():
    breaker = Breaker(most_failures=3)
    for at in (1.0, 2.0):
        breaker.failed(at, at)
    breaker.succeeded(3.0)
    for at in (4.0, 5.0):
        breaker.failed(at, at)
    assert breaker.state(5.0) == "closed"
    breaker.failed(6.0, 6.0)
    assert breaker.state(6.0) == "open"


def test_a_single_probe_goes_when_half_open():
    breaker = opened()
    assert breaker.wait_s(60.0) == 0
    assert breaker.enter(60.0)
    assert not breaker.enter(60.0)
    assert breaker.wait_s(61.0) == PROBE_WAIT_S


def test_the_probe_decides():
    breaker = opened()
    breaker.enter(60.0)
    breaker.failed(60.0, 61.0)
    assert breaker.state(61.0) == "open"
    assert breaker.wait_s(61.0) == 60.0
    breaker.enter(121.0)
    breaker.succeeded(121.0)
    assert breaker.state(121.0) == "closed"
    assert breaker.failures == 0


def test_a_refused_probe_opens_it_again():
    breaker = opened()
    breaker.enter(60.0)
    breaker.refused(60.0, 60.5)
    assert breaker.wait_s(60.5) == 60.0


@pytest.mark.parametrize("tell", [Breaker.failed, Breaker.refused])
def test_requests_sent_before_it_opened_say_nothing(tell):
    breaker = opened()
    breaker.succeeded(-1.0)
    tell(breaker, -1.0, 1.0)
    assert breaker.wait_s(1.0) == 59.0
    breaker.enter(60.0)
    breaker.succeeded(-1.0)
    tell(breaker, -1.0, 60.0)
    assert breaker.state(60.0) == "half_open"


def test_a_probe_without_a_verdict_makes_room_for_another():
    breaker = opened()
    breaker.enter(60.0)
    breaker.left(60.0)
    assert breaker.enter(60.1)
    breaker.left(59.0)
    assert not breaker.enter(60.2)


def test_what_is_urgent_probes_a_host_that_failed_soon():
    breaker = Breaker(most_failures=1, cooldown_s=60.0)
    breaker.failed(0.0, 0.0)
    assert (breaker.wait_s(0.0), breaker.wait_s(0.0, urgent=True)) == (60.0, URGENT_S)
    assert not breaker.enter(4.9, urgent=True)
    assert breaker.enter(5.0, urgent=True)
    assert not breaker.enter(5.1, urgent=True)
    breaker.failed(5.0, 6.0)
    assert (breaker.wait_s(6.0), breaker.wait_s(6.0, urgent=True)) == (60.0, URGENT_S)
    assert breaker.enter(11.0, urgent=True)
    breaker.succeeded(11.0)
    assert breaker.enter(11.1)


def test_urgency_does_not_count_with_a_host_that_refused():
    breaker = Breaker(most_hits=1, most_failures=1, cooldown_s=60.0)
    breaker.failed(0.0, 0.0)
    breaker.enter(5.0, urgent=True)
    breaker.refused(5.0, 5.5)
    assert breaker.wait_s(5.5, urgent=True) == 60.0
    banned = opened(cooldown_s=600.0)
    banned.failed(-1.0, 1.0)
    assert banned.wait_s(1.0, urgent=True) == 599.0


def test_a_ban_while_open_for_failures_holds_for_what_is_urgent_too():
    breaker = Breaker(most_failures=1)
    breaker.failed(0.0, 0.0)
    breaker.trip(1.0, 600.0)
    assert breaker.wait_s(1.0, urgent=True) == 600.0


def test_a_trip_never_shortens():
    breaker = opened(cooldown_s=300.0)
    breaker.trip(1.0, 10.0)
    assert breaker.wait_s(1.0) == 299.0


def test_reset_closes_it():
    breaker = opened()
    breaker.reset()
    assert breaker.enter(0.0)
    assert breaker.enter(0.0)


class Traffic(RuleBasedStateMachine):
    """Many requests in flight, with outcomes in any order."""

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(most_hits=2, cooldown_s=10.0, most_failures=3, hits_last_s=50.0)
        self.now_s = 0.0
        self.flying: list[float] = []
        self.probe_s: float | None = None

    @rule(seconds=st.integers(1, 15))
    def time_passes(self, seconds):
        self.now_s += seconds

    @rule()
    def offered(self):
        """All go while closed, none while open, one at a time while half-open."""
        state = self.breaker.state(self.now_s)
        is_probing = self.probe_s in self.flying
        went = self.breaker.enter(self.now_s)
        assert went == (state == "closed" or (state == "half_open" and not is_probing))
        if went:
            self.flying.append(self.now_s)
            self.probe_s = self.now_s if state == "half_open" else None
        self.now_s += 0.125

    @rule()
    def urgently_offered(self):
        """Never more than one at a time beside a closed breaker."""
        state = self.breaker.state(self.now_s)
        is_probing = self.probe_s in self.flying
        if self.breaker.enter(self.now_s, urgent=True):
            assert state == "closed" or not is_probing
            self.flying.append(self.now_s)
            self.probe_s = None if state == "closed" else self.now_s
        self.now_s += 0.125

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "refused", "left"]))
    def answered(self, data, outcome):
        """Only the probe changes anything once it has been open."""
        sent_s = data.draw(st.sampled_from(self.flying))
        self.flying.remove(sent_s)
        before = self.breaker.state(self.now_s)
        times = (sent_s, self.now_s) if outcome in {"failed", "refused"} else (sent_s,)
        getattr(self.breaker, outcome)(*times)
        after = self.breaker.state(self.now_s)
        if before != "closed" and sent_s == self.probe_s:
            expected = {"succeeded": "closed", "left": before}
            assert after == expected.get(outcome, "open")
        elif before != "closed":
            assert after == before
        self.now_s += 0.125

    @invariant()
    def everybody_gets_through_in_the_end(self):
        """Once what is in flight has come to an end, to wait as told leads to an open door."""
        if not self.flying:
            at_s = self.now_s + self.breaker.wait_s(self.now_s)
            assert self.breaker.wait_s(at_s) == 0


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
