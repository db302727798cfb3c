"""The plain way to read an archive day: csv, float and dict. `replay` is measured against it.

Usage: python bench/replay_baseline.py BTCUSDT-aggTrades-2024-01-01.zip
"""

import csv
import io
import json
import sys
import zipfile


def main(path: str) -> None:
    """Read the day and print what it comes to."""
    volume = buy = notional = 0.0
    high, low = 0.0, float("inf")
    profile: dict[float, float] = {}
    rows = 0
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as raw:
        for row in csv.reader(io.TextIOWrapper(raw)):
            price, qty = float(row[1]), float(row[2])
            volume += qty
            notional += price * qty
            if row[6] == "False":
                buy += qty
            high, low = max(high, price), min(low, price)
            bucket = price // 0.1
            profile[bucket] = profile.get(bucket, 0.0) + qty
            rows += 1
    answer = {
        "trades": rows,
        "volume": volume,
        "buy_volume": buy,
        "vwap": notional / volume,
        "high": high,
        "low": low,
        "poc_row": max(profile, key=profile.__getitem__),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
