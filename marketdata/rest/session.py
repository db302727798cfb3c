"""`Session`: one host over persistent connections, each answer whole, small and in time."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import urllib3

from marketdata.core.errors import (
    BadInputError,
    ConnectionLostError,
    FrameError,
    UntrustedHostError,
)
from marketdata.core.redaction import redacted
from marketdata.rest.clock import CLOCK, Clock
from marketdata.rest.guard import Guard, GuardedAdapter, guarded

log = logging.getLogger(__name__)

VERSION = "0.1.0"
# A page of 1,000 trades is 150 kB; 292 kB of gzip can grow to 300 MB.
LARGEST_BODY = 8 << 20
CHUNK = 1 << 16
# A host that does not take a connection in this time will not do so in 30 s either.
CONNECT_S = 5.0
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status.

    Parameters
    ----------
    status : int
    headers : mapping
        Names in any case.
    body : bytes
        Decompressed.
    sent_us : int
        Wall clock when the request went out, microseconds UTC.
    elapsed_s : float
        From then to the last byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_us: int
    elapsed_s: float


class Session:
    """Asks one host, from any thread.

    Parameters
    ----------
    base_url : str
        Scheme and host; TLS is required beyond loopback.
    user_agent : str
        Empty is BotCrypto and its version.
    timeout_s : float
        From sending to the last byte.
    stop : threading.Event
        Ends a request that is under way.

    Raises
    ------
    BadInputError
        A URL that no request may go to.
    """

    def __init__(
        self,
        base_url: str,
        user_agent: str,
        timeout_s: float,
        stop: threading.Event,
        clock: Clock = CLOCK,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.host = urlsplit(base_url).netloc
        self.timeout_s = timeout_s
        self._stop = stop
        self._clock = clock
        self._http = requests.Session()
        # Proxies and certificate stores of the machine count, its passwords (.netrc) do not.
        self._http.trust_env = not checked_host(base_url)
        self._http.auth = _as_it_is
        self._http.mount(self.base_url, GuardedAdapter(CONNECTIONS))
        sent = headers(user_agent)
        self._http.headers.update(sent)
        log.info(
            "session created host=%s timeout_s=%g headers set: %s",
            self.host,
            timeout_s,
            "; ".join(f"{name}: {value}" for name, value in sent.items()),
        )

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | str,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask once; a query that is text already is sent byte for byte.

        Raises
        ------
        ConnectionLostError
            No complete answer before the deadline.
        UntrustedHostError
            The certificate is not valid.
        FrameError
            Reason `size`: more than 8 MB.
        StoppedError
        """
        return self._asked("GET", path, params, headers or {})

    def post(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Ask once for what a venue makes when asked, with nothing but headers; as `get`."""
        return self._asked("POST", path, "", headers or {})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _asked(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | str,
        headers: Mapping[str, str],
    ) -> Reply:
        began_s = self._clock.monotonic_s()
        sent_us = self._clock.wall_us()
        guard = Guard(self._clock, began_s + self.timeout_s, self._stop)
        try:
            with guarded(guard), self._open(method, path, params, headers) as response:
                body = _body(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._lost(path, error) from error
        elapsed_s = self._clock.monotonic_s() - began_s
        return Reply(response.status_code, response.headers, body, sent_us, elapsed_s)

    def _open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | str,
        headers: Mapping[str, str],
    ) -> requests.Response:
        return self._http.request(
            method,
            self.base_url + path,
            params=params if isinstance(params, str) else dict(params),
            headers=dict(headers),
            timeout=(min(CONNECT_S, self.timeout_s), self.timeout_s),
            allow_redirects=False,
            stream=True,
        )

    def _lost(self, path: str, error: Exception) -> ConnectionLostError | UntrustedHostError:
        if _has_cause(error, ssl.SSLCertVerificationError):
            return UntrustedHostError(
                f"a valid certificate of {self.host} expected: {error}; nothing is asked of a host "
                "that cannot prove who it is: check the clock, the network and the URL"
            )
        return ConnectionLostError(
            # The words of what went wrong quote the query, signature included.
            redacted(f"{self.host}{path}: no complete answer: {type(error).__name__}: {error}")
        )


def headers(user_agent: str) -> dict[str, str]:
    """Return the headers of every request."""
    return {
        "User-Agent": user_agent or f"BotCrypto/{VERSION}",
        "Accept": "application/json",
        "Accept-Language": "en-US,en;q=0.9",
        "Accept-Encoding": "gzip",
        "Connection": "keep-alive",
    }


def checked_host(url: str) -> bool:
    """Tell whether a URL is on this machine. Raises BadInputError where it may not be asked.

    Notes
    -----
    A name is proven by its certificate, so where it resolves to does not matter; an address in
    a private network, such as a cloud's metadata at 169.254.169.254, proves nothing.
    """
    parts = urlsplit(url)
    is_loopback = _is_loopback(parts.hostname or "")
    if not parts.hostname or parts.scheme not in ({"http", "https"} if is_loopback else {"https"}):
        raise BadInputError(f"a URL that starts with https:// expected, seen {url!r}")
    try:
        is_private = not ipaddress.ip_address(parts.hostname).is_global
    except ValueError:
        is_private = False
    if is_private and not is_loopback:
        raise BadInputError(f"a public host or loopback expected, seen {url!r}")
    return is_loopback


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _body(response: requests.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(CHUNK):
        size += len(part)
        if size > LARGEST_BODY:
            head = b"".join(parts)[:2000]
            raise FrameError("size", f"a body of at most {LARGEST_BODY} bytes expected", head)
        parts.append(part)
    return b"".join(parts)


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Look for a kind of error in what led to this one."""
    for _ in range(10):
        if error is None or isinstance(error, kind):
            break
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
    return isinstance(error, kind)
