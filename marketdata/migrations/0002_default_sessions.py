"""London and the New York overlap, as every installation starts with."""

from datetime import time

from django.db import migrations

SESSIONS = [
    ("london", "London", time(8), time(12)),
    ("overlap", "New York overlap", time(13), time(17)),
]


def add(apps, schema_editor):
    model = apps.get_model("marketdata", "TradingSession")
    for order, (name, title, start, end) in enumerate(SESSIONS):
        model.objects.get_or_create(
            name=name, defaults={"title": title, "start": start, "end": end, "order": order}
        )


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0001_initial")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
