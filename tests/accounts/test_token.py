"""Tokens as people set them."""

import pytest

from marketdata.accounts.token import token_of
from marketdata.core.errors import BadInputError
from marketdata.venues.deriv import LEGACY_TOKEN, TOKEN

SECRET = "a1-hUsH5eCr3tW0rd"


@pytest.mark.parametrize(
    ("text", "account", "expected"),
    [
        (SECRET, "", (SECRET, "")),
        (f"{SECRET}:VRTC123", "", (SECRET, "VRTC123")),
        (f" {SECRET} : VRTC123 ", "", (SECRET, "VRTC123")),
        (f"{SECRET}:", "CR1", (SECRET, "CR1")),
        (f"{SECRET}:CR1", "CR1", (SECRET, "CR1")),
        ("x" * 128, "", ("x" * 128, "")),
    ],
)
def test_a_token_is_split_from_the_accounts_name(text, account, expected):
    token = token_of(text, account, LEGACY_TOKEN)
    assert (token.value, token.account) == expected
    assert token.value not in repr(token)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "one of 0 characters"),
        (":VRTC123", "one of 0 characters"),
        ("x" * 129, "one of 129 characters"),
        ("eyJhbGciOi.eyJzdWIi=", "one of 20 characters with '.', '=' in it"),
        ("hush hush", "with ' ' in it"),
        ("pässword", "with 'ä' in it"),
        ("hush\nhush", r"with '\\n' in it"),
    ],
)
def test_a_token_that_the_venue_would_refuse_is_refused_here_without_showing_it(text, seen):
    with pytest.raises(BadInputError, match=r"copy it again, whole and alone") as raised:
        token_of(text, "", LEGACY_TOKEN)
    assert seen.replace("\\\\", "\\") in str(raised.value)
    assert not text.strip(":") or text not in str(raised.value)


def test_a_token_of_the_new_api_may_have_dots():
    assert token_of("ory_at_a.b-c_d", "", TOKEN).value == "ory_at_a.b-c_d"
    with pytest.raises(BadInputError):
        token_of("pat_a b", "", TOKEN)


def test_two_names_for_the_account_are_one_too_many():
    with pytest.raises(BadInputError, match="'CR1' behind the token's colon and 'CR2'") as raised:
        token_of(f"{SECRET}:CR1", "CR2", LEGACY_TOKEN)
    assert SECRET not in str(raised.value)
