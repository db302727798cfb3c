import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from marketdata import checks
from marketdata.conf import Conf
from tests.store.stored import ROOT


def ids(found):
    return [item.id.removeprefix("marketdata.") for item in found]


@pytest.fixture
def conf_at():
    """Return a way to run with settings of one's own."""

    def at(folder, **more):
        return override_settings(BOTCRYPTO=Conf(data_dir=folder, **more))

    return at


@pytest.mark.parametrize(
    ("version", "has_bug"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 44, 9), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 4), False),
        ((4, 0, 0), False),
    ],
)
def test_the_wal_reset_bug_is_told_by_the_version(version, has_bug, monkeypatch):
    assert checks.has_wal_reset_bug(version) is has_bug
    monkeypatch.setattr(connection, "get_database_version", lambda: version)
    assert ids(checks.check_sqlite(None)) == (["W001"] if has_bug else [])


def test_the_sqlite_in_use_is_named(monkeypatch):
    monkeypatch.setattr(connection, "get_database_version", lambda: (3, 40, 1))
    (found,) = checks.check_sqlite(None)
    assert found.msg.startswith("SQLite 3.40.1 can lose commits")


def test_each_bad_setting_is_an_error():
    with override_settings(BOTCRYPTO_ERRORS=["HOST='': x", "SYMBOL='': y"]):
        found = checks.check_settings(None)
    assert ids(found) == ["E001", "E001"]
    assert found[0].msg == "HOST='': x"
    assert checks.check_settings(None) == []


def test_folders_are_made_where_they_can_be(tmp_path, conf_at):
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'x.sqlite3'}"
    with conf_at(tmp_path / "new" / "data", database_url=url):
        assert checks.check_folders(None) == []
    assert (tmp_path / "new" / "data").is_dir()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, conf_at):
    (tmp_path / "file").write_text("x")
    with conf_at(tmp_path / "file" / "data"):
        (found,) = checks.check_folders(None)
    assert found.id == "marketdata.E002"
    assert "cannot be written: Not a directory" in found.msg
    with conf_at(tmp_path, database_url=f"sqlite:///{tmp_path / 'file' / 'x.sqlite3'}"):
        assert ids(checks.check_folders(None)) == ["E002"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_of_somebody_else_is_an_error(tmp_path, conf_at):
    tmp_path.chmod(0o500)
    with conf_at(tmp_path):
        assert ids(checks.check_folders(None)) == ["E002"]


MOUNTED = """\
overlay / overlay rw,relatime 0 0
proc /proc proc rw 0 0
/dev/sda1 /srv ext4 rw 0 0
server:/export /srv/share nfs4 rw,vers=4.2 0 0
//nas/data /mnt/my\\040nas cifs rw 0 0
tmpfs /srv/share/local tmpfs rw 0 0
/dev/sdb1 /srv/twice nfs rw 0 0
/dev/sdc1 /srv/twice xfs rw 0 0
short line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/data/botcrypto.sqlite3", "overlay"),
        ("/srv/botcrypto.sqlite3", "ext4"),
        ("/srv/share/botcrypto.sqlite3", "nfs4"),
        ("/srv/shared/botcrypto.sqlite3", "ext4"),
        ("/srv/share/local/x", "tmpfs"),
        ("/mnt/my nas/x", "cifs"),
        ("/srv/twice/x", "xfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(tmp_path, path, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTED)
    assert checks.file_system(Path(path), mounts) == kind


def test_where_mounts_are_not_told_nothing_is_claimed(tmp_path):
    assert checks.file_system(tmp_path, tmp_path / "nothing") == ""


@pytest.mark.parametrize("kind", ["nfs", "cifs", "fuse.sshfs", "9p"])
def test_a_network_share_is_an_error(tmp_path, conf_at, monkeypatch, kind):
    monkeypatch.setattr(checks, "file_system", lambda path: kind)
    with conf_at(tmp_path):
        (found,) = checks.check_folders(None)
    assert found.id == "marketdata.E003"
    assert f"network share ({kind})" in found.msg


def test_a_containers_own_layer_is_told_on_deployment(tmp_path, conf_at, monkeypatch):
    monkeypatch.setattr(checks, "file_system", lambda path: "overlay")
    with conf_at(tmp_path):
        assert ids(checks.check_container(None)) == ["W004"]
        assert "W004" not in ids(run_checks(tags=[checks.TAG]))
        assert "W004" in ids(run_checks(tags=[checks.TAG], include_deployment_checks=True))
    monkeypatch.setattr(checks, "file_system", lambda path: "ext4")
    assert checks.check_container(None) == []


def test_little_room_is_a_warning(tmp_path, conf_at, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(9e10, 8.9e10, 1.5e9))
    with conf_at(tmp_path):
        (found,) = checks.check_disk(None)
    assert found.id == "marketdata.W002"
    assert found.msg.startswith(f"1.5 GB are free in {tmp_path}")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(9e10, 1e10, 8e10))
    assert checks.check_disk(None) == []


def test_a_folder_that_is_not_there_has_no_disk(tmp_path, conf_at):
    with conf_at(tmp_path / "nothing"):
        assert checks.check_disk(None) == []


@pytest.fixture
def is_there(tmp_path, conf_at):
    """Pretend that the database's file is where the settings say."""
    (tmp_path / "botcrypto.sqlite3").touch()
    with conf_at(tmp_path):
        yield


@pytest.mark.django_db
def test_migrated_tables_are_fine(is_there):
    assert checks.check_tables(None) == []


@pytest.mark.django_db
def test_migrations_that_wait_are_a_warning(is_there):
    MigrationRecorder(connection).record_unapplied("marketdata", "0002_default_sessions")
    (found,) = checks.check_tables(None)
    assert found.id == "marketdata.W003"
    assert found.msg == "migrations not applied: 0002_default_sessions"


@pytest.mark.django_db
def test_tables_of_a_newer_version_are_an_error(is_there):
    MigrationRecorder(connection).record_applied("marketdata", "9999_from_the_future")
    (found,) = checks.check_tables(None)
    assert found.id == "marketdata.E004"
    assert "9999_from_the_future" in found.msg


def test_no_database_is_no_finding(tmp_path, conf_at):
    with conf_at(tmp_path):
        assert checks.check_tables(None) == []


def test_the_checks_are_wired(tmp_path, conf_at):
    with conf_at(tmp_path), override_settings(BOTCRYPTO_ERRORS=["HOST='': x"]):
        assert "E001" in ids(run_checks(tags=[checks.TAG]))


def check_process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_start_with_nonsense_is_refused_with_numbers(tmp_path):
    (tmp_path / "file").write_text("x")
    nonsense = {"DATA_DIR": str(tmp_path / "file" / "data"), "VALUE_AREA_PCT": "seventy"}
    for command in (["check"], ["verify", "--symbol", "X", "--date", "2024-01-01"]):
        done = check_process(*command, **nonsense)
        assert done.returncode == 1
        assert "(marketdata.E001) VALUE_AREA_PCT='seventy': a number expected" in done.stderr
        assert "(marketdata.E002)" in done.stderr
