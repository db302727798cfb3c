"""The tables as they were first released."""

import django.db.models.deletion
import marketdata.models
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='HostState',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('host', models.CharField(max_length=255, unique=True)),
                ('banned_until_us', models.BigIntegerField(default=0)),
                ('reason', models.TextField(blank=True)),
                ('updated_us', models.BigIntegerField()),
            ],
            options={
                'ordering': ['host'],
            },
        ),
        migrations.CreateModel(
            name='TradingSession',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(help_text='scope name in URLs and answers', unique=True)),
                ('title', models.CharField(max_length=64)),
                ('tz', models.CharField(default='UTC', help_text='UTC or IANA name', max_length=64, verbose_name='time zone')),
                ('start', models.TimeField(help_text='first minute, in that zone')),
                ('end', models.TimeField(help_text='not included; at or before the start means the next day')),
                ('weekdays', models.CharField(default='1234567', help_text='days on which it starts, 1 = Monday', max_length=7)),
                ('is_active', models.BooleanField(default=True)),
                ('order', models.PositiveSmallIntegerField(default=0)),
            ],
            options={
                'ordering': ['order', 'start'],
            },
        ),
        migrations.CreateModel(
            name='FeedState',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(max_length=32)),
                ('channel', models.CharField(max_length=32)),
                ('symbol', models.CharField(max_length=255)),
                ('state', models.CharField(max_length=16)),
                ('since_us', models.BigIntegerField()),
                ('reconnects', models.PositiveIntegerField(default=0)),
                ('gaps', models.PositiveIntegerField(default=0)),
                ('last_error', models.TextField(blank=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('source', 'channel', 'symbol'), name='one_feed')],
            },
        ),
        migrations.CreateModel(
            name='Instrument',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(help_text='feed name, for example binance_ws', max_length=32)),
                ('symbol', models.CharField(help_text="the venue's spelling", max_length=64)),
                ('tick', models.CharField(help_text='smallest price step, quote per base', max_length=32)),
                ('lot', models.CharField(help_text='smallest quantity step, base units', max_length=32)),
                ('channel', models.CharField(default='aggTrade', help_text="which of the venue's ids count its trades", max_length=16)),
                ('simulated', models.BooleanField(default=False, help_text='its trades are invented')),
                ('is_active', models.BooleanField(default=True, help_text='offered by pages and API')),
            ],
            options={
                'ordering': ['source', 'symbol'],
                'constraints': [models.UniqueConstraint(fields=('source', 'symbol'), name='one_instrument')],
            },
        ),
        migrations.CreateModel(
            name='Trade',
            fields=[
                ('id', marketdata.models.RowIdField(primary_key=True, serialize=False)),
                ('trade_id', models.BigIntegerField()),
                ('ts_us', models.BigIntegerField()),
                ('price', models.FloatField()),
                ('qty', models.FloatField()),
                ('is_buy', models.BooleanField()),
                ('instrument', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='marketdata.instrument')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=32)),
                ('ts_us', models.BigIntegerField()),
                ('detail', models.JSONField(default=dict)),
                ('instrument', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, to='marketdata.instrument')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['kind', 'id'], name='events_by_kind')],
            },
        ),
        migrations.CreateModel(
            name='DailyLevel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('open', models.FloatField(null=True)),
                ('high', models.FloatField(null=True)),
                ('low', models.FloatField(null=True)),
                ('close', models.FloatField(null=True)),
                ('vwap', models.FloatField(null=True)),
                ('poc', models.FloatField(null=True)),
                ('vah', models.FloatField(null=True)),
                ('val', models.FloatField(null=True)),
                ('volume', models.FloatField(default=0)),
                ('buy_volume', models.FloatField(default=0)),
                ('sell_volume', models.FloatField(default=0)),
                ('delta', models.FloatField(default=0)),
                ('delta_min', models.FloatField(default=0)),
                ('delta_max', models.FloatField(default=0)),
                ('trades', models.BigIntegerField(default=0)),
                ('expected', models.BigIntegerField(default=0)),
                ('held', models.BigIntegerField(default=0)),
                ('definition', models.JSONField(default=dict)),
                ('state_hash', models.CharField(blank=True, max_length=64)),
                ('day_us', models.BigIntegerField()),
                ('origin', models.CharField(help_text='trades or klines', max_length=8)),
                ('instrument', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='marketdata.instrument')),
            ],
            options={
                'ordering': ['-day_us'],
                'constraints': [models.UniqueConstraint(fields=('instrument', 'day_us', 'origin'), name='one_day')],
            },
        ),
        migrations.CreateModel(
            name='CoverageSegment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_id', models.BigIntegerField()),
                ('last_id', models.BigIntegerField()),
                ('origin', models.CharField(max_length=8)),
                ('first_ts_us', models.BigIntegerField()),
                ('last_ts_us', models.BigIntegerField()),
                ('instrument', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='marketdata.instrument')),
            ],
            options={
                'ordering': ['instrument', 'first_id'],
                'constraints': [models.UniqueConstraint(fields=('instrument', 'first_id'), name='one_segment')],
            },
        ),
        migrations.CreateModel(
            name='Candle',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('timeframe', models.CharField(max_length=4)),
                ('open_us', models.BigIntegerField()),
                ('open', models.FloatField()),
                ('high', models.FloatField()),
                ('low', models.FloatField()),
                ('close', models.FloatField()),
                ('volume', models.FloatField()),
                ('buy_volume', models.FloatField()),
                ('quote_volume', models.FloatField()),
                ('trades', models.BigIntegerField()),
                ('first_id', models.BigIntegerField()),
                ('last_id', models.BigIntegerField()),
                ('instrument', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='marketdata.instrument')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('instrument', 'timeframe', 'open_us'), name='one_candle')],
            },
        ),
        migrations.CreateModel(
            name='SessionStat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('open', models.FloatField(null=True)),
                ('high', models.FloatField(null=True)),
                ('low', models.FloatField(null=True)),
                ('close', models.FloatField(null=True)),
                ('vwap', models.FloatField(null=True)),
                ('poc', models.FloatField(null=True)),
                ('vah', models.FloatField(null=True)),
                ('val', models.FloatField(null=True)),
                ('volume', models.FloatField(default=0)),
                ('buy_volume', models.FloatField(default=0)),
                ('sell_volume', models.FloatField(default=0)),
                ('delta', models.FloatField(default=0)),
                ('delta_min', models.FloatField(default=0)),
                ('delta_max', models.FloatField(default=0)),
                ('trades', models.BigIntegerField(default=0)),
                ('expected', models.BigIntegerField(default=0)),
                ('held', models.BigIntegerField(default=0)),
                ('definition', models.JSONField(default=dict)),
                ('state_hash', models.CharField(blank=True, max_length=64)),
                ('name', models.SlugField()),
                ('start_us', models.BigIntegerField()),
                ('end_us', models.BigIntegerField()),
                ('instrument', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='marketdata.instrument')),
            ],
            options={
                'ordering': ['-start_us'],
                'constraints': [models.UniqueConstraint(fields=('instrument', 'name', 'start_us'), name='one_session')],
            },
        ),
    ]
