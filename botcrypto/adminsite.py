"""The admin's site, which looks for the apps' pages when it is asked for them and not before.

Importing those pages costs 30 ms of every command's start, and few commands serve them.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.utils.module_loading import autodiscover_modules

# The modules of an app that register pages.
PAGES = ("admin", "backfill_admin")


class AdminConfig(SimpleAdminConfig):
    """Django's admin, with this site."""

    default_site = "botcrypto.adminsite.AdminSite"


class AdminSite(admin.AdminSite):
    """Registers the apps' pages once somebody wants to check or to serve them."""

    site_header = site_title = "BotCrypto"

    def check(self, app_configs: Any) -> list[Any]:
        """Check every page."""
        autodiscover_modules(*PAGES, register_to=self)
        return super().check(app_configs)

    def get_urls(self) -> list[Any]:
        """Return the URLs of every page."""
        autodiscover_modules(*PAGES, register_to=self)
        return super().get_urls()
