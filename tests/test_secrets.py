"""Canaries in every secret setting: whatever goes wrong, none of them is seen anywhere."""

import io
import json
import logging
import logging.config
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import fields, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.urls import NoReverseMatch, reverse

from botcrypto import env, logs
from marketdata import live
from marketdata.accounts import watch as watching
from marketdata.accounts.table import KINDS
from marketdata.accounts.watch import AccountWatch
from marketdata.conf import Conf, conf
from marketdata.models import Event, HostState
from tests.accounts.venue import Venue
from tests.pages import desk
from tests.store.stored import ROOT

SECRETS = {
    item.name: f"canary-{item.name.replace('_', '-')}-0815"
    for item in fields(Conf)
    if item.metadata.get("secret")
}
SOURCES = ("binance_ws", "binance_futures", "bybit")
SIGNATURE = re.compile(r"signature=[0-9A-Za-z%]|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def echo(status, form="{}", said=""):
    """Answer with all that was sent: the worst a venue or a firewall can do."""

    def answer(path, headers):
        keys = " ".join(value for name, value in headers.items() if "KEY" in name)
        said_all = json.dumps(f"{said} {keys} {path} of {dict(headers)}")
        return status, form.replace("{}", said_all).encode()

    return answer


def lost(path, headers):
    raise ConnectionResetError("the line breaks")


BINANCE, BYBIT = '{"code":-1022,"msg":{}}', '{"retCode":10004,"retMsg":{},"result":[],"time":1}'
FAILURES = {
    "bad sign": echo(400, BINANCE),
    "refused": echo(401, BINANCE.replace("-1022", "-2015")),
    "refused in the body": echo(200, BYBIT),
    "no JSON": echo(200, "not {} JSON"),
    "server error": echo(500, BINANCE),
    "page": echo(403, "<html>blocked {}</html>"),
    "rate": echo(429, BINANCE.replace("-1022", "-1003")),
    "ban": echo(418, BINANCE, "banned until 4102444800000"),
    "line": lost,
}


@pytest.fixture
def venue():
    with Venue() as venue:
        venue.private = venue.answer
        yield venue


@pytest.fixture
def canaries(venue, monkeypatch):
    """Set every secret to a canary, and every host to the venue on loopback."""
    secrets = dict(SECRETS)
    found = replace(
        settings.BOTCRYPTO,
        binance_rest_url=venue.url, binance_futures_rest_url=venue.url,
        bybit_rest_base_url=venue.url, deriv_rest_url=venue.url,
        data_source=SOURCES, backfill_retry_base=0.01, backfill_cooldown_seconds=0.1,
        backfill_public_delay_ms=0, **secrets,
    )  # fmt: skip
    monkeypatch.setattr(settings, "BOTCRYPTO", found)
    return secrets


@pytest.fixture
def seen():
    """Collect texts that people and programs may read; look for canaries at the end."""
    texts = {}
    yield texts
    assert texts
    for name, text in texts.items():
        for canary in (*SECRETS.values(), "canary"):
            assert canary not in text, f"{canary} is seen in {name}"
        assert not SIGNATURE.search(text), f"a signature is seen in {name}"


@contextmanager
def logged(form):
    """Log all there is, as the process would, into a text."""
    stream, handlers = io.StringIO(), logging.root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in ("", "urllib3", "marketdata")}
    told = logs.configuration("DEBUG", form)
    told["handlers"]["stderr"]["stream"] = stream
    told["root"]["level"] = "DEBUG"
    logging.config.dictConfig(told)
    try:
        yield stream
    finally:
        logging.config.dictConfig(settings.LOGGING)
        logging.root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def account(*options):
    """Run the command; return all that it printed."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        try:
            call_command("account", *options, stdout=out, stderr=error)
        except CommandError as refused:
            error.write(f"{refused!r} {refused} {refused.__cause__!r}")
        except SystemExit:
            pass
    return out.getvalue() + error.getvalue()


def fail(venue, how):
    """Let private questions fail; the clock is told as ever."""

    def answer(path, headers):
        is_clock = path.partition("?")[0].endswith("/time")
        return venue.private(path, headers) if is_clock else FAILURES[how](path, headers)

    venue.answer = answer


@pytest.mark.django_db
@pytest.mark.parametrize("how", list(FAILURES))
def test_a_question_that_fails_shows_no_secret(venue, canaries, seen, how):
    fail(venue, how)
    for number, source in enumerate(SOURCES):
        form = ("console", "json")[number % 2]
        with logged(form) as stream:
            seen[f"{source} account"] = account("--source", source)
            seen[f"{source} account --test --json"] = account(
                "--source", source, "--test", "--json"
            )
        seen[f"{source} log as {form}"] = stream.getvalue()
    assert any("canary" in str(headers) for headers in venue.headers)
    seen["hosts"] = " ".join(f"{row.__dict__}" for row in HostState.objects.all())


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["bad sign", "refused", "refused in the body", "no JSON", "page"])
def test_a_token_that_is_refused_is_not_shown(venue, canaries, seen, monkeypatch, how):
    ws_url = venue.url.replace("http", "ws")
    told = replace(settings.BOTCRYPTO, deriv_app_id="app1", deriv_ws_url=ws_url)
    monkeypatch.setattr(settings, "BOTCRYPTO", told)
    fail(venue, how)
    with logged("json") as stream:
        seen["account"] = account("--source", "deriv", "--test")
    seen["log"] = stream.getvalue()
    assert SECRETS["deriv_api_token"] in str(venue.headers)
    assert "failed" in seen["account"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_error_that_is_logged_shows_no_secret(canaries, seen, form):
    with logged(form) as stream:
        try:
            raise ValueError(f"{conf().binance_api_secret} {conf().binance_api_key}")
        except ValueError:
            logging.getLogger("marketdata").exception("failed with %s", conf().api_key)
    assert "ValueError: … …" in stream.getvalue()
    seen["log"] = stream.getvalue()


UNCAUGHT = """
import threading
import django
django.setup()
from marketdata.conf import conf
def fail():
    raise ValueError("seen " + conf().binance_api_secret)
thread = threading.Thread(target=fail, name="feed")
thread.start(); thread.join(); fail()
"""


def test_an_error_nobody_caught_shows_no_secret(seen, tmp_path):
    environment = {
        **os.environ, "DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "botcrypto.settings",
        **{name.upper(): value for name, value in SECRETS.items()},
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", UNCAUGHT], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Exception in thread feed" in done.stderr
    assert done.stderr.count("ValueError: seen …") == 2
    seen["stderr"] = done.stdout + done.stderr


@pytest.fixture
def pages(admin_client, client, canaries, monkeypatch):
    """Get pages as staff and as anybody."""
    made = AccountWatch()
    monkeypatch.setattr(watching, "_watch", [made])

    def get(url, **headers):
        for who in (admin_client, client):
            who.raise_request_exception = False
            answer = who.get(url, **headers)
            yield f"{answer.status_code} {dict(answer.headers)} {_text(answer)}"

    yield get
    made.close()


def _text(answer):
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return body.decode("utf-8", "replace")


PAGES = [
    "/", "/proof/", "/backfill/", "/health-board/", "/notice/", "/nowhere/", "/health", "/ready",
    "/metrics", "/api/metrics", "/api/ws/health", "/api/backfill/status", "/api/docs",
    "/api/openapi.json", "/api/context", "/api/context?symbol=nope", "/admin/", "/admin/login/",
]  # fmt: skip


def admin_pages():
    for model in apps.get_models():
        try:
            yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        except NoReverseMatch:
            continue


@pytest.mark.django_db
def test_pages_api_and_admin_show_no_secret(venue, pages, seen):
    """After a ban whose words quote the keys, which hosts, events and pages tell of."""
    fail(venue, "ban")
    for source in SOURCES:
        account("--source", source)
    assert HostState.objects.count() == 1
    for url in (*PAGES, *admin_pages()):
        seen[url] = " ".join(pages(url))
    assert watching.watch().wait(10)
    seen["health, later"] = " ".join(pages("/health-board/"))
    assert "is not asked for" in seen["health, later"]
    row = HostState.objects.get()
    seen["admin of the host"] = " ".join(
        pages(reverse("admin:marketdata_hoststate_change", args=[row.pk]))
    )
    seen["events"] = " ".join(str(row.__dict__) for row in Event.objects.all())
    seen["metrics as JSON"] = " ".join(pages("/metrics", headers={"Accept": "application/json"}))


@pytest.fixture
def running(db):
    parts = desk.build("BTCUSDT")
    live.start(parts)
    yield parts
    live.stop()
    parts.flow.stop()


@pytest.mark.django_db
def test_metrics_and_health_of_what_runs_show_no_secret(venue, pages, seen, running):
    fail(venue, "page")
    opened = KINDS["binance_ws"].open(conf(), threading.Event())
    running.clients.append(opened._client._client)
    account("--source", "binance_ws")
    for url in PAGES:
        seen[url] = " ".join(pages(url))
    opened.close()
    assert "left alone" in seen["/health-board/"]
    assert "blocked" in seen["/health-board/"]


@pytest.mark.django_db
def test_the_page_of_a_crash_shows_no_secret(pages, seen, monkeypatch):
    def broken(*args):
        raise RuntimeError(conf().binance_api_secret + conf().api_key)

    monkeypatch.setattr("marketdata.views.health._disk", broken)
    with logged("json") as stream:
        seen["500"] = " ".join(pages("/health-board/"))
    assert seen["500"].startswith("500 ")
    seen["log"] = stream.getvalue()
    assert "RuntimeError" in seen["log"]


def test_settings_show_no_secret(canaries, seen):
    seen["repr"] = f"{conf()!r} {conf()} {[conf()]} {vars(settings)!r}"
    found, errors = env.load(
        {**{name.upper(): value for name, value in SECRETS.items()}, "LOG_LEVEL": "LOUD"}
    )
    assert len(errors) == 1
    seen["errors"] = f"{errors} {found}"
    seen["example"] = env.example()


@pytest.mark.django_db
def test_a_private_key_is_not_shown_either(venue, canaries, seen, monkeypatch):
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    body = pem.decode().splitlines()[1]
    for secret in (pem.decode(), pem.decode().replace("\n", "\\n"), pem.decode()[:60], body):
        monkeypatch.setattr(
            settings, "BOTCRYPTO", replace(settings.BOTCRYPTO, binance_api_secret=secret)
        )
        with logged("console") as stream:
            said = account("--source", "binance_ws", "--test")
            logging.getLogger("marketdata").warning("set to %r and %s", secret, secret)
        for line in (body, body[:32]):
            assert line not in said + stream.getvalue()
        seen["said"] = said


def test_there_is_a_canary_for_every_secret():
    assert set(SECRETS) >= {
        "api_key", "binance_api_key", "binance_api_secret", "bybit_api_key", "bybit_api_secret",
        "deriv_api_token",
    }  # fmt: skip
    assert not live.is_running()
