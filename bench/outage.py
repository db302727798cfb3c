"""The live feed is cut: how soon the hole is known, refilled, certified and recorded.

Usage: python bench/outage.py [--outage 30] [--rate 500]

A simulated venue whose trades happen now, and the daemon as a process of its own. Times count from
the moment the feed is live again; goals are 5 s until the hole is known and 15 s until refilled.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.daemon.outage import drill


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outage", type=float, default=30.0, help="seconds")
    parser.add_argument("--rate", type=float, default=500.0, help="trades per second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = drill(Path(folder), options.outage, options.rate)
    proof = told.certificate
    is_true = proof["certificate"]["sha256"] == told.truth_sha256
    print(f"{options.outage:g} s without the feed at {options.rate:g} trades/s")
    print(f"hole         {told.hole:,} trades")
    print(f"known        {told.known_s:.2f} s after the feed was live again, goal 5")
    print(f"refilled     {told.refilled_s:.2f} s after, goal 15")
    print(f"held         {proof['held']:,} of {proof['expected']:,}, {proof['missing']} missing")
    print(f"hash         {'equals' if is_true else 'differs from'} that of the venue's trades")
    print(f"restated     {told.restatements} records, causes {', '.join(sorted(told.causes))}")


if __name__ == "__main__":
    main()
