"""`Pool`: the limiter and the hosts that all clients of one venue in this process share."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from marketdata.conf import Conf
from marketdata.core.breaker import Breaker
from marketdata.rest.bans import STORED, Bans
from marketdata.rest.clock import CLOCK, Clock
from marketdata.rest.host import Host
from marketdata.rest.limiter import Limiter
from marketdata.venues.base import Venue


class Pool:
    """What a venue counts by address, not by connection.

    Parameters
    ----------
    conf : Conf
        Limits, threshold and cool-down.
    limiter : Limiter
        Requests of every host of the venue count together: whether they do is not documented.
    """

    def __init__(
        self, conf: Conf, limiter: Limiter, clock: Clock = CLOCK, bans: Bans = STORED
    ) -> None:
        self.limiter = limiter
        self.clock = clock
        self._conf = conf
        self._bans = bans
        self._hosts: dict[str, Host] = {}

    def host(self, url: str) -> Host:
        """Return the state of the host of a URL."""
        name = urlsplit(url).netloc
        with _lock:
            if name not in self._hosts:
                breaker = Breaker(
                    self._conf.backfill_rate_limit_threshold, self._conf.backfill_cooldown_seconds
                )
                self._hosts[name] = Host(name, breaker, self._bans, self.clock)
            return self._hosts[name]


_lock = threading.Lock()
_pools: dict[tuple[str, str], Pool] = {}


def new_limiter(venue: Venue, conf: Conf, clock: Clock = CLOCK) -> Limiter:
    """Return a limiter as the settings and the venue's own limit want it."""
    return Limiter(
        conf.hosts(venue.source).weight_per_minute,
        venue.weight_per_minute,
        conf.backfill_public_delay_ms / 1000,
        clock,
    )


def shared_pool(venue: Venue, base_url: str, conf: Conf) -> Pool:
    """Return the one pool of a venue at a base URL in this process."""
    key = (venue.key, base_url)
    with _lock:
        if key not in _pools:
            _pools[key] = Pool(conf, new_limiter(venue, conf))
        return _pools[key]
