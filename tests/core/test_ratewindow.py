import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from marketdata.core.errors import BadInputError
from marketdata.core.ratewindow import AdaptiveRate, RateWindow, VenueMinute

# Multiples of 1/8 s: exact in float, so that the oracle and the window see the same edges.
EIGHTHS = st.integers(0, 600).map(lambda eighths: eighths / 8)


class Window(RuleBasedStateMachine):
    """A window against the plain list of everything that went through it."""

    ROOM = 100

    def __init__(self):
        super().__init__()
        self.window = RateWindow()
        self.now_s = 0.0
        self.went: list[tuple[float, int]] = []
        self.admissions = []

    @rule(seconds=EIGHTHS)
    def time_passes(self, seconds):
        self.now_s += seconds

    @rule(weight=st.integers(1, 100))
    def offered(self, weight):
        """It goes exactly when the last minute has room for it."""
        in_minute = sum(w for at, w in self.went if self.now_s - 60 < at <= self.now_s)
        wait_s = self.window.wait_s(weight, self.ROOM, self.now_s)
        assert (wait_s == 0) == (in_minute + weight <= self.ROOM)
        if wait_s == 0:
            self.admissions.append(self.window.admit(weight, self.now_s))
            self.went.append((self.now_s, weight))

    @rule(weight=st.integers(1, 100))
    def waited_for(self, weight):
        """It goes when its time is up, and not an eighth of a second before."""
        wait_s = self.window.wait_s(weight, self.ROOM, self.now_s)
        if wait_s > 0:
            just_before = self.now_s + wait_s - 1 / 8
            held = sum(w for at, w in self.went if just_before - 60 < at <= just_before)
            assert held + weight > self.ROOM
        self.now_s += wait_s
        assert self.window.wait_s(weight, self.ROOM, self.now_s) == 0
        self.admissions.append(self.window.admit(weight, self.now_s))
        self.went.append((self.now_s, weight))

    @precondition(lambda self: self.admissions)
    @rule()
    def refunded(self):
        self.window.refund(self.admissions.pop())
        self.went.pop()

    @invariant()
    def no_sliding_minute_holds_more(self):
        for end, _ in self.went:
            assert sum(w for at, w in self.went if end - 60 < at <= end) <= self.ROOM

    @invariant()
    def no_aligned_minute_holds_more_whatever_the_venue_s_clock_says(self):
        for offset in (0.0, 7.125, 31.5, 59.875):
            minutes: dict[int, int] = {}
            for at, weight in self.went:
                minute = int((at + offset) // 60)
                minutes[minute] = minutes.get(minute, 0) + weight
            assert all(held <= self.ROOM for held in minutes.values())

    @invariant()
    def it_counts_right(self):
        held = sum(w for at, w in self.went if self.now_s - 60 < at <= self.now_s)
        assert self.window.used(self.now_s) == held


TestWindow = Window.TestCase
TestWindow.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_weight_that_never_fits_is_refused():
    with pytest.raises(BadInputError, match="a weight of at most 10 expected, seen 11"):
        RateWindow().wait_s(11, 10, 0.0)


def test_a_refund_after_the_minute_changes_nothing():
    window = RateWindow()
    admission = window.admit(5, 0.0)
    assert window.used(60.0) == 0
    window.refund(admission)
    assert window.used(60.0) == 0


# The venue's minute. It ends 60 - second after the answer, and one second more for the part of a
# second that HTTP dates do not tell.


def test_others_on_our_address_count():
    minute = VenueMinute()
    minute.sent(4)
    minute.answered(4, now_s=100.0, used=2300, second=50)
    assert minute.total(100.0) == 2300
    assert minute.wait_s(weight=4, ceiling=2304, now_s=100.0) == 0
    assert minute.wait_s(weight=5, ceiling=2304, now_s=100.0) == 11.0
    assert minute.wait_s(weight=5, ceiling=2304, now_s=111.0) == 0


def test_what_is_in_flight_counts_on_top_of_the_last_answer():
    minute = VenueMinute()
    for _ in range(3):
        minute.sent(10)
    minute.answered(10, 0.0, used=15, second=0)
    assert minute.total(0.0) == 15 + 20


def test_an_old_answer_of_the_same_minute_does_not_lower_the_count():
    minute = VenueMinute()
    minute.sent(1)
    minute.sent(1)
    minute.answered(1, 10.0, used=12, second=10)
    minute.answered(1, 10.1, used=11, second=10)
    assert minute.total(10.1) == 12


def test_the_next_minute_starts_anew_and_the_last_one_is_over():
    minute = VenueMinute()
    for _ in range(3):
        minute.sent(1)
    minute.answered(1, 58.0, used=1100, second=58)
    minute.answered(1, 60.5, used=7, second=0)
    assert minute.total(60.5) == 7 + 1
    # An answer that the old minute's last second still counted.
    minute.answered(1, 60.6, used=1101, second=59)
    assert minute.total(60.6) == 7


def test_an_answer_of_a_minute_long_gone_says_nothing():
    minute = VenueMinute()
    minute.sent(1)
    minute.sent(1)
    minute.answered(1, 70.0, used=7, second=10)
    minute.answered(1, 70.1, used=1101, second=59)
    assert minute.total(70.1) == 7


def test_a_request_without_an_answer_may_have_counted():
    minute = VenueMinute()
    minute.sent(40)
    minute.sent(2)
    minute.answered(40, 5.0)
    minute.answered(2, 6.0)
    assert minute.total(6.0) == 42
    assert minute.total(64.9) == 42
    assert minute.total(65.0) == 0


def test_with_the_minute_over_only_what_is_in_flight_stands_in_the_way():
    minute = VenueMinute()
    minute.sent(10)
    assert minute.wait_s(1, 10, 0.0) > 0
    minute.withdrawn(10)
    assert minute.wait_s(1, 10, 0.0) == 0


def test_reset_forgets_what_the_venue_said_and_keeps_what_is_in_flight():
    minute = VenueMinute()
    minute.sent(3)
    minute.sent(2)
    minute.answered(3, 0.0, used=500, second=0)
    minute.reset()
    assert minute.total(0.0) == 2


# The adaptive rate: halved by each refusal, 10 % of the full limit back after each quiet minute.


def test_it_halves_three_times_at_most():
    rate = AdaptiveRate(6000, floor=600)
    limits = []
    for at in range(1, 6):
        rate.refused(sent_s=at, now_s=at)
        limits.append(rate.limit(at))
    assert limits == [3000, 1500, 750, 750, 750]


def test_it_never_goes_below_the_floor_nor_above_a_small_limit():
    rate = AdaptiveRate(1200, floor=600)
    for at in range(1, 4):
        rate.refused(at, at)
    assert rate.limit(3) == 600
    small = AdaptiveRate(100, floor=600)
    small.refused(1, 1)
    assert small.limit(1) == 100


def test_one_burst_in_flight_is_one_refusal():
    rate = AdaptiveRate(4000)
    rate.refused(sent_s=10.0, now_s=10.5)
    rate.refused(sent_s=10.1, now_s=10.6)
    rate.refused(sent_s=10.2, now_s=10.7)
    assert rate.limit(10.7) == 2000


def test_it_recovers_by_a_tenth_a_minute():
    rate = AdaptiveRate(1000, floor=100)
    rate.refused(0.0, 0.0)
    seen = [rate.limit(60.0 * minute + 30) for minute in range(7)]
    assert seen == [500, 600, 700, 800, 900, 1000, 1000]
    assert rate.halvings == 0


def test_it_tells_when_it_is_whole_again():
    rate = AdaptiveRate(1000, floor=100)
    assert rate.recovers_in_s(0.0) == 0
    rate.refused(0.0, 0.0)
    assert rate.recovers_in_s(0.0) == 300
    assert rate.recovers_in_s(130.0) == 170
    rate.refused(130.0, 130.0)
    # 0.7 halved is 0.35: seven quiet minutes to 1.05.
    assert rate.limit(130.0) == 350
    assert rate.recovers_in_s(130.0) == 420


def test_a_refusal_while_it_recovers_starts_the_wait_anew():
    rate = AdaptiveRate(8000, most_halvings=1)
    rate.refused(0.0, 0.0)
    rate.refused(59.0, 59.0)
    assert rate.limit(61.0) == 4000
    assert rate.limit(119.0) == 4800


def test_the_pause_after_a_refusal_proves_nothing():
    rate = AdaptiveRate(1000, floor=100)
    rate.refused(0.0, 0.0, rests_s=120.0)
    assert [rate.limit(at) for at in (0.0, 119.0, 179.0, 180.0)] == [500, 500, 500, 600]
    assert rate.recovers_in_s(0.0) == 420


def test_reset_is_whole_at_once():
    rate = AdaptiveRate(1000, floor=1)
    rate.refused(0.0, 0.0)
    rate.reset()
    assert rate.limit(0.0) == 1000
    assert rate.halvings == 0


@given(
    st.lists(st.tuples(EIGHTHS, st.booleans()), max_size=60),
    st.integers(1, 10_000),
    st.integers(1, 2_000),
)
def test_between_floor_and_full_always_and_whole_in_the_end(steps, full, floor):
    rate = AdaptiveRate(full, floor)
    now_s = 0.0
    for seconds, is_refused in steps:
        now_s += seconds
        if is_refused:
            rate.refused(now_s, now_s)
        assert min(floor, full) <= rate.limit(now_s) <= full
    assert rate.limit(now_s + rate.recovers_in_s(now_s) + 1) == full
