import pytest
from requests.structures import CaseInsensitiveDict

from marketdata.rest.session import Reply
from marketdata.rest.verdict import Kind, judge, retry_after_s
from marketdata.venues.binance_spot import VENUE as BINANCE
from marketdata.venues.bybit import BYBIT_LINEAR as BYBIT
from tests.rest.hand import START_US

# START_US is 2025-10-09 09:00:00 UTC.
DATE = "Thu, 09 Oct 2025 09:00:00 GMT"
PAGE = b"<!DOCTYPE html><html>Request blocked</html>"
COUNTRY = (
    b"<HTML>The Amazon CloudFront distribution is configured to block access from your country."
)


def answer(status=200, body=b"{}", **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, CaseInsensitiveDict(fields), body, START_US, 0.0)


def code(number, words="Words."):
    return b'{"code":%d,"msg":"%s"}' % (number, words.encode())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(200, b"[]"), Kind.OK),
        (answer(204, b""), Kind.REFUSED),
        (answer(200, PAGE), Kind.BLOCK),
        (answer(200, b"\xef\xbb\xbf \r\n" + PAGE), Kind.BLOCK),
        (answer(200, b"{}", Content_Type="Text/HTML; charset=utf-8"), Kind.BLOCK),
        (answer(302, b"", Location="https://login.example/"), Kind.REFUSED),
        (answer(400, code(-1121)), Kind.REFUSED),
        (answer(400, code(-1021)), Kind.RETRY),
        (answer(400, code(-1008)), Kind.RETRY),
        (answer(401, code(-2014)), Kind.REFUSED),
        (answer(403, code(-2015)), Kind.REFUSED),
        (answer(403, PAGE), Kind.BLOCK),
        (answer(403, b""), Kind.BLOCK),
        (answer(403, COUNTRY), Kind.REGION),
        (answer(404, PAGE), Kind.REFUSED),
        (answer(408, b""), Kind.RETRY),
        (answer(418, code(-1003)), Kind.BAN),
        (answer(429, code(-1003)), Kind.RATE),
        (answer(429, PAGE), Kind.RATE),
        (answer(429, code(-1003, "IP banned until 1760000460000")), Kind.BAN),
        (answer(451, code(0, "Service unavailable from a restricted location")), Kind.REGION),
        (answer(451, PAGE), Kind.REGION),
        (answer(500, b"oops"), Kind.RETRY),
        (answer(502, PAGE), Kind.RETRY),
        (answer(503, code(-1008)), Kind.RETRY),
        (answer(504, b""), Kind.RETRY),
    ],
)
def test_every_answer_has_one_meaning(reply, kind):
    assert judge(BINANCE, reply).kind is kind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("Thu, 09 Oct 2025 09:00:30 GMT", 30.0),
        ("Thursday, 09-Oct-25 09:01:00 GMT", 60.0),
        ("Thu, 09 Oct 2035 09:00:00 GMT", 3600.0),
        ("99999999999", 3600.0),
        ("inf", 3600.0),
        ("0", None),
        ("-5", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Thu, 09 Oct 2025 08:59:00 GMT", None),
        ("Thu, 99 Oct 2025 08:59:00 GMT", None),
        ("\u0663", 3.0),
    ],
)
def test_retry_after_is_read_clamped_or_ignored(text, seconds):
    assert retry_after_s(answer(429, Retry_After=text, Date=DATE), 3600.0) == seconds


def test_a_retry_date_counts_from_the_answer_s_own_date():
    told = {"Retry_After": "Thu, 09 Oct 2025 10:00:10 GMT"}
    skewed = answer(429, **told, Date="Thu, 09 Oct 2025 10:00:00 GMT")
    assert retry_after_s(skewed, 86_400.0) == 10.0
    # Without one, our clock has to do: an hour and ten seconds from 09:00.
    assert retry_after_s(answer(429, **told), 86_400.0) == 3610.0


BANNED = "Way too much request weight used; IP banned until 1760000460000. Use WebSocket Streams."


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (answer(418, code(-1003), Retry_After="300"), 300.0),
        (answer(418, code(-1003, BANNED), Retry_After="300"), 300.0),
        # Banned until 60 s after the answer.
        (answer(418, code(-1003, BANNED)), 60.0),
        (answer(418, code(-1003, BANNED), Retry_After="-5"), 60.0),
        (answer(418, code(-1003, "IP banned until 1760000460")), 60.0),
        (answer(418, code(-1003, "IP banned until 1760000460000000")), 60.0),
        (answer(418, code(-1003, "IP banned until 1760000000000")), 120.0),
        (answer(418, code(-1003), Retry_After="junk"), 120.0),
        (answer(418, PAGE), 120.0),
        (answer(418, b"", Retry_After="99999999"), 259_200.0),
        (answer(418, code(-1003, "IP banned until 9999999999999")), 259_200.0),
    ],
)
def test_a_ban_lasts_as_long_as_the_venue_says(reply, seconds):
    assert judge(BINANCE, reply).wait_s == seconds


def test_a_redirect_names_the_target():
    words = judge(BINANCE, answer(302, b"", Location="https://login.example/portal?x=1")).words
    assert "redirected to login.example" in words


def test_words_hold_the_head_of_a_page_and_the_venue_s_code():
    page = judge(BINANCE, answer(403, b"<html>" + b"x" * 1000)).words
    assert "a page of HTML" in page
    assert len(page) < 300
    assert "code -1121: Words." in judge(BINANCE, answer(400, code(-1121))).words


# Venues that refuse with HTTP 200, and whose 403 may be their own limit.

TOO_OFTEN = b"403, access too frequent"
FORBIDDEN = b"<html><head><title>403 Forbidden</title></head>"


def returned(number, words="Words."):
    return b'{"retCode":%d,"retMsg":"%s","result":{},"time":1760000400000}' % (
        number,
        words.encode(),
    )


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(200, returned(0)), Kind.OK),
        (answer(200, b'{"result":{"list":[]},"retCode":0}'), Kind.OK),
        (answer(200, returned(10001)), Kind.REFUSED),
        (answer(200, returned(10000)), Kind.RETRY),
        (answer(200, returned(10002)), Kind.RETRY),
        (answer(200, returned(10016)), Kind.RETRY),
        (answer(200, returned(10006)), Kind.RATE),
        (answer(200, returned(10018)), Kind.RATE),
        (answer(200, returned(429)), Kind.RATE),
        (answer(400, returned(10006)), Kind.RATE),
        (answer(200, PAGE), Kind.BLOCK),
        (answer(200, b"oops"), Kind.OK),
        (answer(403, TOO_OFTEN), Kind.BAN),
        (answer(403, b"<html>403, Access Too Frequent</html>"), Kind.BAN),
        (answer(403, COUNTRY), Kind.REGION),
        (answer(403, COUNTRY + b" too many requests"), Kind.REGION),
        (answer(403, FORBIDDEN), Kind.BLOCK),
        (answer(403, b""), Kind.BLOCK),
        (answer(403, returned(10010)), Kind.REFUSED),
        (answer(404, b"404 page not found"), Kind.REFUSED),
        (answer(429, b""), Kind.RATE),
        (answer(503, FORBIDDEN), Kind.RETRY),
    ],
)
def test_a_body_may_refuse_what_its_status_grants(reply, kind):
    assert judge(BYBIT, reply).kind is kind


def test_a_refusal_tells_the_venue_s_own_code():
    verdict = judge(BYBIT, answer(200, returned(10001, "params error")))
    assert verdict.code == 10001
    assert verdict.words == "status 200: code 10001: params error"


def test_a_403_of_a_venue_without_such_a_limit_is_a_firewall_s():
    assert judge(BINANCE, answer(403, TOO_OFTEN)).kind is Kind.BLOCK


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("", 600.0), ("5", 600.0), ("900", 900.0), ("junk", 600.0)]
)
def test_a_venue_s_own_403_lasts_ten_minutes_at_least(retry_after, seconds):
    assert judge(BYBIT, answer(403, TOO_OFTEN, Retry_After=retry_after)).wait_s == seconds


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        # The answer came at 1760000400000.
        ("1760000402500", 2.5),
        ("1760000400000", None),
        ("1760000399000", None),
        ("0", None),
        ("-1760000402500", None),
        ("soon", None),
        ("", None),
        ("\u0661\u0667", None),
        ("9999999999999", 3600.0),
        ("9" * 5000, 3600.0),
    ],
)
def test_a_count_is_waited_out_and_never_backwards(reset, seconds):
    told = {"X_Bapi_Limit_Status": "0", "X_Bapi_Limit_Reset_Timestamp": reset}
    assert judge(BYBIT, answer(200, returned(10006), **told)).wait_s == seconds
    # By the answer's own clock where it has one, an hour ahead of ours.
    ahead = answer(200, returned(10006), **told, Date="Thu, 09 Oct 2025 10:00:00 GMT")
    assert judge(BYBIT, ahead).wait_s == (3600.0 if seconds == 3600.0 else None)


def test_a_waiting_time_in_seconds_goes_before_the_reset():
    told = {"X_Bapi_Limit_Reset_Timestamp": "1760000402500", "Retry_After": "7"}
    assert judge(BYBIT, answer(429, b"", **told)).wait_s == 7.0
