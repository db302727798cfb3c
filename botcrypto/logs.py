"""Logging to stderr: one line per state change, for people or as JSON."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any


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
            line["exception"] = self.formatException(record.exc_info)
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
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"console": console, "json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {name: {"level": level} for name in ("botcrypto", "marketdata", "strategy")},
    }
