"""Logging to stderr: one line per state change, for people or as JSON, and no secret in it."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any

from django.conf import settings

from marketdata.core.redaction import redacted, spellings


class Redacting(logging.Filter):
    """Hides secrets in what is logged: message, traceback and stack; lets every record through."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace what would show a secret."""
        values = _spellings(_secrets())
        try:
            record.msg = redacted(record.getMessage(), values)
        except (TypeError, ValueError):
            # Arguments that do not fit the message: the handler complains, and shows them.
            record.msg = redacted(f"{record.msg} {record.args}", values)
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redacted(record.exc_text, values)
        if record.stack_info:
            record.stack_info = redacted(record.stack_info, values)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of JSON with time, level, logger and message."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """A line for people, in UTC as everything else they see."""

    converter = staticmethod(time.gmtime)


def configuration(level: str, form: str) -> dict[str, Any]:
    """Return Django's LOGGING for a level and a form (`console` or `json`)."""
    console = {
        "()": ConsoleFormatter,
        "format": "%(asctime)s %(levelname)-7s %(name)s %(message)s",
        "datefmt": "%Y-%m-%d %H:%M:%SZ",
    }
    stderr = {"class": "logging.StreamHandler", "formatter": form, "filters": ["redacting"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"redacting": {"()": Redacting}},
        "formatters": {"console": console, "json": {"()": JsonFormatter}},
        "handlers": {"stderr": stderr},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {name: {"level": level} for name in ("botcrypto", "marketdata", "strategy")},
    }


def hide_in_tracebacks() -> None:
    """Let errors that nobody caught, in any thread, reach stderr without secrets.

    Notes
    -----
    Whoever has taken the hooks already, as test runners do, keeps them.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(redacted(text, _spellings(_secrets())))


def _uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and told.exc_type is not SystemExit:
        name = told.thread.name if told.thread else "a thread"
        sys.stderr.write(f"Exception in thread {name}:\n")
        _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def _secrets() -> tuple[str, ...]:
    """Return the secrets of the settings, none while these are being read."""
    if not settings.configured:
        return ()
    return (*settings.BOTCRYPTO.secrets, settings.SECRET_KEY)


_spellings = lru_cache(maxsize=4)(spellings)
