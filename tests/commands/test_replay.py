import gzip
import json
import os
import subprocess
import sys
from decimal import Decimal
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from marketdata.conf import Conf
from marketdata.store import tape_csv
from tests.store.files import LAYOUTS, MS, SPOT_AGG, plain, zipped
from tests.store.stored import ROOT

DAY_TAPE = "tapes/BTCUSDT-aggTrades-2024-01-01.zip"


def replay(path, *options):
    out = StringIO()
    call_command("replay", str(path), *options, stdout=out)
    return out.getvalue()


def answer_of(path, *options):
    text = replay(path, "--json", *options)
    assert text.count("\n") == 1, "exactly one line of JSON expected"
    return json.loads(text)


def process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", "replay", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture
def three(tmp_path):
    """Return a file of three trades: bought, sold, bought."""
    return plain(tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", SPOT_AGG)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("day", "trades", "volume", "beside"),
    [("20230404", 2197, 201.588, []), ("20230405", 10_737, 987.497, [[3535191080, 3535191080]])],
)
def test_a_day_of_futures_is_whole_although_the_insurance_fund_took_a_number(
    shared_data, day, trades, volume, beside
):
    answer = answer_of(shared_data / f"captures/binance_usdm_btcusdt_{day}.gz")
    assert (answer["source"], answer["symbol"]) == ("binance_futures", "BTCUSDT")
    assert (answer["trades"], answer["volume"]) == (trades, volume)
    coverage = answer["coverage"]
    assert (coverage["missing"], coverage["held"], coverage["exchange_side"]) == (0, trades, beside)
    assert (answer["precision"], "gap" in answer["events"]) == ("exact", False)
    # The venue's tick is a tenth, as high as a row of the profile is by default.
    definition = answer["definition"]
    assert (definition["profile_tick_size"], definition["tick_size"]) == (0.1, 0.1)
    assert sum(row["volume"] for row in answer["volume_profile"]) == pytest.approx(volume)
    assert max(row["price"] for row in answer["volume_profile"]) < 28_200


def test_the_answer_is_the_context_with_hash_events_and_speed(three):
    answer = answer_of(three)
    notional = (
        Decimal("42283.58") * Decimal("0.03859")
        + Decimal("42283.57") * Decimal("0.005")
        + Decimal("42283.58")
    )
    assert (answer["symbol"], answer["source"], answer["scope"]) == ("BTCUSDT", "binance_ws", "day")
    assert answer["levels"]["VWAP"] == pytest.approx(
        float(notional / Decimal("1.04359")), rel=1e-15
    )
    levels = {name: answer["levels"][name] for name in ("OPEN", "HIGH", "LOW", "LAST", "POC")}
    assert levels == {
        "OPEN": 42283.58, "HIGH": 42283.58, "LOW": 42283.57, "LAST": 42283.58, "POC": 42283.5,
    }  # fmt: skip
    assert (answer["volume"], answer["buy_volume"], answer["sell_volume"]) == (
        1.04359, 1.03859, 0.005,
    )  # fmt: skip
    delta = (answer["cumulative_delta"], answer["delta_min"], answer["delta_max"])
    assert delta == (1.03359, 0.03359, 1.03359)
    assert answer["coverage"] == {
        "expected": 3, "held": 3, "missing": 0, "holes": 0, "left_out": 0,
        "ratio": 1.0, "proof": "id_exact",
        "edges": "held", "has_first": False, "ranges": [], "exchange_side": [],
        "sources": {"file": 3},
    }  # fmt: skip
    assert (answer["first_ts"], answer["last_ts"]) == (
        "2024-01-01T00:00:00.000Z", "2024-01-01T00:01:00.001Z",
    )  # fmt: skip
    assert answer["as_of"] == answer["last_ts"]
    assert answer["events"] == {"candle_complete": 1}
    assert (answer["trades"], answer["trades_total"], answer["duplicates"]) == (3, 3, 0)
    assert answer["seconds"] > 0
    assert answer["trades_per_second"] > 0
    assert len(answer["hash"]) == 64


def test_every_layout_of_the_same_trades_gives_the_same_hash(tmp_path):
    hashes = {
        answer_of(plain(tmp_path / f"BTCUSDT-trades-2024-01-0{n % 9}.csv", text))["hash"]
        for n, text in enumerate(LAYOUTS.values())
    }
    assert len(hashes) == 1


def test_people_get_lines(three):
    text = replay(three)
    assert "BTCUSDT at binance_ws, scope day" in text
    assert "coverage  3 of 3 trades held (100.0000%), 0 missing" in text
    assert "replayed  3 trades from 2024-01-01T00:00:00.000Z to" in text
    assert "events    1 candle_complete" in text


def test_source_and_symbol_can_be_told(three):
    answer = answer_of(three, "--source", "bybit", "--symbol", "ETHUSDT")
    assert (answer["source"], answer["symbol"]) == ("bybit", "ETHUSDT")
    assert answer["coverage"]["proof"] == "overlap"


def test_disorder_and_repetition_change_nothing(tmp_path, monkeypatch):
    random = np.random.default_rng(5)
    ids = np.arange(3000)
    rows = [
        f"{id},{100 + random.integers(0, 500) / 100:.2f},{random.integers(1, 900) / 1000:.3f},"
        f"1,1,{MS + 40 * id},{random.random() < 0.5},True\n"
        for id in ids.tolist()
    ]
    straight = answer_of(plain(tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", "".join(rows)))
    # Small blocks: an id comes again, and comes late, across batches as well as within them.
    monkeypatch.setattr(tape_csv, "BLOCK_BYTES", 2048)
    mixed = random.permutation(np.concatenate([ids, ids[500:900], ids[::7]]))
    path = plain(tmp_path / "BTCUSDT-aggTrades-2024-01-02.csv", "".join(rows[n] for n in mixed))
    crooked = answer_of(path)
    assert crooked["duplicates"] == 400 + 429
    changes = {"events", "seconds", "trades_per_second", "duplicates"}
    same = {name for name in straight if straight[name] == crooked[name]}
    assert set(straight) - same == changes
    assert {"gap", "gap_closed", "candle_restated"} <= set(crooked["events"])


def test_holes_are_counted(tmp_path):
    rows = SPOT_AGG.splitlines(keepends=True)
    path = plain(tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", rows[0] + rows[2])
    answer = answer_of(path)
    assert answer["coverage"]["ranges"] == [[2807759892, 2807759892]]
    assert (answer["coverage"]["missing"], answer["precision"]) == (1, "degraded")
    assert answer["events"]["gap"] == 1


@pytest.mark.parametrize(("size", "poc"), [("1", 42283.0), ("10", 42280.0), ("0.01", 42283.58)])
def test_the_rows_are_as_high_as_told(three, size, poc):
    with override_settings(BOTCRYPTO=Conf(profile_tick_size=Decimal(size))):
        answer = answer_of(three)
    assert answer["levels"]["POC"] == poc
    assert answer["definition"]["profile_tick_size"] == float(size)


@pytest.mark.parametrize(
    ("make", "words", "code"),
    [
        (lambda at: at / "nowhere.zip", "nowhere.zip: a file expected, there is none", 2),
        (lambda at: plain(at / "a.csv", ""), "a.csv: trades expected, seen an empty file", 1),
        (lambda at: zipped(at / "a.zip", SPOT_AGG, SPOT_AGG), "one file in the zip expected", 1),
        (lambda at: plain(at / "X_BTCUSDT_2024-01.csv", SPOT_AGG[:-30]), "line 3: 8 columns", 1),
    ],
    ids=["nowhere", "empty", "two files", "half line"],
)
def test_errors_name_the_file_and_end_with_their_code(tmp_path, make, words, code):
    with pytest.raises(CommandError, match=words) as caught:
        replay(make(tmp_path))
    assert caught.value.returncode == code


def test_bad_settings_end_with_code_two(three):
    with (
        override_settings(BOTCRYPTO_ERRORS=["VALUE_AREA_PCT='2': a value up to 1 expected"]),
        pytest.raises(CommandError, match="VALUE_AREA_PCT") as caught,
    ):
        replay(three)
    assert caught.value.returncode == 2


def test_the_process_ends_with_its_code_and_keeps_stdout_clean(tmp_path, three):
    good = process(three, "--json")
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["trades"] == 3
    damaged = process(plain(tmp_path / "a.csv", SPOT_AGG[:-30]), "--symbol", "A", "--json")
    assert (damaged.returncode, damaged.stdout) == (1, "")
    assert damaged.stderr.strip().endswith("a.csv: line 3: 8 columns expected, seen 5")
    assert process(three, "--no-such-option").returncode == 2


@pytest.mark.realdata
def test_the_real_day_gives_the_known_truth(shared_data):
    tape = shared_data / DAY_TAPE
    dollars, tens = (
        json.loads(process(tape, "--json", PROFILE_TICK_SIZE=size).stdout) for size in ("1", "10")
    )
    assert (dollars["levels"]["POC"], tens["levels"]["POC"]) == (44000, 42650)
    # The height of a row is a question of showing: what was counted is the same.
    assert dollars["hash"] == tens["hash"] == answer_of(tape)["hash"]
    assert (dollars["trades"], dollars["volume"]) == (863_403, 27174.29903)
    assert (dollars["buy_volume"], dollars["sell_volume"]) == (14331.7318, 12842.56723)
    assert dollars["cumulative_delta"] == 1489.16457
    levels = dollars["levels"]
    assert levels["VWAP"] == pytest.approx(43055.229529061431, rel=1e-9)
    assert [levels[name] for name in ("OPEN", "HIGH", "LOW", "LAST")] == [
        42283.58, 44184.10, 42180.77, 44179.55,
    ]  # fmt: skip
    coverage = dollars["coverage"]
    assert (coverage["expected"], coverage["missing"], coverage["ratio"]) == (863_403, 0, 1.0)
    assert (dollars["first_ts"], dollars["last_ts"]) == (
        "2024-01-01T00:00:00.000Z", "2024-01-01T23:59:59.999Z",
    )  # fmt: skip
    profile = dollars["volume_profile"]
    assert len(profile) == 2005
    assert max(profile, key=lambda row: row["volume"])["volume"] == 263.14766
    assert sum(row["volume"] for row in profile) == pytest.approx(27174.29903, rel=1e-12)


@pytest.mark.realdata
def test_two_captures_run_on_over_midnight(shared_data, tmp_path):
    names = [f"captures/binance_spot_btcusdt_{day}.gz" for day in ("20240808", "20240809")]
    path = tmp_path / "both.gz"
    # Gzip files may simply be joined.
    path.write_bytes(b"".join((shared_data / name).read_bytes() for name in names))
    with gzip.open(path) as file:
        assert file.read(1)
    answer = answer_of(path)
    assert (answer["symbol"], answer["trades_total"]) == ("BTCUSDT", 9757 + 10147)
    assert answer["coverage"]["missing"] == 0
    assert answer["coverage"]["edges"] == "neighbour"
    assert answer["events"]["day_roll"] == 1
    assert "gap" not in answer["events"]
    assert answer["start"] == "2024-08-09T00:00:00.000Z"
    levels = answer["levels"]
    assert levels["PDL"] <= levels["PDC"] <= levels["PDH"]
    assert answer["definition"]["previous_day"] == "trades"


def test_no_table_is_imported_for_it(three):
    code = (
        "import sys, manage; sys.argv = ['manage.py', 'replay', sys.argv[1]]; manage.main();"
        " print('tables' if 'django.db.models' in sys.modules else 'no tables')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(three)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "no tables"
