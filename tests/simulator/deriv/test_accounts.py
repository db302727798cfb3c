"""Accounts: REST, one-time passwords, the account socket, the legacy login."""

import time

import pytest
import requests
import websocket

from marketdata.simulator.deriv.limits import DerivRules
from marketdata.simulator.server import Simulator
from tests.simulator.deriv.conftest import LEGACY, PUBLIC

BEFORE = "/trading/v1/options"
HEADERS = {"Authorization": "Bearer SIMTOKEN", "Deriv-App-ID": "abcdefghijklmnopqrstu"}
DEMO, REAL = "DOT90000001", "ROT90000002"


def password(venue, id=DEMO):
    """Return the address of the account socket."""
    answer = requests.post(f"{venue.rest_url}{BEFORE}/accounts/{id}/otp", headers=HEADERS)
    assert answer.status_code == 200
    return answer.json()["data"]["url"]


def path(venue, id=DEMO):
    """Return the path of the account socket, once-only."""
    return password(venue, id).removeprefix(venue.ws_url)


def refused(talk, venue, where):
    """Return the status with which a handshake is refused."""
    with pytest.raises(websocket.WebSocketBadStatusException) as error:
        talk(venue, where)
    return error.value.status_code


@pytest.mark.parametrize("token", ["SIMTOKEN", "pat_SIMTOKEN"])
def test_accounts_are_listed(venue, token):
    headers = {**HEADERS, "Authorization": f"Bearer {token}"}
    answer = requests.get(f"{venue.rest_url}{BEFORE}/accounts", headers=headers).json()
    assert answer["data"][0] == {
        "account_id": DEMO,
        "balance": 10_000.0,
        "currency": "USD",
        "group": "row",
        "status": "active",
        "account_type": "demo",
    }
    assert (answer["data"][1]["account_id"], answer["data"][1]["account_type"]) == (REAL, "real")
    assert answer["meta"]["endpoint"] == "/accounts"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": "Bearer pat_WRONG"}, 401, "Unauthorized"),
        ({"Authorization": "SIMTOKEN"}, 401, "Unauthorized"),
        ({"Authorization": ""}, 401, "Unauthorized"),
        ({"Deriv-App-ID": ""}, 400, "FieldIsRequired"),
    ],
)
def test_who_is_not_let_in(venue, headers, status, code):
    for ask, where in ((requests.get, "/accounts"), (requests.post, f"/accounts/{DEMO}/otp")):
        answer = ask(f"{venue.rest_url}{BEFORE}{where}", headers={**HEADERS, **headers})
        assert answer.status_code == status
        error = answer.json()["errors"][0]
        assert (error["status"], error["code"]) == (status, code)


def test_an_account_that_is_nobodys(venue):
    answer = requests.post(f"{venue.rest_url}{BEFORE}/accounts/DOT1/otp", headers=HEADERS)
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "AccountNotFound"


def test_the_account_socket(venue, talk):
    one = talk(venue, path(venue))
    told = one.ask(balance=1)
    assert told["balance"] == {"balance": 10_000.0, "currency": "USD", "loginid": DEMO}
    stream = one.ask(balance=1, subscribe=1)
    assert stream["balance"]["id"] == stream["subscription"]["id"]
    assert one.code(balance=1, subscribe=1) == "AlreadySubscribed"
    assert one.ask(forget_all="balance")["forget_all"] == [stream["subscription"]["id"]]
    assert one.ask(portfolio=1)["portfolio"] == {"contracts": []}
    assert one.ask(statement=1)["statement"] == {"count": 0, "transactions": []}
    assert one.ask(profit_table=1)["profit_table"]["count"] == 0
    assert one.ask(ticks="R_100", subscribe=1)["tick"]["symbol"] == "R_100"
    assert one.ask(ticks_history="R_100", end="latest", count=2)["history"]["times"]
    assert one.code(authorize="SIMTOKEN") == "InputValidationFailed"
    assert one.code(balance=1, account="all") == "InputValidationFailed"
    assert one.code(buy="1", price=10) == "PermissionDenied"


def test_the_real_account_has_a_socket_of_its_own(venue, talk):
    where = path(venue, REAL)
    assert where.startswith(f"{BEFORE}/ws/real?otp=")
    assert talk(venue, where).ask(balance=1)["balance"]["balance"] == 250.75


def test_a_password_is_good_once_and_for_its_own_socket(venue, talk):
    where = path(venue)
    talk(venue, where)
    assert refused(talk, venue, where) == 401
    assert refused(talk, venue, f"{BEFORE}/ws/demo?otp=made-up") == 401
    assert refused(talk, venue, f"{BEFORE}/ws/demo") == 401
    assert refused(talk, venue, path(venue).replace("/demo", "/real")) == 401


def test_a_password_is_good_for_a_while(talk):
    with Simulator.generated(["BTCUSDT"], venues=["deriv"], rules=DerivRules(otp_s=0.1)) as venue:
        where = path(venue)
        time.sleep(0.15)
        assert refused(talk, venue, where) == 401
        assert venue.status()["otps"] == {"issued": 1, "used": 0, "refused": 1}


def test_faults_of_rest(venue):
    url = f"{venue.rest_url}{BEFORE}/accounts"
    venue.faults.update({"http_429": 1, "http_500": 1, "http_403html": 1, "retry_after": 3})
    answers = [requests.get(url, headers=HEADERS) for _ in range(4)]
    by_status = {answer.status_code: answer for answer in answers}
    assert set(by_status) == {429, 500, 403, 200}
    assert by_status[429].headers["Retry-After"] == "3"
    assert by_status[429].json()["errors"][0]["code"] == "RateLimit"
    assert by_status[500].json()["errors"][0]["code"] == "InternalServerError"
    assert by_status[403].headers["Content-Type"].startswith("text/html")
    venue.faults.set("http_truncate", 1)
    with pytest.raises(requests.RequestException):
        requests.get(url, headers=HEADERS)
    assert requests.get(f"{venue.rest_url}/v1/health").text == "OK"


def test_the_legacy_login(venue, talk):
    one = talk(venue, LEGACY)
    assert one.code(balance=1) == "AuthorizationRequired"
    assert one.code(authorize="a1-nobody") == "InvalidToken"
    told = one.ask(authorize="SIMTOKEN")
    assert told["echo_req"]["authorize"] == "<redacted>"
    assert told["authorize"]["loginid"] == "VRTC9000001"
    assert [row["is_virtual"] for row in told["authorize"]["account_list"]] == [1, 0]
    balance = one.ask(balance=1, account="current", subscribe=0)["balance"]
    assert balance == {"balance": 10_000.0, "currency": "USD", "loginid": "VRTC9000001"}


@pytest.mark.parametrize("token", ["SIMTOKEN:VRTC9000001", "a.b", "x=1", "", "x" * 129])
def test_a_token_of_the_wrong_shape_is_refused_before_it_is_looked_at(venue, talk, token):
    error = talk(venue, LEGACY).ask(authorize=token)["error"]
    assert error["code"] == "InputValidationFailed"
    assert error["message"] == "Input validation failed: authorize"


def test_legacy_needs_a_number_and_may_be_gone(venue, talk):
    assert refused(talk, venue, "/websockets/v3") == 401
    assert refused(talk, venue, "/websockets/v3?app_id=abc") == 401
    venue.faults.set("legacy_gone", 30)
    assert refused(talk, venue, LEGACY) == 520
    assert talk(venue, PUBLIC).ask(ping=1)["ping"] == "pong"
    venue.faults.set("legacy_gone", 0)
    assert talk(venue, LEGACY).ask(ping=1)["ping"] == "pong"
