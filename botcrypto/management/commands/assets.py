"""Install the chart library again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from botcrypto import assets
from marketdata.management.output import failed


class Command(BaseCommand):
    """`manage.py assets`."""

    help = (
        "Install the chart library of the live page from npm, as the lock file names it. "
        "Example: manage.py assets --force"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--force", action="store_true", help="also where it is up to date")

    def handle(self, *args: Any, **options: Any) -> None:
        if assets.is_current() and not options["force"]:
            self.stdout.write(f"chart library {assets.locked()[0]} is installed")
            return
        try:
            version = assets.install()
        except assets.AssetsError as error:
            raise failed(error) from error
        self.stdout.write(f"chart library {version} installed")
