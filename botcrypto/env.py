"""The one place that reads the environment and `.env`, into a typed `Conf`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from marketdata.conf import Conf

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
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
        if not text:
            continue
        try:
            given[item.name] = _checked(item, _parse(item, text))
        except (ValueError, InvalidOperation) as error:
            errors.append(f"{name}={text!r}: {error}; it {item.metadata['help']}")
    return Conf(**given), errors


def _parse(item: Field[Any], text: str) -> Any:
    default = item.default
    if isinstance(default, bool):
        return _boolean(text)
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, int | float | Decimal):
        return _number(type(default), text)
    return type(default)(text) if isinstance(default, Path) else text


def _boolean(text: str) -> bool:
    if text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    raise ValueError("true or false expected")


def _number(kind: type[Any], text: str) -> Any:
    try:
        return kind(text)
    except (ValueError, InvalidOperation):
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{what} expected") from None


def _checked(item: Field[Any], value: Any) -> Any:
    rule = item.metadata
    for part in value if isinstance(value, tuple) else (value,):
        if "choices" in rule and part not in rule["choices"]:
            raise ValueError(f"one of {', '.join(rule['choices'])} expected")
    if "low" in rule and not rule["low"] <= value <= rule["high"]:
        raise ValueError(f"a value from {rule['low']} to {rule['high']} expected")
    if "url" in rule:
        _check_url(value, rule["url"])
    if item.name == "database_url" and not value.startswith("sqlite:///"):
        raise ValueError("sqlite:///PATH expected")
    return value


def _check_url(url: str, schemes: tuple[str, str]) -> None:
    secure, plain = schemes
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"a URL that starts with {secure}:// expected")
    if parts.scheme == plain and parts.hostname not in LOOPBACK:
        raise ValueError(
            f"{plain}:// without TLS is accepted for loopback only; {secure}:// expected"
        )
