"""What an answer means: status, headers and body to a verdict. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from urllib.parse import urlsplit

from marketdata.rest.session import Reply
from marketdata.venues.base import Venue

# The venue bans for two minutes up to three days.
BAN_S = 120.0
LONGEST_BAN_S = 3 * 86_400.0
LONGEST_PAUSE_S = 3600.0
SHOWN = 200
REGION = re.compile(
    rb"restricted location|from your country|in your (country|region)|eligibility", re.IGNORECASE
)
BANNED_UNTIL = re.compile(rb"banned until (\d{10,16})")
# A venue's own 403; a firewall's and a region rule's say something else.
TOO_OFTEN = re.compile(rb"too frequent|too many (requests|visits)", re.IGNORECASE)
# How the header ends that tells when a count begins anew, milliseconds UTC.
RESET = "-limit-reset-timestamp"


class Kind(Enum):
    """What to do about an answer."""

    OK = "ok"
    RATE = "rate"
    BAN = "ban"
    REGION = "region"
    BLOCK = "block"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means.

    Parameters
    ----------
    kind : Kind
    words : str
        What came back, for people.
    wait_s : float or None
        The venue's own waiting time where it gave a usable one.
    code : int or None
        The venue's own number of the refusal, where it gave one.
    """

    kind: Kind
    words: str = ""
    wait_s: float | None = None
    code: int | None = None


def judge(venue: Venue, reply: Reply) -> Verdict:
    """Sort an answer; its status decides first, then whether it can be the venue's at all."""
    for applies, verdict in RULES:
        if applies(venue, reply):
            return verdict(venue, reply)
    return Verdict(Kind.OK)


def retry_after_s(reply: Reply, longest_s: float) -> float | None:
    """Return Retry-After in seconds from now, at most `longest_s`; None where it is no use.

    Notes
    -----
    Seconds or an HTTP date, as RFC 9110 has it. A date counts from the answer's own Date, so
    that our clock does not matter. Zero, a negative number, a past date and nonsense are no use.
    """
    text = reply.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        until = http_date(text)
        if until is None:
            return None
        seconds = until.timestamp() - _answered_s(reply)
    return min(seconds, longest_s) if seconds > 0 else None


def _answered_s(reply: Reply) -> float:
    """Return when the answer was given by its own clock, else by ours; seconds since the epoch."""
    date = http_date(reply.headers.get("Date", ""))
    return date.timestamp() if date else _now_us(reply) / 1e6


def _reset_s(reply: Reply) -> float | None:
    """Return the seconds to the time at which the venue counts anew; None where it is past."""
    told = (text for name, text in reply.headers.items() if name.lower().endswith(RESET))
    text = next(told, "")
    if not (text.isascii() and text.isdecimal()):
        return None
    seconds = int(text[:16]) / 1000 - _answered_s(reply)
    return min(seconds, LONGEST_PAUSE_S) if seconds > 0 else None


def http_date(text: str) -> datetime | None:
    """Read an HTTP date; None where it is none."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def is_page(reply: Reply) -> bool:
    """Tell whether an answer is HTML, by its content type or its first character."""
    content_type = reply.headers.get("Content-Type", "").lower()
    return "html" in content_type or reply.body[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _now_us(reply: Reply) -> int:
    return reply.sent_us + int(reply.elapsed_s * 1e6)


def _is_region(venue: Venue, reply: Reply) -> bool:
    return reply.status == 451 or (
        reply.status == 403 and REGION.search(reply.body[:4096]) is not None
    )


def _ban(venue: Venue, reply: Reply) -> Verdict:
    wait_s = retry_after_s(reply, LONGEST_BAN_S) or _until_s(reply) or BAN_S
    return Verdict(Kind.BAN, _words(venue, reply), wait_s)


def _until_s(reply: Reply) -> float | None:
    """Return the seconds to the end that the words of a ban name."""
    found = BANNED_UNTIL.search(reply.body[:4096])
    if found is None:
        return None
    number = int(found[1])
    until_us = number * (1 if number >= 10**14 else 1000 if number >= 10**11 else 1_000_000)
    seconds = (until_us - _now_us(reply)) / 1e6
    return min(seconds, LONGEST_BAN_S) if seconds > 0 else None


def _rate(venue: Venue, reply: Reply) -> Verdict:
    wait_s = retry_after_s(reply, LONGEST_PAUSE_S) or _reset_s(reply)
    return Verdict(Kind.RATE, _words(venue, reply), wait_s)


def _is_rate_block(venue: Venue, reply: Reply) -> bool:
    is_venues = venue.rate_block_s > 0 and reply.status == 403
    return is_venues and TOO_OFTEN.search(reply.body[:4096]) is not None


def _rate_block(venue: Venue, reply: Reply) -> Verdict:
    wait_s = retry_after_s(reply, LONGEST_BAN_S) or 0.0
    return Verdict(Kind.BAN, _words(venue, reply), max(wait_s, venue.rate_block_s))


def _region(venue: Venue, reply: Reply) -> Verdict:
    return Verdict(Kind.REGION, _words(venue, reply))


def _redirect(venue: Venue, reply: Reply) -> Verdict:
    target = reply.headers.get("Location", "")
    host = urlsplit(target).netloc or "another path"
    return Verdict(Kind.REFUSED, f"status {reply.status}: redirected to {host}, which is not asked")


def _server(venue: Venue, reply: Reply) -> Verdict:
    return Verdict(Kind.RETRY, _words(venue, reply), retry_after_s(reply, LONGEST_PAUSE_S))


def _client(venue: Venue, reply: Reply) -> Verdict:
    known = None if is_page(reply) else venue.error_of(reply.body)
    if known is not None and known[0] in venue.rate_codes:
        return _rate(venue, reply)
    if known is not None and known[0] in venue.retryable_codes:
        return _server(venue, reply)
    is_block = reply.status == 403 and known is None
    kind, code = Kind.BLOCK if is_block else Kind.REFUSED, known[0] if known else None
    return Verdict(kind, _words(venue, reply), code=code)


def _page(venue: Venue, reply: Reply) -> Verdict:
    return Verdict(Kind.BLOCK, _words(venue, reply))


def _words(venue: Venue, reply: Reply) -> str:
    if is_page(reply):
        shown = reply.body[:SHOWN].decode("utf-8", "replace")
        return f"status {reply.status}: a page of HTML where JSON was expected: {shown!r}"
    known = venue.error_of(reply.body)
    if known is not None:
        return f"status {reply.status}: code {known[0]}: {known[1][:SHOWN]}"
    return f"status {reply.status}: {reply.body[:SHOWN].decode('utf-8', 'replace')!r}"


def _is_ban(venue: Venue, reply: Reply) -> bool:
    said = reply.status >= 400 and BANNED_UNTIL.search(reply.body[:4096]) is not None
    return reply.status == 418 or said


def _is_refused(venue: Venue, reply: Reply) -> bool:
    """Tell whether a status says no, or a body whose status says yes."""
    return reply.status != 200 or venue.is_refusal(reply.body)


Rule = tuple[Callable[[Venue, Reply], bool], Callable[[Venue, Reply], Verdict]]
# The first that applies counts.
RULES: tuple[Rule, ...] = (
    (_is_ban, _ban),
    (lambda _, reply: reply.status == 429, _rate),
    (_is_region, _region),
    (_is_rate_block, _rate_block),
    (lambda _, reply: 300 <= reply.status < 400, _redirect),
    (lambda _, reply: reply.status >= 500 or reply.status == 408, _server),
    (lambda _, reply: reply.status >= 400, _client),
    (lambda _, reply: is_page(reply), _page),
    (_is_refused, _client),
)
