"""`FileReader`: the parent's end of the child process that reads files."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import marketdata
from marketdata.backfill import wire
from marketdata.backfill.wire import ChildLostError
from marketdata.core.trades import Trades

ROOT = Path(marketdata.__file__).parent.parent
COMMAND = (sys.executable, "-m", "marketdata.backfill.reader")
# Several batches fit, so that parsing goes on while a batch is being handed on.
PIPE_BYTES = 1 << 20
END_S = 5.0


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

    def read(self, task: dict[str, Any], take: Callable[[Trades], None]) -> dict[str, Any]:
        """Do a task of `reader.py`; hand each batch on; return the answer.

        Raises
        ------
        ChildLostError
            The process died, or was ended by `kill` or `close`.
        """
        with self._busy:
            process = self._started()
            try:
                return _done(process, task, take)
            except BaseException:
                # What is left in the pipe belongs to no task any more.
                self.kill()
                raise

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


def _done(
    process: subprocess.Popen[bytes], task: dict[str, Any], take: Callable[[Trades], None]
) -> dict[str, Any]:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise ChildLostError("pipes to the file reader expected, there are none")
    try:
        stdin.write(json.dumps(task).encode() + b"\n")
        stdin.flush()
    except (OSError, ValueError) as error:
        raise ChildLostError(f"the file reader takes no task: {error}") from error
    while True:
        try:
            got = wire.take(stdout)
        except (OSError, ValueError) as error:
            raise ChildLostError(f"the file reader's pipe is closed: {error}") from error
        if isinstance(got, dict):
            return got
        take(got)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()
