"""A venue that refuses with HTTP 200, tells no used weight, and has a 403 of its own."""

import pytest

from marketdata.core.errors import BannedError, BlockedError, VenueError
from marketdata.venues.bybit import BYBIT_LINEAR as BYBIT
from tests.rest.server import html, reply

CLOCK = '{"retCode":0,"retMsg":"OK","result":{"timeNano":"1760000400000000000"},"time":1}'
DATE = "Thu, 09 Oct 2025 09:00:00 GMT"
OFTEN = '{"retCode":10006,"retMsg":"Too many visits!","result":{}}'


def refused(code):
    return reply(200, f'{{"retCode":{code},"retMsg":"Words.","result":{{}}}}')


def waits(clock):
    return [round(seconds, 3) for seconds in clock.pauses if seconds]


def test_a_refusal_that_passes_is_asked_again(server, made):
    server.then(refused(10016), refused(10002), reply(200, CLOCK))
    assert made(BYBIT)._clock_sample() == pytest.approx(0, abs=10_000_000)
    assert len(server.requests) == 3


def test_a_refusal_for_good_is_told_with_its_code(server, made):
    server.then(refused(10001))
    with pytest.raises(VenueError, match=r"status 200: code 10001: Words\.") as caught:
        made(BYBIT).ask(BYBIT.clock())
    assert (caught.value.code, caught.value.retryable) == (10001, False)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reset", "wait_s"),
    # Without a time to come, the first delay of ours; never less than none.
    [("1760000403000", 3.0), ("1760000399000", 0.5), ("1760000400000", 0.5)],
)
def test_too_many_visits_are_waited_out(server, made, clock, reset, wait_s):
    told = {"X_Bapi_Limit_Reset_Timestamp": reset, "Date": DATE}
    server.then(reply(200, OFTEN, **told), reply(200, CLOCK))
    made(BYBIT).ask(BYBIT.clock())
    assert sum(waits(clock)) >= wait_s
    assert min(waits(clock)) > 0
    assert len(server.requests) == 2


def test_a_403_for_too_many_requests_stops_everything_for_ten_minutes(server, made, clock):
    server.then(reply(403, "403, access too frequent", Content_Type="text/plain"))
    with pytest.raises(BannedError, match="too frequent") as caught:
        made(BYBIT).ask(BYBIT.clock())
    assert caught.value.retry_after_s == 600
    restarted = made(BYBIT, restarted=True)
    clock.now_s += 300
    with pytest.raises(BannedError, match="too frequent"):
        restarted.ask(BYBIT.clock())
    assert len(server.requests) == 1
    clock.now_s += 300
    restarted.ask(BYBIT.clock())
    assert len(server.requests) == 2


def test_a_403_for_the_place_is_no_ban_and_is_not_asked_again(server, made):
    place = "The Amazon CloudFront distribution is configured to block access from your country."
    server.then(reply(403, place, Content_Type="text/html"))
    with pytest.raises(BlockedError) as caught:
        made(BYBIT).ask(BYBIT.clock())
    assert not caught.value.retryable
    assert len(server.requests) == 1


def test_a_403_of_a_firewall_is_no_ban(server, made):
    server.then(html(403))
    client = made(BYBIT)
    with pytest.raises(BlockedError):
        client.ask(BYBIT.clock())
    assert client.status().host.banned_until_us is None
    assert len(server.requests) == 1


def test_a_venue_that_tells_no_weight_is_kept_to_ours(server, made):
    server.usual = reply(200, CLOCK)
    client = made(BYBIT, bybit_rate_limit_per_minute=500)
    for _ in range(5):
        client.ask(BYBIT.clock())
    assert client.status().limiter.limit == 500
