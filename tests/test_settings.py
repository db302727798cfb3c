import json
import logging
import logging.config
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from botcrypto import logs, secret
from marketdata.conf import Conf
from tests.store.stored import ROOT


def process(code, folder, **more):
    """Run Python with the project's settings in a process of its own; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    settings = {"DJANGO_SETTINGS_MODULE": "botcrypto.settings", "DATA_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment, **settings, **more},
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_sqlite_is_the_one_without_the_bug_where_there_is_a_wheel():
    pysqlite3 = pytest.importorskip("pysqlite3")
    assert sqlite3 is pysqlite3
    assert connection.Database.sqlite_version == pysqlite3.sqlite_version


@pytest.mark.django_db
def test_connections_are_set_up_for_one_writer_and_power_cuts():
    values = {}
    with connection.cursor() as cursor:
        for name in ("journal_mode", "synchronous", "mmap_size", "foreign_keys", "busy_timeout"):
            cursor.execute(f"PRAGMA {name}")
            values[name] = cursor.fetchone()[0]
    assert values == {
        "journal_mode": "wal",
        "synchronous": 2,
        "mmap_size": 0,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }
    assert connection.transaction_mode == "IMMEDIATE"


def test_a_visit_writes_nothing():
    assert settings.SESSION_ENGINE == "django.contrib.sessions.backends.signed_cookies"
    assert "django.contrib.sessions.backends.db" not in settings.SESSION_ENGINE
    assert not settings.DATABASES["default"].get("ATOMIC_REQUESTS")
    assert settings.DEBUG is False


def test_everything_follows_the_environment(tmp_path):
    code = (
        "from django.conf import settings as s; import json; print(json.dumps(["
        "str(s.DATABASES['default']['NAME']), s.ALLOWED_HOSTS, s.BOTCRYPTO_ERRORS,"
        " s.LOGGING['loggers']['marketdata']['level'],"
        " s.LOGGING['handlers']['stderr']['formatter']]))"
    )
    more = {
        "HOST": "10.0.0.7",
        "ALLOWED_HOSTS": "desk.example,desk2.example",
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "json",
        "MAX_QUEUE": "many",
    }
    name, hosts, errors, level, form = json.loads(process(code, tmp_path / "here", **more))
    assert name == str(tmp_path / "here" / "botcrypto.sqlite3")
    assert hosts == ["127.0.0.1", "localhost", "[::1]", "10.0.0.7", "desk.example", "desk2.example"]
    assert (len(errors), level, form) == (1, "DEBUG", "json")
    assert (tmp_path / "here" / "secret_key").exists()


def test_the_key_is_made_once_and_is_its_owners(tmp_path):
    first = secret.read_or_make(tmp_path / "data")
    assert secret.read_or_make(tmp_path / "data") == first
    assert len(first) == 50
    path = tmp_path / "data" / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["secret_key"]


def test_an_empty_key_is_made_anew(tmp_path):
    (tmp_path / "secret_key").touch()
    assert len(secret.read_or_make(tmp_path)) == 50
    assert len((tmp_path / "secret_key").read_text()) == 50


def test_where_two_start_at_once_one_key_wins(tmp_path, monkeypatch):
    winner = secret.read_or_make(tmp_path)
    # The second has looked before the first had written.
    monkeypatch.setattr(secret.Path, "unlink", lambda path, missing_ok=False: None)
    assert secret._made(tmp_path / "secret_key") == winner


def test_a_file_system_without_links_keeps_the_key_too(tmp_path, monkeypatch):
    def refuse(path, target):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert secret.read_or_make(tmp_path) == secret.read_or_make(tmp_path)


def test_a_folder_that_cannot_be_written_gives_a_key_for_now(tmp_path):
    (tmp_path / "file").write_text("x")
    keys = {secret.read_or_make(tmp_path / "file" / "data") for _ in range(2)}
    assert len(keys) == 2


def record(message, *arguments, error=None):
    info = (type(error), error, None) if error else None
    found = logging.LogRecord("marketdata.x", logging.WARNING, "f", 1, message, arguments, info)
    found.created = 1_704_067_200.25
    return found


def test_machines_get_json():
    line = logs.JsonFormatter().format(record("trades refused symbol=%s", "币安人生USDT"))
    assert json.loads(line) == {
        "time": "2024-01-01T00:00:00.250+00:00",
        "level": "WARNING",
        "logger": "marketdata.x",
        "message": "trades refused symbol=币安人生USDT",
    }
    assert "\n" not in line


def test_machines_get_errors_in_the_same_line():
    line = logs.JsonFormatter().format(record("two\nlines", error=ValueError("x")))
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: x")


def test_people_get_lines_in_utc():
    told = logs.configuration("INFO", "console")["formatters"]["console"]
    formatter = logging.config.DictConfigurator({}).configure_formatter(dict(told))
    line = formatter.format(record("trades refused symbol=%s", "BTCUSDT"))
    assert line == "2024-01-01 00:00:00Z WARNING marketdata.x trades refused symbol=BTCUSDT"


def test_lines_hide_secrets():
    found = record("asked %s", "?signature=abc", error=ValueError("token=abc"))
    found.stack_info = "X-MBX-APIKEY: abc"
    assert logs.Redacting().filter(found)
    line = logs.JsonFormatter().format(found)
    assert json.loads(line)["message"] == "asked ?signature=…"
    assert json.loads(line)["exception"].endswith("ValueError: token=…")
    assert found.stack_info == "X-MBX-APIKEY: …"


def test_lines_hide_the_secrets_of_the_settings(monkeypatch):
    monkeypatch.setattr(settings, "BOTCRYPTO", Conf(deriv_api_token="canary-1:CR1"))
    found = record("said canary-1 %s", settings.SECRET_KEY)
    logs.Redacting().filter(found)
    assert found.getMessage() == "said … …"


def test_a_line_whose_arguments_do_not_fit_is_told_all_the_same():
    found = record("asked %s %s", "token=abc")
    logs.Redacting().filter(found)
    assert found.getMessage() == "asked %s %s ('token=…',)"


@pytest.mark.parametrize("form", ["console", "json"])
def test_logging_takes_the_configuration(form):
    handlers = logging.root.handlers[:]
    try:
        logging.config.dictConfig(logs.configuration("DEBUG", form))
        for name in ("botcrypto", "marketdata.store", "strategy"):
            assert logging.getLogger(name).getEffectiveLevel() == logging.DEBUG
        assert logging.root.getEffectiveLevel() == logging.WARNING
    finally:
        logging.config.dictConfig(settings.LOGGING)
        logging.root.handlers[:] = handlers


def test_the_interpreter_is_set_up_before_numpy_comes(tmp_path):
    code = (
        "import sys; from django.conf import settings; settings.DEBUG; import gc, os;"
        " print('numpy' in sys.modules, os.environ['OPENBLAS_NUM_THREADS'], gc.get_threshold()[0])"
    )
    assert process(code, tmp_path).split() == ["False", "1", "10000"]


def test_a_command_does_not_import_the_admins_pages(tmp_path):
    code = (
        "import sys, django; django.setup();"
        " assert 'marketdata.admin' not in sys.modules, 'imported at start';"
        " from django.contrib import admin; from django.urls import reverse;"
        " print(reverse('admin:marketdata_trade_changelist'), len(admin.site._registry) > 10)"
    )
    assert process(code, tmp_path).split() == ["/admin/marketdata/trade/", "True"]
