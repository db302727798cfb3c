import re
import threading
import time
from dataclasses import replace

import pytest

from marketdata.core.errors import (
    BannedError,
    BlockedError,
    ConnectionLostError,
    FrameError,
    HostRestingError,
    StoppedError,
    VenueError,
)
from marketdata.rest.clock import Clock
from marketdata.rest.limiter import Priority
from marketdata.venues.base import Question
from marketdata.venues.binance_spot import VENUE as BINANCE
from tests.rest.hand import HandClock, in_thread, until
from tests.rest.server import Server, html, reply, reset, silent, truncated

PING = Question("/api/v3/ping")


def refused(code, status=400):
    return reply(status, f'{{"code":{code},"msg":"Words."}}')


def waits(clock):
    """Return the waits that were long enough to be meant, looks at the host put together."""
    return [round(seconds, 3) for seconds in clock.pauses if seconds]


# What may be retried, and how.


@pytest.mark.parametrize(
    "fault", [reply(500, "oops"), reply(503), reply(408), truncated, reset, reply(200, '[{"a":1,')]
)
def test_what_may_pass_is_asked_again(server, made, fault):
    server.then(fault, fault, reply(200, '{"serverTime":1760000400000}'))
    client = made()
    assert client._clock_sample() == pytest.approx(0, abs=10_000_000)
    assert len(server.requests) == 3
    assert client.status().retries == 2


def test_delays_double_and_end_after_the_retries_allowed(server, made, clock, caplog):
    server.usual = reply(500, "oops")
    with pytest.raises(VenueError, match="status 500: 'oops'") as caught:
        made().ask(PING)
    assert (caught.value.status, caught.value.retryable) == (500, True)
    assert waits(clock) == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert len(server.requests) == 6
    assert (
        len(re.findall(r"retry host=\S+ path=/api/v3/ping status=500 delay_s=", caplog.text)) == 5
    )
    assert "delay_s=8.00 attempt=5/5" in caplog.text


@pytest.mark.parametrize(("random01", "first_s"), [(0.0, 0.4), (0.9999, 0.6)])
def test_delays_are_spread_by_a_fifth(server, made, clock, random01, first_s):
    server.then(reply(500))
    made(random01=random01).ask(PING)
    assert waits(clock) == pytest.approx([first_s], abs=0.001)


def test_retries_and_their_base_are_settings(server, made, clock):
    server.usual = reset
    with pytest.raises(ConnectionLostError):
        made(backfill_max_retries=2, backfill_retry_base=0.25).ask(PING)
    assert waits(clock) == [0.25, 0.5]


@pytest.mark.parametrize(
    "refusal",
    [refused(-1121), refused(-2015, 401), refused(-2015, 403), reply(404, "no"), html(404)],
)
def test_what_will_not_pass_is_asked_once(server, made, refusal):
    server.then(refusal)
    client = made()
    with pytest.raises(VenueError) as caught:
        client.ask(PING)
    assert not caught.value.retryable
    assert len(server.requests) == 1
    # The host is well: it said no to this question alone.
    client.ask(PING)
    assert client.status().host.state == "closed"


def test_codes_that_pass_by_themselves_are_asked_again(server, made):
    server.then(refused(-1021), refused(-1008), refused(-1001, 503))
    made().ask(PING)
    assert len(server.requests) == 4


def test_a_reply_with_a_wrong_field_is_no_damage(server, made):
    server.then(reply(200, '{"serverTime":"soon"}'))
    with pytest.raises(FrameError, match="type"):
        made().clock_offset_us()
    assert len(server.requests) == 1


def test_a_redirect_is_an_error_that_names_the_target(server, made):
    with Server() as other:
        server.then(reply(302, "", Location=other.url + "/login"))
        with pytest.raises(VenueError, match=f"redirected to 127.0.0.1:{other.port}"):
            made().ask(PING)
        assert other.requests == []
    assert len(server.requests) == 1


# Blocks.


@pytest.mark.parametrize("page", [html(403), html(200)], ids=["403", "200"])
def test_a_page_of_html_is_a_block_and_the_host_is_left_alone(server, made, clock, page):
    server.then(page)
    client = made()
    with pytest.raises(BlockedError, match="Request blocked") as caught:
        client.ask(PING)
    assert caught.value.retry_after_s == 300
    with pytest.raises(BlockedError, match="is not asked for 300 s more"):
        client.ask(PING)
    assert len(server.requests) == 1
    assert client.status().host.state == "open"
    clock.now_s += 300
    client.ask(PING)
    assert client.status().host.state == "closed"


RESTRICTED = '{"code":0,"msg":"Service unavailable from a restricted location."}'
COUNTRY = reply(403, "<html>blocked from your country</html>", Content_Type="text/html")


@pytest.mark.parametrize("closed", [reply(451, RESTRICTED), COUNTRY], ids=["451", "403"])
def test_a_region_rule_leads_to_the_fallback_host(server, made, clock, closed, caplog):
    server.usual = closed
    with Server() as other:
        other.usual = reply(200, '{"there":1}')
        client = made(replace(BINANCE, fallbacks={server.url: other.url}))
        assert client.ask(PING).body == b'{"there":1}'
        assert client.ask(PING).body == b'{"there":1}'
        assert (len(server.requests), len(other.requests)) == (1, 2)
        assert waits(clock) == []
        assert client.status().host.host == f"127.0.0.1:{other.port}"
        assert "host closed here" in caplog.text
        client.close()


def test_without_a_fallback_a_region_rule_is_said_clearly_and_not_retried(server, made, clock):
    server.usual = reply(451, RESTRICTED)
    client = made()
    with pytest.raises(BlockedError, match="restricted location") as caught:
        client.ask(PING)
    assert (caught.value.status, caught.value.retryable) == (451, False)
    for _ in range(3):
        with pytest.raises(BlockedError, match="restricted location"):
            client.ask(PING)
    assert len(server.requests) == 1
    clock.now_s += 3601
    with pytest.raises(BlockedError):
        client.ask(PING)
    assert len(server.requests) == 2


def test_binance_has_a_fallback_and_whoever_replaces_its_host_has_none():
    assert BINANCE.fallbacks["https://api.binance.com"] == "https://data-api.binance.vision"
    assert len(BINANCE.fallbacks) == 1


def test_when_the_fallback_is_closed_too_it_ends(server, made):
    server.usual = reply(451, RESTRICTED)
    with Server() as other:
        other.usual = reply(451, RESTRICTED)
        client = made(replace(BINANCE, fallbacks={server.url: other.url}))
        for _ in range(2):
            with pytest.raises(BlockedError, match="restricted location"):
                client.ask(PING)
        assert (len(server.requests), len(other.requests)) == (1, 1)
        client.close()


# Rate limits.

NOW = "Thu, 09 Oct 2025 09:00:00 GMT"


@pytest.mark.parametrize(
    ("told", "paused_s"),
    [
        ("7", 7.0),
        ("Thu, 09 Oct 2025 09:00:09 GMT", 9.0),
        ("0", 0.5),
        ("-5", 0.5),
        ("soon", 0.5),
        ("", 0.5),
        ("Thu, 09 Oct 2025 08:00:00 GMT", 0.5),
    ],
)
def test_429_pauses_the_host_as_long_as_it_says(server, made, clock, told, paused_s):
    server.then(reply(429, Retry_After=told, Date=NOW))
    began = clock.now_s
    made().ask(PING)
    assert clock.now_s - began == pytest.approx(paused_s)
    assert len(server.requests) == 2


@pytest.mark.parametrize("told", ["86400", "Thu, 09 Oct 2036 09:00:00 GMT"])
def test_a_pause_of_hours_is_clamped_and_told_to_the_caller(server, made, clock, told):
    server.then(reply(429, Retry_After=told, Date=NOW))
    client = made()
    with pytest.raises(VenueError) as caught:
        client.ask(PING)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 3600)
    with pytest.raises(HostRestingError, match="is not asked for 3600 s more"):
        client.ask(PING)
    assert len(server.requests) == 1
    clock.now_s += 3600
    client.ask(PING)


def test_429_pauses_all_threads_and_halves_the_rate(server, made, clock):
    server.then(reply(429, Retry_After="100", Date=NOW))
    first, second = made(binance_rate_limit_per_minute=4000), made()
    first.ask(PING)
    assert len(server.requests) == 2
    assert first.status().limiter.limit == 2000
    server.then(reply(429, Retry_After="50", Date=NOW))
    began = clock.now_s
    first.ask(PING)
    assert clock.now_s - began == pytest.approx(50, abs=0.01)
    assert second.status().limiter.refusals == 2


def test_another_thread_waits_for_the_pause_and_is_not_refused_itself(server, made):
    real = Clock()
    first, second = made(clock=real), made(clock=real)
    server.then(reply(429, Retry_After="1"))
    threads = [in_thread(lambda: first.ask(PING))]
    until(lambda: server.requests and first.limiter.status().refusals)
    began = time.monotonic()
    threads.append(in_thread(lambda: second.ask(PING)))
    time.sleep(0.1)
    assert len(server.requests) == 1
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began > 0.8
    assert len(server.requests) == 3


def test_after_some_refusals_the_breaker_opens_for_the_cooldown(server, made, clock):
    for _ in range(3):
        server.then(reply(429, Retry_After="1", Date=NOW))
    client = made(backfill_rate_limit_threshold=3, backfill_cooldown_seconds=60)
    began = clock.now_s
    client.ask(PING)
    # One second for each of the first two refusals, or the backoff of one second; then 60.
    assert clock.now_s - began == pytest.approx(1 + 1 + 60)
    assert client.status().host.state == "closed"


def test_repeated_failures_open_the_breaker(server, made, clock):
    server.usual = reply(500)
    client = made()
    with pytest.raises(VenueError, match="status 500"):
        client.ask(PING)
    began, asked = clock.now_s, len(server.requests)
    with pytest.raises(VenueError):
        client.ask(PING)
    # The tenth failure in a row opened it for 60 s; the probe failed, and opened it again.
    assert client.status().host.state == "open"
    assert clock.now_s - began > 60
    assert len(server.requests) - asked <= 6
    status = client.status().host
    assert status.reason.startswith("it fails again and again, last: status 500")
    assert status.answers["500"] == len(server.requests)


def test_live_repair_probes_a_host_that_failed_while_backfill_still_waits(server, made, clock):
    client = made(backfill_max_retries=0)
    server.then(*[reset] * 10)
    for _ in range(10):
        with pytest.raises(ConnectionLostError):
            client.ask(PING)
    assert client.status().host.rests_s == 60
    began = clock.now_s
    client.ask(PING, Priority.LIVE)
    assert clock.now_s - began == 5
    client.ask(PING)
    assert clock.now_s - began == 5


def test_the_used_weight_of_others_is_respected(server, made, clock):
    server.then(reply(200, X_MBX_USED_WEIGHT_1M="4800", Date="Thu, 09 Oct 2025 09:00:20 GMT"))
    client = made()
    client.ask(PING)
    assert client.status().limiter.venue_used == 4800
    began = clock.now_s
    client.ask(PING)
    assert clock.now_s - began == pytest.approx(41, abs=0.01)


# Bans.


def test_a_ban_outlives_a_restart_and_no_request_goes_out_meanwhile(server, made, clock, caplog):
    server.then(reply(418, '{"code":-1003,"msg":"Way too much."}', Retry_After="600"))
    client = made()
    with pytest.raises(BannedError, match="Way too much") as caught:
        client.ask(PING)
    assert (caught.value.status, caught.value.retry_after_s) == (418, 600)
    with pytest.raises(BannedError, match="is not asked for 600 s more"):
        client.ask(PING)
    restarted = made(restarted=True)
    for _ in range(3):
        clock.now_s += 150
        with pytest.raises(BannedError, match="Way too much"):
            restarted.ask(PING)
    assert len(server.requests) == 1
    status = restarted.status().host
    assert (status.state, status.rests_s) == ("open", pytest.approx(150))
    assert status.banned_until_us == pytest.approx(clock.wall_us() + 150_000_000, abs=10)
    clock.now_s += 150
    restarted.ask(PING)
    assert restarted.status().host.banned_until_us is None


def test_a_short_ban_is_waited_out(server, made, clock):
    server.then(reply(418, Retry_After="3"))
    client = made()
    client.ask(PING)
    assert sum(clock.pauses) == pytest.approx(3, abs=0.01)
    assert client.limiter.status().limit == 600


def test_a_ban_of_another_process_is_found_within_seconds(server, made, clock, bans):
    client = made()
    client.ask(PING)
    bans.keep(f"127.0.0.1:{server.port}", clock.wall_us() + 900_000_000, "said elsewhere", 0)
    clock.now_s += 5
    with pytest.raises(BannedError, match="said elsewhere"):
        client.ask(PING)
    assert len(server.requests) == 1


def test_a_ban_in_the_far_future_is_taken_for_three_days(server, made, clock, bans):
    bans.keep(f"127.0.0.1:{server.port}", clock.wall_us() * 2, "a broken clock", 0)
    with pytest.raises(BannedError) as caught:
        made().ask(PING)
    assert caught.value.retry_after_s == pytest.approx(3 * 86_400)


def slow(sock):
    time.sleep(0.3)
    sock.sendall(reply())


def test_one_probe_goes_after_a_ban(server, made):
    real = Clock()
    clients = [made(clock=real) for _ in range(4)]
    server.then(
        reply(418, Retry_After="0.3"), lambda sock: (time.sleep(0.3), sock.sendall(reply()))
    )
    threads = [in_thread(lambda client=client: client.ask(PING)) for client in clients[:1]]
    until(lambda: clients[0].limiter.status().refusals)
    threads += [in_thread(lambda client=client: client.ask(PING)) for client in clients[1:]]
    until(lambda: len(server.requests) == 2)
    time.sleep(0.15)
    assert len(server.requests) == 2
    for thread in threads:
        thread.join(5)
    assert len(server.requests) == 5


# Stop.


@pytest.mark.parametrize(
    "fault", [reply(429, Retry_After="60"), reply(418, Retry_After="60")], ids=["429", "418"]
)
def test_stop_ends_any_wait_in_time(server, made, fault):
    stop = threading.Event()
    server.then(fault)
    client = made(clock=Clock(), stop=stop)
    ended = []

    def ask():
        with pytest.raises(StoppedError):
            client.ask(PING)
        ended.append(time.monotonic())

    thread = in_thread(ask)
    until(lambda: client.limiter.status().refusals)
    began = time.monotonic()
    stop.set()
    thread.join(2)
    assert ended[0] - began < 0.3
    with pytest.raises(StoppedError):
        client.ask(PING)
    assert len(server.requests) == 1


def test_stop_ends_a_request_under_way_and_frees_the_probe(server, made, clock):
    stop = threading.Event()
    server.then(html(403), silent)
    client, other = made(stop=stop), made()
    with pytest.raises(BlockedError):
        client.ask(PING)
    clock.now_s += 300
    stopped = []

    def probe():
        with pytest.raises(StoppedError):
            client.ask(PING)
        stopped.append(True)

    thread = in_thread(probe)
    until(lambda: len(server.requests) == 2)
    stop.set()
    thread.join(2)
    assert stopped == [True]
    other.ask(PING)
    assert other.status().host.state == "closed"


def test_who_waited_for_room_while_the_host_was_banned_does_not_go(server, made):
    client = made(clock=HandClock(is_held=True), binance_rate_limit_per_minute=10)
    heavy = Question("/api/v3/depth", weight=10)
    client.ask(heavy, Priority.LIVE)
    refused = []

    def wait():
        with pytest.raises(BannedError):
            client.ask(heavy, Priority.LIVE)
        refused.append(True)

    thread = in_thread(wait)
    until(lambda: client.limiter.status().waiting == 1)
    clock, host = client._asker._clock, client._asker.host()
    host.ban(600, "meanwhile")
    clock.now_s += 60
    thread.join(2)
    assert refused == [True]
    assert len(server.requests) == 1
    assert client.limiter.status().used == 0


def test_reset_by_hand_opens_everything_but_a_ban(server, made, clock):
    server.then(reply(429, Retry_After="1000", Date=NOW))
    client = made()
    with pytest.raises(VenueError):
        client.ask(PING)
    assert (client.status().limiter.limit, client.status().host.rests_s) == (600, 1000)
    client.reset()
    client.ask(PING)
    assert client.status().limiter.limit == 1200
    server.then(reply(418, Retry_After="1000"))
    with pytest.raises(BannedError):
        client.ask(PING)
    client.reset()
    with pytest.raises(BannedError, match="is not asked for 1000 s more"):
        client.ask(PING)
    assert len(server.requests) == 3


def test_a_late_failure_does_not_hide_why_a_host_rests(server, made, clock):
    client = made()
    host = client._asker.host()
    sent_s = host.enter()
    host.ban(600, "too much")
    host.failed(sent_s, "reset by peer")
    host.refused(sent_s, 1.0, "slow down")
    with pytest.raises(BannedError, match="too much"):
        client.ask(PING)


def test_answers_are_counted_by_status_and_time(server, made):
    server.then(reply(500), reset)
    client = made()
    client.ask(PING)
    status = client.status().host
    assert status.answers == {"500": 1, "lost": 1, "200": 1}
    assert sum(status.slowness) == 3
