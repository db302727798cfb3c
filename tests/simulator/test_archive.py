"""The public archive against REST, and against the tape it was recorded from."""

import csv
import hashlib
import io
import zipfile

import pytest
import requests

from tests.simulator.conftest import DAY_US, at_us, tape

STEM = "BTCUSDT-aggTrades-2026-03-03"
PATH = f"/data/spot/daily/aggTrades/BTCUSDT/{STEM}.zip"


@pytest.fixture(scope="module")
def packed(venue):
    return requests.get(venue.rest_url + PATH).content


def rows_of(packed):
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        (name,) = archive.namelist()
        text = archive.read(name).decode()
    return name, list(csv.reader(io.StringIO(text)))


def test_a_closed_day_equals_rest_without_header_in_microseconds(venue, packed):
    name, rows = rows_of(packed)
    assert name == f"{STEM}.csv"
    assert len(rows) == 172_800
    page = requests.get(
        f"{venue.rest_url}/api/v3/aggTrades",
        params={"symbol": "BTCUSDT", "fromId": rows[1000][0], "limit": 1000},
        headers={"X-MBX-TIME-UNIT": "MICROSECOND"},
    ).json()
    for row, one in zip(rows[1000:2000], page, strict=True):
        assert row == [
            *(str(one["a"]), one["p"], one["q"], str(one["f"]), str(one["l"]), str(one["T"])),
            *(str(one["m"]), "True"),
        ]
    opened = at_us("2026-03-03T00:00:00")
    assert opened <= int(rows[0][5]) <= int(rows[-1][5]) < opened + DAY_US
    assert int(rows[-1][0]) - int(rows[0][0]) == len(rows) - 1


def test_the_checksum_is_that_of_the_file(venue, packed):
    answer = requests.get(f"{venue.rest_url}{PATH}.CHECKSUM")
    assert answer.text == f"{hashlib.sha256(packed).hexdigest()}  {STEM}.zip\n"
    assert requests.get(venue.rest_url + PATH).content == packed


@pytest.mark.parametrize(
    "path",
    [
        "BTCUSDT/BTCUSDT-aggTrades-2026-03-04.zip",
        "BTCUSDT/BTCUSDT-aggTrades-2026-03-04.zip.CHECKSUM",
        "BTCUSDT/BTCUSDT-aggTrades-2019-12-31.zip",
        "BTCUSDT/BTCUSDT-aggTrades-2026-02-30.zip",
        "BTCUSDT/ETHUSDT-aggTrades-2026-03-03.zip",
        "NOPE/NOPE-aggTrades-2026-03-03.zip",
        "BTCUSDT",
    ],
)
def test_what_the_archive_does_not_hold_is_absent(venue, path):
    answer = requests.get(f"{venue.rest_url}/data/spot/daily/aggTrades/{path}")
    assert answer.status_code == 404
    assert "NoSuchKey" in answer.text


def test_the_day_of_a_tape_is_served_in_milliseconds_before_2025(served):
    venue = served(tape(3, step_us=1_000_000))
    path = "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-01-01.zip"
    _, rows = rows_of(requests.get(venue.rest_url + path).content)
    assert rows == [
        ["1000", "40000.00000000", "0.00001000", "1000", "1000", "1704067200000", "False", "True"],
        ["1001", "40000.01000000", "0.00002000", "1001", "1001", "1704067201000", "True", "True"],
        ["1002", "40000.02000000", "0.00003000", "1002", "1002", "1704067202000", "True", "True"],
    ]


def test_a_late_or_damaged_file(venue, packed):
    venue.faults.update({"archive_missing": 1, "archive_corrupt": 1})
    assert requests.get(venue.rest_url + PATH).status_code == 404
    damaged = requests.get(venue.rest_url + PATH).content
    assert len(damaged) == len(packed)
    assert damaged != packed
    assert requests.get(venue.rest_url + PATH).content == packed
