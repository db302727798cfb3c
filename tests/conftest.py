"""Shared fixtures: where the recorded data is."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recorded tapes, or skip saying it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the recorded tapes are not here: {SHARED}")
    return SHARED
