"""Django's settings, all derived from one typed `Conf`."""

from pathlib import Path
from typing import Any

import botcrypto.interpreter
import botcrypto.sqlite  # noqa: F401  (both first: before numpy and sqlite3 are imported)
from botcrypto import env, logs, secret

BASE_DIR = Path(__file__).resolve().parent.parent
BOTCRYPTO, BOTCRYPTO_ERRORS = env.load(env.environment())

SECRET_KEY = secret.read_or_make(BOTCRYPTO.data_dir)
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", BOTCRYPTO.host, *BOTCRYPTO.allowed_hosts]

INSTALLED_APPS = [
    "botcrypto.adminsite.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "botcrypto",
    "marketdata",
    "strategy",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "botcrypto.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "botcrypto.urls"
ASGI_APPLICATION = "botcrypto.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
# IMMEDIATE, so that the busy timeout counts for writers; FULL, so that what the ledger claims
# survives a power cut (0.2 ms a commit at 250 ms flushes); no mmap: see docs/decisions.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;"
    "PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=67108864; PRAGMA mmap_size=0"
)
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BOTCRYPTO.database_path,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 10, "init_command": _PRAGMAS},
        # Threads must see one database in tests too, so it is a file there as in production.
        "TEST": {"NAME": str(BOTCRYPTO.database_path) + ".test"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Signed cookies: a visit must not become a write to the database.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
LANGUAGE_CODE = "en-us"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
LOGGING = logs.configuration(BOTCRYPTO.log_level, BOTCRYPTO.log_format)
# Requests come over http on loopback unless a proxy in front says otherwise.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008", "security.W012", "security.W016"]
