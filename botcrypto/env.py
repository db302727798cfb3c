"""The one place that reads the environment and `.env`, into a typed `Conf`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, fields
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from marketdata.conf import Conf, described
from marketdata.core.redaction import redacted

TRUE = {"true", "1", "yes", "on"}
FALSE = {"false", "0", "no", "off"}


def environment(dotenv: Path = Path(".env")) -> dict[str, str]:
    """Return the variables of `.env`, overlaid by the process environment."""
    values = {name: value for name, value in dotenv_values(dotenv).items() if value is not None}
    return {**values, **os.environ}


def load(values: Mapping[str, str]) -> tuple[Conf, list[str]]:
    """Read settings from `values`; a bad one keeps its default and is named in the errors."""
    given: dict[str, Any] = {}
    errors: list[str] = []
    for item in fields(Conf):
        name = item.name.upper()
        text = values.get(name, "").strip()
        try:
            # Nothing, or a list of nothing, means the default.
            if text and (value := _parse(item, text)) != ():
                given[item.name] = _checked(item, value)
        except ValueError as error:
            seen = "…" if item.metadata.get("secret") else redacted(repr(text))
            errors.append(f"{name}={seen}: {error}; it is: {item.metadata['help']}")
    return Conf(**given), errors


def example() -> str:
    """Return the text of `.env.example`: every setting with its help, unit and default."""
    lines = [
        "# Every setting as it is where nothing is said. Copy this file to .env and change what",
        "# you like; the environment wins. Relative paths count from the working directory.",
    ]
    for name, default, unit, help in described():
        lines += ["", f"# {help} [{unit}]", f"#{name}={shown(default)}"]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """Return a value as it would be written in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _parse(item: Field[Any], text: str) -> Any:
    default = item.default
    if isinstance(default, bool):
        return _boolean(text)
    if isinstance(default, tuple):
        return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if isinstance(default, int | float | Decimal):
        return _number(type(default), text)
    return Path(text).expanduser() if isinstance(default, Path) else text


def _boolean(text: str) -> bool:
    if text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    raise ValueError("true or false expected")


def _number(kind: type[Any], text: str) -> Any:
    try:
        number = kind(text)
        is_finite = isfinite(number)
    except (ValueError, InvalidOperation):
        is_finite = False
    if not is_finite:
        raise ValueError(f"{'a whole number' if kind is int else 'a number'} expected")
    return number


def _checked(item: Field[Any], value: Any) -> Any:
    rule = item.metadata
    for part in value if isinstance(value, tuple) else (value,):
        if "choices" in rule and part not in rule["choices"]:
            raise ValueError(f"one of {', '.join(rule['choices'])} expected")
    if "low" in rule and not rule["low"] <= value <= rule["high"]:
        raise ValueError(f"a value from {rule['low']} to {rule['high']} expected")
    if item.name == "symbols" and any(not part.rpartition(":")[2] for part in value):
        raise ValueError("a symbol expected after the colon")
    if item.name == "database_url" and not value.startswith("sqlite:///"):
        raise ValueError("sqlite:///PATH expected")
    return _url(value, rule["url"]) if "url" in rule else value


def _url(url: str, schemes: tuple[str, str]) -> str:
    """Return a URL without the slash at its end, which the venue's paths bring along."""
    secure, plain = schemes
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"a URL that starts with {secure}:// and has no query expected")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL without user name and password expected, which would be shown")
    if parts.scheme == plain and not _is_loopback(parts.hostname):
        raise ValueError(
            f"{plain}:// without TLS is accepted for loopback only; {secure}:// expected"
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
