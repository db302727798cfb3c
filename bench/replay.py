"""`manage.py replay` as a whole process beside the plain csv, float and dict loop, alternately.

Usage: python bench/replay.py BTCUSDT-aggTrades-2024-01-01.zip [RUNS]
Goal: at most 0.5 of the plain loop's time, on two cores.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOAL = 0.5


def seconds(command: list[str]) -> float:
    """Run a process to its end and return how long that took."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - began


def main(path: str, runs: int = 7) -> None:
    """Print both medians and their ratio."""
    tape = str(Path(path).resolve())
    ours = [sys.executable, "manage.py", "replay", tape, "--json"]
    plain = [sys.executable, "bench/replay_baseline.py", tape]
    # The first run of each fills the page cache and writes byte code.
    seconds(ours), seconds(plain)
    pairs = [(seconds(ours), seconds(plain)) for _ in range(runs)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    print(f"cores        {os.cpu_count()}, runs {runs}")
    print(f"replay       {mine:.3f} s  ({min(a for a, _ in pairs):.3f} at best)")
    print(f"csv and dict {theirs:.3f} s  ({min(b for _, b in pairs):.3f} at best)")
    print(f"ratio        {statistics.median(ratios):.3f}  ({ratios[0]:.3f} to {ratios[-1]:.3f})")
    print(f"goal         {GOAL}: {'met' if statistics.median(ratios) <= GOAL else 'missed'}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
