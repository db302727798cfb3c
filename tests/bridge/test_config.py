"""The connector's file: what it says is followed, what it cannot mean is refused in words."""

import pytest

from marketdata.bridge.config import ConfigError, with_file
from marketdata.conf import Conf


@pytest.fixture
def settings(tmp_path):
    def make(text, **more):
        path = tmp_path / "connector.toml"
        path.write_text(text)
        given = {"data_source": ("bybit_connector",), "bybit_connector_config_file": str(path)}
        return Conf(**(given | more))

    return make


def hosts(settings):
    found = with_file(settings).hosts("bybit_connector")
    return found.ws, found.rest, found.variant


TESTNET = ("wss://stream-testnet.bybit.com", "https://api-testnet.bybit.com")


def test_without_a_file_nothing_changes(settings):
    assert with_file(Conf()) == Conf()
    unused = settings("nonsense", data_source=("bybit",))
    assert with_file(unused) is unused


def test_each_key_replaces_its_setting(settings):
    assert hosts(settings('rest_url = "https://api.bytick.com/"\ncategory = "spot"')) == (
        "wss://stream.bybit.com", "https://api.bytick.com", "spot",
    )  # fmt: skip
    assert hosts(settings('public_url = "ws://127.0.0.1:9000"')) == (
        "ws://127.0.0.1:9000", "https://api.bybit.com", "linear",
    )  # fmt: skip


def test_a_url_as_hftbacktest_writes_it_names_host_and_market(settings):
    text = f'public_url = "{TESTNET[0]}/v5/public/spot"\nrest_url = "{TESTNET[1]}"'
    assert hosts(settings(text)) == (*TESTNET, "spot")


def test_the_test_network_is_one_word(settings):
    assert hosts(Conf(bybit_connector_testnet=True)) == (*TESTNET, "linear")
    assert hosts(settings('category = "spot"', bybit_connector_testnet=True)) == (*TESTNET, "spot")


REFUSED = [
    ("category = ", "TOML expected"),
    ('api_key = "k"\nsecret = "s"', "seen api_key, secret; what concerns orders"),
    ("category = 3", "category: text expected, seen 3"),
    ('category = "inverse"', "category: one of linear, spot expected, seen 'inverse'"),
    ('rest_url = "ftp://x"', "rest_url: a URL that starts with https://"),
    ('public_url = "https://stream.bybit.com"', "public_url: a URL that starts with wss://"),
    ('rest_url = "http://api.bybit.com"', "rest_url: https://, as http:// is for this machine"),
    ('public_url = "wss://user:word@stream.bybit.com"', "without user name and password"),
    (
        'public_url = "wss://stream.bybit.com/v5/public/spot"\ncategory = "linear"',
        "a public_url of category linear expected",
    ),
    ('public_url = "wss://stream.bybit.com/v5/public/option"', "linear or spot expected"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_it_cannot_mean_is_refused_by_file_and_key(settings, text, words):
    with pytest.raises(ConfigError, match=r"connector.toml: ") as raised:
        with_file(settings(text))
    assert words in str(raised.value)
    assert "user:word" not in str(raised.value)


def test_a_file_that_is_not_there_is_named_with_its_setting():
    lost = Conf(data_source=("bybit_connector",), bybit_connector_config_file="/nowhere/c.toml")
    with pytest.raises(ConfigError, match=r"BYBIT_CONNECTOR_CONFIG_FILE: .* /nowhere/c.toml: No"):
        with_file(lost)


def test_two_feeds_or_two_networks_are_not_mixed_up(settings):
    both = settings('category = "spot"', data_source=("bybit", "bybit_connector"))
    with pytest.raises(ConfigError, match="DATA_SOURCE without bybit expected"):
        with_file(both)
    networks = settings('rest_url = "https://api.bybit.com"', bybit_connector_testnet=True)
    with pytest.raises(ConfigError, match="either BYBIT_CONNECTOR_TESTNET=true or rest_url"):
        with_file(networks)
