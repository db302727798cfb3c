"""Registers the app; nothing is started here."""

from django.apps import AppConfig


class BotCryptoConfig(AppConfig):
    """The botcrypto app."""

    name = "botcrypto"
