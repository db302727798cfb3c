#!/usr/bin/env python
"""The command line: `python manage.py help`."""

import os
import sys

import botcrypto.interpreter  # noqa: F401  (before anything else is imported)


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botcrypto.settings")
    if sys.argv[1:2] == ["replay"]:
        # It needs no tables and no pages; Django's registry of them would cost a fifth of its time.
        from marketdata.management.commands.replay import Command

        Command().run_from_argv(sys.argv)
        return
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
