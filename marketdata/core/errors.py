"""The error tree. One bit decides what a caller may do: `retryable`.

BotCryptoError
├── BadInputError        a value from outside breaks its definition (never retryable)
│   ├── BadTradesError   columns that are not a batch of trades
│   ├── OffGridError     a price or quantity that is not a multiple of the grid
│   ├── FrameError       a frame or reply the venue's parser refuses; has reason and raw text
│   └── TapeError        a recorded tape that cannot be read
├── VenueError           the venue answered, and said no
│   ├── BlockedError     a page or a border stands between us and the venue
│   └── HostRestingError nothing is asked of the host for a while (retryable)
│       └── BannedError  the venue has banned our address until a known time
├── ConnectionLostError  the venue did not answer (retryable)
├── UntrustedHostError   the host does not prove who it is
├── OutOfSyncError       a book is not known now (retryable)
└── StoppedError         a wait was ended because the process stops
"""

from __future__ import annotations


class BotCryptoError(Exception):
    """Root of every error this project raises on purpose."""

    retryable = False


class BadInputError(BotCryptoError):
    """A value from outside breaks its definition."""


class BadTradesError(BadInputError):
    """Columns that are not a batch of trades."""


class OffGridError(BadInputError):
    """A price or quantity that is not a multiple of the grid's tick or lot."""


class TapeError(BadInputError):
    """A recorded tape that cannot be read."""


class FrameError(BadInputError):
    """A frame or reply that the venue's parser refuses.

    Parameters
    ----------
    reason : str
        Short slug, used as a metric label: `json`, `field`, `type`, `number`, `size`, `symbol`,
        `event`, `time`, `empty`; `extra` is a trade that was taken all the same.
    detail : str
        What was seen and what was expected, in full words.
    raw : bytes
        The refused frame, cut to 2,000 bytes.
    """

    def __init__(self, reason: str, detail: str, raw: bytes = b"") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.raw = raw[:2000]


class VenueError(BotCryptoError):
    """The venue answered, and said no.

    Parameters
    ----------
    message : str
        What was asked, what came back, what to do.
    status : int or None
        HTTP status, where there was one.
    retryable : bool
        Whether asking again later can help.
    retry_after_s : float or None
        The venue's own waiting time, in seconds.
    code : int or None
        The venue's own number of the refusal, where it gave one.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        *,
        retryable: bool = False,
        retry_after_s: float | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.code = code


class ConnectionLostError(BotCryptoError):
    """The venue did not answer, or the line broke."""

    retryable = True


class BlockedError(VenueError):
    """A page of HTML, a firewall or a region rule answered in place of the venue's data."""


class HostRestingError(VenueError):
    """Nothing is asked of the host before `retry_after_s`; no request was made."""


class BannedError(HostRestingError):
    """The venue has banned our address; asking before the end makes the ban longer."""


class UntrustedHostError(BotCryptoError):
    """The host's certificate is not valid for its name; nothing was sent."""


class OutOfSyncError(BotCryptoError):
    """A book is not known now: updates were lost, or it was not whole yet."""

    retryable = True


class StoppedError(BotCryptoError):
    """A wait was ended because the process stops."""
