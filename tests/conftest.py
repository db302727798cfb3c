"""Shared fixtures: where the recorded data is; and how properties are tried."""

from pathlib import Path

import pytest
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
