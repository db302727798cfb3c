"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMED = re.findall(r"`(\w[\w/]*\.py)::(\w+)`", (ROOT / "docs" / "faults.md").read_text())


@pytest.mark.parametrize(("path", "test"), NAMED, ids=[name for _, name in NAMED])
def test_every_test_of_the_fault_table_exists(path: str, test: str):
    assert f"def {test}(" in (ROOT / "tests" / path).read_text()


def test_the_readme_fits_on_a_page_and_names_real_files():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 100
    for path in re.findall(r"`((?:docs|bench|\.ci)/[\w./]*|\.env\.example)`", readme):
        assert (ROOT / path).exists(), path


def test_every_command_of_the_readme_exists():
    readme = (ROOT / "README.md").read_text()
    folders = [app / "management" / "commands" for app in (ROOT / "botcrypto", ROOT / "marketdata")]
    known = {path.stem for folder in folders for path in folder.glob("*.py")}
    named = set(re.findall(r"manage\.py (\w+)", readme)) - {"createsuperuser"}
    assert named <= known
