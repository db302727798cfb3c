import pytest

from marketdata.core.errors import (
    BadInputError,
    BadTradesError,
    BotCryptoError,
    ConnectionLostError,
    FrameError,
    OffGridError,
    TapeError,
    VenueError,
)


@pytest.mark.parametrize("kind", [BadTradesError, OffGridError, TapeError, FrameError])
def test_a_bad_value_is_never_retryable(kind):
    assert issubclass(kind, BadInputError)
    assert not kind.retryable


def test_a_lost_connection_is_retryable():
    assert issubclass(ConnectionLostError, BotCryptoError)
    assert ConnectionLostError.retryable


def test_a_frame_error_says_reason_and_detail_and_keeps_the_start_of_the_frame():
    error = FrameError("json", "an object expected, seen a list", b"[" * 5000)
    assert str(error) == "json: an object expected, seen a list"
    assert (error.reason, error.detail) == ("json", "an object expected, seen a list")
    assert error.raw == b"[" * 2000


def test_a_venue_error_carries_status_and_waiting_time():
    error = VenueError("429 Too Many Requests", 429, retryable=True, retry_after_s=12.0)
    assert str(error) == "429 Too Many Requests"
    assert (error.status, error.retryable, error.retry_after_s) == (429, True, 12.0)


def test_a_venue_that_says_no_is_not_asked_again_by_default():
    error = VenueError("unknown symbol")
    assert (error.status, error.retryable, error.retry_after_s) == (None, False, None)
