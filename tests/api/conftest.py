"""A database whose rows every thread sees, and a house in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from marketdata.models import TradingSession
from tests.api.house import House


@pytest.fixture
def database(transactional_db: None) -> None:
    """Open the test database for every thread, with the sessions that come with it.

    The end of another test may have emptied it. Serialized rollback would bring rows that Django
    makes by itself a second time, so the one migration that brings data is run anew.
    """
    if not TradingSession.objects.exists():
        import_module("marketdata.migrations.0002_default_sessions").add(apps, None)


@pytest.fixture
def house(database: None) -> Iterator[House]:
    """Return a running house that follows BTCUSDT, without any trade yet."""
    with House() as made:
        yield made


def refuse(word: str) -> None:
    """Refuse what JSON has no word for."""
    raise AssertionError(f"{word} is no JSON")


@pytest.fixture
def get() -> Callable[..., Any]:
    """Return a function that asks a URL and returns the JSON of an answer with this status."""
    client = Client()

    def asked(
        path: str, status: int = 200, headers: dict[str, str] | None = None, **query: object
    ) -> Any:
        response = client.get(path, query, headers=headers)
        assert response.status_code == status, response.content
        assert response.headers["Content-Type"].startswith("application/json")
        return json.loads(response.content, parse_constant=refuse)

    return asked
