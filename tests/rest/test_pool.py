import threading

import pytest
from django.db import DatabaseError, connection

from marketdata.conf import Conf
from marketdata.core.errors import BadInputError, BannedError
from marketdata.models import HostState
from marketdata.rest import bans
from marketdata.rest.bans import STORED
from marketdata.rest.client import VenueClient
from marketdata.rest.pool import Pool, new_limiter, shared_pool
from marketdata.venues.base import Question
from marketdata.venues.binance_spot import VENUE as BINANCE
from tests.rest.hand import HandClock, in_thread
from tests.rest.server import Server, reply

PING = Question("/api/v3/ping")
CONF = Conf()


def client(server, clock, **settings):
    """Make a client as a new process would: nothing is shared but the database."""
    conf = Conf(**settings)
    pool = Pool(conf, new_limiter(BINANCE, conf, clock), clock)
    return VenueClient(BINANCE, server.url, conf, threading.Event(), pool=pool)


def test_clients_of_one_venue_and_url_share_limiter_and_hosts():
    url = "http://127.0.0.1:8499"
    first, second = (
        VenueClient(BINANCE, each, CONF, threading.Event()) for each in (url, url + "/")
    )
    assert first.limiter is second.limiter
    pool = shared_pool(BINANCE, url, CONF)
    assert pool.limiter is first.limiter
    assert pool.host(url) is pool.host(url + "/api/v3")
    assert shared_pool(BINANCE, "http://127.0.0.1:8498", CONF) is not pool
    first.close()
    second.close()


def test_limits_are_settings():
    limiter = new_limiter(BINANCE, Conf(binance_rate_limit_per_minute=300))
    assert limiter.status().full_limit == 300
    assert new_limiter(BINANCE, CONF).status().full_limit == 1200
    assert new_limiter(BINANCE, CONF).pace_s == 0.1


def test_a_url_that_must_not_be_asked_is_refused_at_once():
    with pytest.raises(BadInputError, match="https:// expected"):
        VenueClient(BINANCE, "http://api.example.test", CONF, threading.Event())


@pytest.mark.django_db
def test_a_ban_is_a_row_that_the_next_process_obeys(caplog):
    clock = HandClock()
    with Server() as server:
        server.then(reply(418, '{"code":-1003,"msg":"Way too much."}', Retry_After="900"))
        with pytest.raises(BannedError):
            client(server, clock).ask(PING)
        row = HostState.objects.get()
        assert row.host == f"127.0.0.1:{server.port}"
        assert row.banned_until_us == clock.wall_us() + 900_000_000
        assert row.updated_us == clock.wall_us()
        assert "Way too much" in row.reason
        with pytest.raises(BannedError, match="Way too much"):
            client(server, clock).ask(PING)
        assert len(server.requests) == 1
        assert "host left alone" in caplog.text
        clock.now_s += 900
        client(server, clock).ask(PING)
        assert len(server.requests) == 2


def test_nobody_goes_before_the_table_of_bans_was_read(monkeypatch):
    """The first thread reads a ban for a while; the second must not slip by."""
    clock, is_read = HandClock(), threading.Event()

    def slow_read(host):
        is_read.wait(5)
        return clock.wall_us() + 900_000_000, "banned before the start"

    monkeypatch.setattr(STORED, "until", slow_read, raising=False)
    refused = []

    def ask(ours):
        with pytest.raises(BannedError):
            ours.ask(PING)
        refused.append(True)

    with Server() as server:
        ours = client(server, clock)
        threads = [in_thread(lambda: ask(ours)) for _ in range(2)]
        threads[1].join(0.1)
        is_read.set()
        for thread in threads:
            thread.join(5)
        assert refused == [True, True]
        assert server.requests == []


@pytest.mark.django_db
def test_a_second_ban_replaces_the_first():
    STORED.keep("api.example.test", 5, "first", 1)
    STORED.keep("api.example.test", 9, "second", 2)
    assert STORED.until("api.example.test") == (9, "second")
    assert STORED.until("other.example.test") == (0, "")


@pytest.mark.django_db(transaction=True)
def test_a_thread_leaves_no_connection_behind():
    left = []

    def work():
        STORED.keep("api.example.test", 5, "why", 1)
        STORED.until("api.example.test")
        left.append(connection.connection)

    in_thread(work).join(5)
    assert left == [None]
    assert STORED.until("api.example.test") == (5, "why")


def test_while_the_database_does_not_answer_memory_has_to_do(monkeypatch, caplog):
    class Broken:
        def __getattr__(self, name):
            raise DatabaseError("no such table")

    monkeypatch.setattr(bans.HostState, "objects", Broken())
    monkeypatch.setattr(bans, "writing", bans._borrowed)
    clock = HandClock()
    with Server() as server:
        server.then(reply(418, Retry_After="900"))
        one = client(server, clock)
        for _ in range(2):
            with pytest.raises(BannedError):
                one.ask(PING)
        assert len(server.requests) == 1
    assert "bans are not readable" in caplog.text
    assert "ban not kept beyond this process" in caplog.text
