"""The connector's own file: where Bybit is heard and asked, and which of its markets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marketdata.conf import Conf
from marketdata.core.errors import BadInputError
from marketdata.core.redaction import redacted

SOURCE, BESIDE = "bybit_connector", "bybit"
CATEGORIES = ("linear", "spot")
# hftbacktest's connector writes the whole path; ours is added by the venue.
STREAM_PATH = re.compile(r"/v5/public/(\w+)")
FILE, TESTNET = "BYBIT_CONNECTOR_CONFIG_FILE", "BYBIT_CONNECTOR_TESTNET"


class ConfigError(BadInputError):
    """A file of the connector that cannot be followed."""


def with_file(settings: Conf) -> Conf:
    """Return the settings with what the connector's file says; the same where there is none.

    Raises
    ------
    ConfigError
        The file cannot be read, says what nobody knows, or contradicts the settings.
    """
    path = settings.bybit_connector_config_file
    if not path or SOURCE not in settings.data_source:
        return settings
    said: dict[str, Any] = {**read(Path(path).expanduser())}
    if BESIDE in settings.data_source:
        raise ConfigError(
            f"DATA_SOURCE without {BESIDE} expected beside {FILE}: both would be heard at "
            f"the hosts of {path}; leave {BESIDE} or the file out"
        )
    if settings.bybit_connector_testnet and "bybit_rest_base_url" in said:
        raise ConfigError(f"either {TESTNET}=true or rest_url in {path} expected, seen both")
    return replace(settings, **said)


def read(path: Path) -> dict[str, str]:
    """Return what a file says, by the names of the settings it stands for. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            said = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{FILE}: a readable file expected at {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: TOML expected: {error}") from error
    unknown = sorted(said.keys() - KEYS.keys())
    if unknown:
        raise ConfigError(
            f"{path}: keys of {', '.join(KEYS)} expected, seen {', '.join(unknown)}; what concerns "
            "orders and accounts has no use here, leave it out"
        )
    found = {KEYS[key][0]: _checked(path, key, value) for key, value in said.items()}
    return {**found, **_stream(path, found)}


def _checked(path: Path, key: str, value: Any) -> str:
    complaint = "text" if not isinstance(value, str) else KEYS[key][1](value)
    if complaint:
        raise ConfigError(f"{path}: {key}: {complaint} expected, seen {redacted(repr(value))}")
    return str(value).rstrip("/")


def _stream(path: Path, found: dict[str, str]) -> dict[str, str]:
    """Return host and market of a stream's URL that names both."""
    url = found.get("bybit_ws_url", "")
    named = STREAM_PATH.fullmatch(urlsplit(url).path)
    if named is None:
        return {}
    category = found.get("bybit_category", named[1])
    if category != named[1] or category not in CATEGORIES:
        raise ConfigError(
            f"{path}: a public_url of category {found.get('bybit_category', 'linear or spot')} "
            f"expected, seen {url}"
        )
    return {"bybit_ws_url": url.removesuffix(named[0]), "bybit_category": category}


def _url(secure: str, plain: str) -> Callable[[str], str]:
    def complaint(url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in (secure, plain) or not parts.hostname or parts.query:
            return f"a URL that starts with {secure}:// and has no query"
        if parts.username is not None or parts.password is not None:
            return "a URL without user name and password"
        if parts.scheme == plain and not _is_loopback(parts.hostname):
            return f"{secure}://, as {plain}:// is for this machine alone,"
        return ""

    return complaint


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _category(text: str) -> str:
    return "" if text in CATEGORIES else f"one of {', '.join(CATEGORIES)}"


# What may stand in the file: the setting it stands for, and what is wrong with a value.
KEYS: dict[str, tuple[str, Callable[[str], str]]] = {
    "public_url": ("bybit_ws_url", _url("wss", "ws")),
    "rest_url": ("bybit_rest_base_url", _url("https", "http")),
    "category": ("bybit_category", _category),
}
