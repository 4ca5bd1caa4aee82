# SPDX-License-Identifier: Apache-2.0
"""The agent's own log, on standard error, written by a thread of its own.

Standard error ends in a file or a pipe of the host's. When that stands still, lines wait, then
are dropped and counted, and the amphora goes on serving and beating. One JSON object a line, as
the other processes write; structlog needs too much memory.
"""

import logging
import os
import queue
import sys
import time
from logging.handlers import QueueHandler, QueueListener
from typing import Final

import msgspec

LINES_MAX: Final = 1000
PARTING_S: Final = 1.0  # for lines that wait when the agent ends


class OwnLog:
    """From `begin` on all loggers write here, until `end`."""

    def __init__(self, amphora_id: str) -> None:
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(LINES_MAX)
        self._writer = logging.StreamHandler(sys.stderr)
        self._writer.setFormatter(LogLine(amphora_id))
        self._listener = QueueListener(self._lines, self._writer)

    def begin(self) -> None:
        logging.basicConfig(level=logging.INFO, handlers=[_Dropping(self._lines)])
        self._listener.start()  # a thread that ends with the process

    def end(self) -> None:
        """When lines are stuck, the process ends here: Python's own end would wait for them."""
        deadline = time.monotonic() + PARTING_S
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._lines.unfinished_tasks:
            os._exit(1)


class LogLine(logging.Formatter):
    def __init__(self, amphora_id: str) -> None:
        super().__init__("%(message)s")
        self._amphora_id = amphora_id

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "process": "agent",
            "amphora_id": self._amphora_id,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class _Dropping(QueueHandler):
    """A queue that never waits: lines without room are lost, and their number is logged later."""

    def __init__(self, lines: "queue.Queue[logging.LogRecord | None]") -> None:
        super().__init__(lines)
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # it stays in this process, with its traceback

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._dropped:
                record.msg = f"{record.getMessage()} ({self._dropped} lines were lost before)"
                record.args = None
            self.queue.put_nowait(record)
            self._dropped = 0
        except queue.Full:
            self._dropped += 1
