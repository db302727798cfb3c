"""Registers the app; nothing is started here."""

from django.apps import AppConfig


class StrategyConfig(AppConfig):
    """The strategy app."""

    name = "strategy"
