"""The child process that reads files, so that parsing costs the live path nothing.

`python -m marketdata.backfill.reader` takes one task a line on stdin and writes trades in columns
and one answer for each to stdout (`wire.py`). It imports no Django and touches no database.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from marketdata.backfill import wire
from marketdata.core.errors import BadInputError, TapeError
from marketdata.core.timeframe import DAY_US, MINUTE_US
from marketdata.core.trades import Trades
from marketdata.store import lake
from marketdata.store.lake import DamagedError, Draft, Manifest
from marketdata.store.tape import Tape, open_tape
from marketdata.store.tape_file import DamagedTapeError

BATCH = 20_000
# A transaction of 25,000 rows costs 7 % less a row than of 12,500; of 50,000 2 % less than that,
# but for longer the writer keeps others from the interpreter.
HANDED_ROWS = 25_000
NICENESS = 10
# A day's file may end with trades that are stamped a moment after midnight.
MARGIN_US = MINUTE_US
Task = dict[str, Any]


class MismatchError(TapeError):
    """A sound file of something else than was asked for."""


class ReplacedError(TapeError):
    """The venue has published another file since this one was made from the old one."""


class PagesError(TapeError):
    """A day of the lake that came by pages, where the venue's file was asked for."""


class _DisorderError(TapeError):
    """Ids do not ascend from row to row."""


def main() -> None:
    """Serve tasks until stdin ends."""
    with suppress(ValueError):
        # Ctrl-C is sent to the whole group; it is the parent that decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    out = sys.stdout.buffer
    # A parent that is gone takes nothing any more, and sends nothing.
    with suppress(BrokenPipeError, wire.ChildLostError):
        for line in sys.stdin.buffer:
            wire.put_answer(out, performed(json.loads(line), sys.stdin.buffer, out))


KINDS = (
    (DamagedError, "damaged"),
    (ReplacedError, "replaced"),
    (PagesError, "pages"),
    (MismatchError, "mismatch"),
    (DamagedTapeError, "unreadable"),
    (BadInputError, "bad"),
    (OSError, "disk"),
)


def performed(task: Task, source: IO[bytes], out: IO[bytes]) -> dict[str, Any]:
    """Do a task: `lake`, `archive`, `file` or `keep`; errors become a kind and words."""
    try:
        if task["do"] == "keep":
            return _into_lake(task, source)
        return TASKS[task["do"]](task, out)
    except BrokenPipeError:
        raise
    except (BadInputError, OSError) as error:
        kind = next(name for known, name in KINDS if isinstance(error, known))
        return {"error": kind, "words": str(error)}


def _from_lake(task: Task, out: IO[bytes]) -> dict[str, Any]:
    """Hand on a day of the lake, proved before its first trade leaves."""
    path = Path(task["parquet"])
    says = lake.proved(path)
    if (says.source, says.symbol, says.channel, says.day) != _name(task):
        raise DamagedError(f"{path.name}: {' '.join(_name(task))} expected, seen {says}")
    if says.made_from and task["made_from"] not in ("", says.made_from):
        raise ReplacedError(f"{path.name}: made from {says.made_from[:12]}…, which is replaced")
    if task["only_files"] and not says.made_from:
        raise PagesError(f"{path.name}: made from a file of the venue expected, seen from pages")
    wire.put_answer(out, {"about": {"made_from": says.made_from}})
    counts = _handed_on(lake.batches(path, BATCH), task, out)
    return {**counts, "sha256": says.sha256, "file_rows": says.rows, "made_from": says.made_from}


def _into_lake(task: Task, source: IO[bytes]) -> dict[str, Any]:
    """Leave a day in the lake that came by pages; the parent sends its trades and their number."""
    draft = Draft(Path(task["parquet"]), Manifest(*_name(task)))
    problem: Exception | None = None
    with ExitStack() as undone:
        undone.callback(draft.abandon)
        while isinstance(got := wire.take(source), Trades):
            # What is sent must be read to the end, whatever became of the file.
            problem = problem or _added(draft, got)
        if problem is not None:
            raise problem
        if draft.told().rows != got["rows"]:
            raise MismatchError(f"{got['rows']} trades expected, seen {draft.told().rows}")
        committed = draft.commit()
        undone.pop_all()
    return {"rows": committed.rows}


def _added(draft: Draft, trades: Trades) -> Exception | None:
    try:
        draft.add(trades)
    except OSError as error:
        return error
    return None


def _name(task: Task) -> tuple[str, str, str, str]:
    return task["source"], task["symbol"], task["channel"], task["day"]


def _from_archive(task: Task, out: IO[bytes]) -> dict[str, Any]:
    """Hand on a day of the venue's archive, and leave it in the lake where that is wanted."""
    tape = open_tape(task["path"], source=task["source"], symbol=task["symbol"])
    _check_channel(tape, task)
    try:
        return _archived(_cut(tape.batches(BATCH), task), task, out)
    except _DisorderError:
        # Rare, and then it takes memory for the day: 33 bytes a trade.
        trades = Trades.concat(list(_cut(tape.batches(BATCH), task))).sorted()
        kept = trades[np.diff(trades.id, prepend=-1) > 0]
        answer = _archived(kept.batches(BATCH), task, out)
        return {**answer, "repeated": len(trades) - len(kept)}


def _archived(parts: Iterable[Trades], task: Task, out: IO[bytes]) -> dict[str, Any]:
    about = Manifest(*_name(task), made_from=task["made_from"])
    draft = Draft(Path(task["parquet"] or os.devnull), about)
    with ExitStack() as undone:
        undone.callback(draft.abandon)
        counts = _handed_on(_drafted(_in_day(_ascending(parts), task), draft, task), task, out)
        says = draft.commit() if task["parquet"] else draft.told()
        undone.pop_all()
    return {
        **counts, "sha256": says.sha256, "file_rows": says.rows, "made_from": says.made_from,
        "repeated": 0,
    }  # fmt: skip


def _from_file(task: Task, out: IO[bytes]) -> dict[str, Any]:
    """Hand on the part of any recorded tape that lies in the range."""
    path = Path(task["path"])
    tape = _opened(path, task)
    if (tape.source, tape.symbol) != (task["source"], task["symbol"]):
        raise MismatchError(
            f"{path.name}: trades of {task['symbol']} at {task['source']} expected, "
            f"seen {tape.symbol} at {tape.source}"
        )
    _check_channel(tape, task)
    seen: list[tuple[int, int]] = []
    counts = _handed_on(_noted(_cut(tape.batches(BATCH), task), seen), task, out)
    if not counts["rows"]:
        raise MismatchError(_no_row(path, seen))
    return {**counts, "file_rows": counts["rows"], "sha256": "", "made_from": ""}


def _opened(path: Path, task: Task) -> Tape:
    try:
        return open_tape(path)
    except TapeError as error:
        if "no symbol found" not in str(error):
            raise
        return open_tape(path, symbol=task["symbol"])


def _noted(parts: Iterable[Trades], seen: list[tuple[int, int]]) -> Iterator[Trades]:
    for trades in parts:
        seen.append((int(trades.ts_us.min()), int(trades.ts_us.max())))
        yield trades


def _no_row(path: Path, seen: list[tuple[int, int]]) -> str:
    if not seen:
        return f"{path.name}: trades expected, seen none"
    first, last = min(low for low, _ in seen), max(high for _, high in seen)
    return (
        f"{path.name}: a trade in the range asked for expected, seen trades from "
        f"{_moment(first)} to {_moment(last)}"
    )


def _moment(ts_us: int) -> str:
    return f"{np.datetime64(ts_us, 'us')}Z"


def _check_channel(tape: Tape, task: Task) -> None:
    if not task["is_numbered"]:
        # Whatever the file counts by: we number its trades.
        return
    if tape.channel != task["channel"]:
        raise MismatchError(
            f"{tape.path.name}: {task['channel']} ids expected, seen {tape.channel} ids"
        )


# What happens to trades on their way.


def _cut(parts: Iterable[Trades], task: Task) -> Iterator[Trades]:
    """Cut times to the resolution that stream and pages have, so that all ways agree."""
    step = task["step_us"]
    for trades in parts:
        ts_us = trades.ts_us if step == 1 else trades.ts_us // step * step
        yield Trades(trades.id, ts_us, trades.price, trades.qty, trades.is_buy, trades.ref)


def _ascending(parts: Iterable[Trades]) -> Iterator[Trades]:
    last = -1
    for trades in parts:
        if int(trades.id[0]) <= last or not (np.diff(trades.id) > 0).all():
            raise _DisorderError("ascending ids expected")
        last = int(trades.id[-1])
        yield trades


def _in_day(parts: Iterable[Trades], task: Task) -> Iterator[Trades]:
    day = int(np.datetime64(task["day"], "us").astype(np.int64))
    for trades in parts:
        low, high = int(trades.ts_us.min()), int(trades.ts_us.max())
        if low < day - MARGIN_US or high >= day + DAY_US + MARGIN_US:
            raise MismatchError(
                f"trades of {task['day']} expected, seen {_moment(low)} to {_moment(high)}"
            )
        yield trades


def _drafted(parts: Iterable[Trades], draft: Draft, task: Task) -> Iterator[Trades]:
    for trades in parts:
        if task["parquet"]:
            draft.add(trades)
        else:
            draft.count(trades)
        yield trades


def _handed_on(parts: Iterable[Trades], task: Task, out: IO[bytes]) -> dict[str, Any]:
    """Write the trades of the range to the parent and return what they were."""
    rows, first_id, last_id = 0, 1 << 62, -1
    for kept in _joined(_inside(parts, task)):
        rows += len(kept)
        first_id, last_id = min(first_id, int(kept.id.min())), max(last_id, int(kept.id.max()))
        wire.put_trades(out, kept)
    return {"rows": rows, "first_id": first_id if rows else 0, "last_id": last_id}


def _inside(parts: Iterable[Trades], task: Task) -> Iterator[Trades]:
    for trades in parts:
        inside = (trades.ts_us >= task["start_us"]) & (trades.ts_us < task["end_us"])
        if inside.any():
            yield trades if inside.all() else trades[inside]


def _joined(parts: Iterable[Trades]) -> Iterator[Trades]:
    waiting: list[Trades] = []
    for trades in parts:
        waiting.append(trades)
        if sum(map(len, waiting)) >= HANDED_ROWS:
            yield Trades.concat(waiting)
            waiting = []
    if waiting:
        yield Trades.concat(waiting)


TASKS: dict[str, Callable[[Task, IO[bytes]], dict[str, Any]]] = {
    "lake": _from_lake,
    "archive": _from_archive,
    "file": _from_file,
}

if __name__ == "__main__":
    main()
