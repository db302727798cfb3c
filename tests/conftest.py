"""Shared fixtures: where the recorded data is; and how properties are tried."""

from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.db.models.signals import post_migrate
from hypothesis import settings

# A busy machine makes one example slow and the next one quick; that is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recorded tapes, or skip saying it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the recorded tapes are not here: {SHARED}")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def default_sessions():
    """Let the trading sessions that migrations add be there after a test that emptied all tables.

    Tests come in any order, and those of threads commit, so that all is flushed behind them.
    """
    migration = import_module("marketdata.migrations.0002_default_sessions")

    def restore(sender, **told: object) -> None:
        if sender.label == "marketdata":
            migration.add(apps, None)

    post_migrate.connect(restore)
    yield
    post_migrate.disconnect(restore)
