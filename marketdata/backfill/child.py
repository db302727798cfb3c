"""`FileReader`: the parent's end of the child process that reads files."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import marketdata
from marketdata.backfill import wire
from marketdata.backfill.wire import ChildLostError
from marketdata.core.trades import Trades

ROOT = Path(marketdata.__file__).parent.parent
COMMAND = (sys.executable, "-m", "marketdata.backfill.reader")
# Several batches fit, so that parsing goes on while a batch is being handed on.
PIPE_BYTES = 1 << 20
END_S = 5.0


Task = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Pipes:
    into: IO[bytes]
    out: IO[bytes]


def _nothing(about: Task) -> None:
    """Care for nothing."""


class FileReader:
    """Reads one file at a time in another process, which is started when first needed.

    Notes
    -----
    One file at a time is what two cores can bear beside the writer; whoever comes second waits.
    """

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._changing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_closed = False

    def warm(self) -> None:
        """Start the process, which takes a third of a second, before it is needed."""
        self._started()

    def read(
        self, task: Task, take: Callable[[Trades], None], about: Callable[[Task], None] = _nothing
    ) -> Task:
        """Do a task of `reader.py`; hand each batch on; return the answer.

        Parameters
        ----------
        about : callable
            Told what a file says of itself, before its first trade.

        Raises
        ------
        ChildLostError
            The process died, or was ended by `kill` or `close`.
        """
        with self._talk() as pipes:
            _say(pipes, task)
            while True:
                got = wire.take(pipes.out)
                if isinstance(got, Trades):
                    take(got)
                elif "about" in got:
                    about(got["about"])
                else:
                    return got

    def write(self, task: Task, parts: Iterable[Trades]) -> Task:
        """Do a task of `reader.py` that takes trades; return the answer. Raises ChildLostError."""
        with self._talk() as pipes:
            _say(pipes, task)
            rows = 0
            for trades in parts:
                wire.put_trades(pipes.into, trades)
                rows += len(trades)
            wire.put_answer(pipes.into, {"rows": rows})
            got = wire.take(pipes.out)
            if isinstance(got, Trades):
                raise ChildLostError("an answer of the file reader expected, seen trades")
            return got

    @contextmanager
    def _talk(self) -> Iterator[_Pipes]:
        """Hold the process for one task; if that is not done to its end, end the process."""
        with self._busy:
            pipes = _pipes(self._started())
            with ExitStack() as undone:
                # What a task that ends early leaves in the pipe belongs to no task any more.
                undone.callback(self.kill)
                try:
                    yield pipes
                except (OSError, ValueError) as error:
                    raise ChildLostError(f"the file reader's pipes are closed: {error}") from error
                undone.pop_all()

    def kill(self) -> None:
        """End the process; a task under way fails, the next one starts another."""
        with self._changing:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(END_S)
            _close(process)

    def close(self) -> None:
        """End the process for good."""
        self.is_closed = True
        self.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._changing:
            if self.is_closed:
                raise ChildLostError("the file reader is closed")
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(  # noqa: S603  (our own module)
                    COMMAND,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pipesize=PIPE_BYTES,
                )
            return self._process


def _pipes(process: subprocess.Popen[bytes]) -> _Pipes:
    if process.stdin is None or process.stdout is None:
        raise ChildLostError("pipes to the file reader expected, there are none")
    return _Pipes(process.stdin, process.stdout)


def _say(pipes: _Pipes, task: Task) -> None:
    pipes.into.write(json.dumps(task).encode() + b"\n")
    pipes.into.flush()


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()
