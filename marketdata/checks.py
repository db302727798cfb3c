"""What is looked at before anything runs: settings, SQLite, the data folder, the tables.

Each finding has a number, says what was seen and what to do about it. `manage.py check` prints
them all; errors refuse the start of every command that runs checks.

E001  a setting that makes no sense        W001  a SQLite that can lose commits
E002  a folder that cannot be written      W002  little room on the disk
E003  a database on a network share        W003  migrations that were not applied
E004  tables of a newer version            W004  data inside a container's own layer (--deploy)
"""

from __future__ import annotations

import pkgutil
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder

from marketdata import migrations
from marketdata.conf import conf

# Commands that cannot afford every check ask for these: they cost milliseconds.
TAG = "botcrypto"
MOUNTS = Path("/proc/self/mounts")
# WAL needs memory shared between processes of one machine, and locks that hold.
NETWORK = {
    "9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre",
    "ncpfs", "nfs", "nfs4", "smb3", "smbfs", "vboxsf",
}  # fmt: skip
# A busy symbol takes 50 MB a day; SQLite and the WAL need air besides.
LEAST_FREE_BYTES = 2 * 10**9
Version = tuple[int, int, int]
Apps = Sequence[AppConfig] | None


@register(TAG)
def check_settings(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Refuse settings that make no sense, each by its name."""
    return [
        Error(told, hint="change it in the environment or in .env", id="marketdata.E001")
        for told in settings.BOTCRYPTO_ERRORS
    ]


@register(TAG)
def check_sqlite(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Name the risk of a SQLite with the WAL-reset bug."""
    if connection.vendor != "sqlite":
        return []
    version = connection.get_database_version()
    if not has_wal_reset_bug((version[0], version[1], version[2])):
        return []
    seen = ".".join(map(str, version))
    return [
        Warning(
            f"SQLite {seen} can lose commits when two connections checkpoint at the same instant",
            hint="use SQLite 3.51.3, 3.50.7 or 3.44.6 or newer; the package pysqlite3 of "
            "requirements.txt brings one where there is a wheel for the machine",
            id="marketdata.W001",
        )
    ]


def has_wal_reset_bug(version: Version) -> bool:
    """Tell whether a SQLite has the bug.

    Notes
    -----
    Since 3.7.0, when WAL came; fixed in 3.51.3, and in 3.50.7 and 3.44.6 of older lines.
    """
    fixed = {(3, 50): 7, (3, 44): 6}.get(version[:2])
    if fixed is not None and version[2] >= fixed:
        return False
    return (3, 7, 0) <= version < (3, 51, 3)


@register(TAG)
def check_folders(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Refuse folders that cannot be written, and databases on network shares."""
    found: list[CheckMessage] = []
    for folder in dict.fromkeys([conf().data_dir, conf().database_path.parent]):
        complaint = unwritable(folder)
        if complaint:
            hint = "give the user it, or another DATA_DIR or DATABASE_URL"
            message = f"{folder} cannot be written: {complaint}"
            found.append(Error(message, hint=hint, id="marketdata.E002"))
    kind = file_system(conf().database_path)
    if kind in NETWORK:
        found.append(
            Error(
                f"{conf().database_path} is on a network share ({kind}), where SQLite loses data",
                hint="use a DATA_DIR or DATABASE_URL on a disk of this machine",
                id="marketdata.E003",
            )
        )
    return found


def unwritable(folder: Path) -> str:
    """Return why a folder cannot be written, empty where it can; makes it where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the kind of file system a path is on, empty where that cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    inside = path.resolve()
    found, kind = Path(), ""
    for fields in (line.split(" ") for line in lines):
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        # Of mounts at one place the last hides the others.
        if inside.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, fields[2]
    return kind


@register(TAG)
def check_disk(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Warn of little room."""
    folder = conf().database_path.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return []
    if free >= LEAST_FREE_BYTES:
        return []
    return [
        Warning(
            f"{free / 1e9:.1f} GB are free in {folder}; a busy symbol takes 0.05 GB a day",
            hint="make room before the disk is full: trades wait in memory then, and are lost "
            "with the process",
            id="marketdata.W002",
        )
    ]


@register(TAG)
def check_tables(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Warn of migrations that were not applied, where there is a database to ask."""
    if not conf().database_path.exists():
        return []
    ours = {item.name for item in pkgutil.iter_modules(migrations.__path__)}
    try:
        recorded = MigrationRecorder(connection).applied_migrations()
    except DatabaseError as error:
        return [Warning(f"the database does not answer: {error}", id="marketdata.W003")]
    applied = {name for app, name in recorded if app == "marketdata"}
    found: list[CheckMessage] = []
    if applied - ours:
        seen = ", ".join(sorted(applied - ours))
        hint = "use that version, or another DATABASE_URL or DATA_DIR"
        message = f"the database was made by a newer version, which has {seen}"
        found.append(Error(message, hint=hint, id="marketdata.E004"))
    if ours - applied:
        seen = ", ".join(sorted(ours - applied))
        hint = "manage.py migrate applies them; manage.py run does it by itself"
        found.append(Warning(f"migrations not applied: {seen}", hint=hint, id="marketdata.W003"))
    return found


@register(TAG, deploy=True)
def check_container(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Warn of data that would go with the container it is in."""
    if file_system(conf().database_path) != "overlay":
        return []
    return [
        Warning(
            f"{conf().database_path} is in the container's own layer and goes with it",
            hint="mount a volume there",
            id="marketdata.W004",
        )
    ]
