from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path

import pytest

from botcrypto import env
from marketdata import conf
from marketdata.conf import Conf, described
from tests.store.stored import ROOT


def one(name, text):
    """The value of one setting; fails where it is refused."""
    found, errors = env.load({name: text})
    assert errors == []
    return getattr(found, name.lower())


def complaint(name, text):
    """What is said of one bad setting, which must keep its default."""
    found, errors = env.load({name: text})
    assert found == Conf()
    assert len(errors) == 1
    assert errors[0].startswith(f"{name}=")
    return errors[0]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("BACKEND_PORT", "8300", 8300),
        ("BACKEND_PORT", " 8300 ", 8300),
        ("HOST", "0.0.0.0", "0.0.0.0"),
        ("SYMBOL", "币安人生USDT", "币安人生USDT"),
        ("SYMBOLS", "BTCUSDT, ETHUSDT ,,BTCUSDT", ("BTCUSDT", "ETHUSDT")),
        ("DATA_SOURCE", "binance_ws", ("binance_ws",)),
        ("LOG_LEVEL", "DEBUG", "DEBUG"),
        ("VALUE_AREA_PCT", "0.68", 0.68),
        ("VALUE_AREA_PCT", "1", 1.0),
        ("PROFILE_TICK_SIZE", "0.10", Decimal("0.1")),
        ("PROFILE_TICK_SIZE", "1e-8", Decimal("1e-8")),
        ("CONTEXT_BACKFILL_ENABLED", "false", False),
        ("CONTEXT_BACKFILL_ENABLED", "No", False),
        ("CONTEXT_BACKFILL_ENABLED", "0", False),
        ("CONTEXT_BACKFILL_ENABLED", "ON", True),
        ("DATA_DIR", "/srv/trades", Path("/srv/trades")),
        ("DATABASE_URL", "sqlite:////srv/trades.sqlite3", "sqlite:////srv/trades.sqlite3"),
        (
            "BINANCE_REST_URL",
            "https://proxy.example:8443/binance/",
            "https://proxy.example:8443/binance",
        ),
        ("BINANCE_REST_URL", "http://127.0.0.1:8301", "http://127.0.0.1:8301"),
        ("BINANCE_REST_URL", "http://127.8.8.8", "http://127.8.8.8"),
        ("BINANCE_REST_URL", "http://[::1]:8301", "http://[::1]:8301"),
        ("BINANCE_WS_URL", "ws://localhost:8301", "ws://localhost:8301"),
    ],
)
def test_every_type_is_read(name, text, value):
    seen = one(name, text)
    assert seen == value
    assert type(seen) is type(value) or isinstance(seen, Path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("BACKEND_PORT", "eight", "a whole number expected"),
        ("BACKEND_PORT", "8000.5", "a whole number expected"),
        ("BACKEND_PORT", "-1", "a value from 0 to 65535 expected"),
        ("BACKEND_PORT", "65536", "a value from 0 to 65535 expected"),
        ("VALUE_AREA_PCT", "70%", "a number expected"),
        ("VALUE_AREA_PCT", "nan", "a number expected"),
        ("VALUE_AREA_PCT", "inf", "a number expected"),
        ("VALUE_AREA_PCT", "0", "a value from 0.01 to 1.0 expected"),
        ("PROFILE_TICK_SIZE", "0,1", "a number expected"),
        ("PROFILE_TICK_SIZE", "NaN", "a number expected"),
        ("PROFILE_TICK_SIZE", "sNaN", "a number expected"),
        ("PROFILE_TICK_SIZE", "Infinity", "a number expected"),
        ("PROFILE_TICK_SIZE", "0", "expected"),
        ("PROFILE_TICK_SIZE", "-0.1", "expected"),
        ("CONTEXT_BACKFILL_ENABLED", "maybe", "true or false expected"),
        ("LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR expected"),
        ("DATA_SOURCE", "binance_ws,kraken", "one of binance_ws"),
        ("SYMBOLS", "BTCUSDT,deriv:", "a symbol expected after the colon"),
        ("DATABASE_URL", "postgres://localhost/x", "sqlite:///PATH expected"),
        ("BINANCE_REST_URL", "api.binance.com", "starts with https://"),
        ("BINANCE_REST_URL", "ftp://api.binance.com", "starts with https://"),
        ("BINANCE_REST_URL", "https://", "starts with https://"),
        ("BINANCE_REST_URL", "https://api.binance.com?x=1", "has no query"),
        ("BINANCE_REST_URL", "https://[::1", "Invalid IPv6 URL"),
        ("BINANCE_REST_URL", "http://api.binance.com", "without TLS is accepted for loopback only"),
        ("BINANCE_REST_URL", "http://127.0.0.1.evil.example", "for loopback only"),
        ("BINANCE_REST_URL", "wss://api.binance.com", "starts with https://"),
        ("BINANCE_WS_URL", "ws://192.168.0.2:9443", "wss:// expected"),
        ("BINANCE_REST_URL", "https://@api.binance.com", "without user name and password"),
    ],
)
def test_nonsense_is_refused_in_words(name, text, words):
    said = complaint(name, text)
    assert words in said
    assert repr(text) in said
    assert said.endswith(next(help for key, _, _, help in described() if key == name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BINANCE_REST_URL", "https://user:pa55@api.binance.com"),
        ("DATABASE_URL", "postgres://user:pa55@localhost/x"),
    ],
)
def test_a_password_in_a_url_is_refused_and_not_told(name, text):
    said = complaint(name, text)
    assert "pa55" not in said
    assert "://…@" in said


def test_settings_do_not_show_secrets():
    secrets = {
        item.name: "canary-" + item.name for item in fields(Conf) if item.metadata.get("secret")
    }
    assert len(secrets) >= 6
    settings = Conf(**secrets)
    assert "canary" not in f"{settings!r}{settings}"
    assert sorted(settings.secrets) == sorted(secrets.values())
    assert Conf().secrets == ()


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_nothing_means_the_default(text):
    assert env.load({item.name.upper(): text for item in fields(Conf)}) == (Conf(), [])


def test_a_list_of_nothing_means_the_default():
    assert one("DATA_SOURCE", " , ,") == ("binance_ws",)


def test_other_variables_are_none_of_our_business():
    assert env.load({"PATH": "/bin", "backend_port": "9"}) == (Conf(), [])


def test_all_errors_are_told_at_once():
    found, errors = env.load({"BACKEND_PORT": "x", "LOG_LEVEL": "x", "HOST": "::1"})
    assert len(errors) == 2
    assert (found.host, found.backend_port) == ("::1", 8000)


def test_secrets_are_not_told(monkeypatch):
    @dataclass(frozen=True)
    class Secretive:
        token: int = conf._setting(0, "secret", "the key to it all", secret=True)

    monkeypatch.setattr(env, "Conf", Secretive)
    assert env.load({"TOKEN": "hunter2"})[1] == [
        "TOKEN=…: a whole number expected; it is: the key to it all"
    ]


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    file = tmp_path / ".env"
    file.write_text("# a comment\nHOST=10.0.0.1\nSYMBOL='ETHUSDT'\nMAX_QUEUE\n", encoding="utf-8")
    monkeypatch.setenv("HOST", "10.0.0.2")
    monkeypatch.delenv("SYMBOL", raising=False)
    values = env.environment(file)
    assert (values["HOST"], values["SYMBOL"]) == ("10.0.0.2", "ETHUSDT")
    assert "MAX_QUEUE" not in values or values["MAX_QUEUE"]


def test_no_file_is_no_error(tmp_path):
    assert env.environment(tmp_path / ".env")


def test_every_default_reads_back_as_itself():
    values = {name: env.shown(default) for name, default, _, _ in described()}
    assert env.load(values) == (Conf(), [])


MAKE_ANEW = "python -c 'from botcrypto import env; print(env.example(), end=str())' > .env.example"


def test_the_example_lists_every_setting_as_it_is():
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert text == env.example(), MAKE_ANEW


def test_the_example_says_what_each_setting_is():
    text = env.example()
    for name, default, unit, help in described():
        assert f"# {help} [{unit}]\n#{name}={env.shown(default)}\n" in text
        assert unit
        assert len(help) > 10


def test_an_uncommented_example_changes_nothing(tmp_path):
    file = tmp_path / ".env"
    lines = env.example().splitlines()
    file.write_text("\n".join(line.removeprefix("#") for line in lines if "=" in line))
    given = {name: value for name, value in env.environment(file).items() if name != "DATA_DIR"}
    monkey = {name: given[name] for name, *_ in described() if name in given}
    assert env.load(monkey)[1] == []
