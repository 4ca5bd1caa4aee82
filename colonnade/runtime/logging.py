# SPDX-License-Identifier: Apache-2.0
"""Logs: one event a line, JSON to standard error unless a person is watching. Before a line for
the journal stands its level, as sd-daemon(3) has it.

Values under a name that tells of a secret are struck out before anything is written, so that a
slip in one place does not become a leak. This module knows no domain word.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# As syslog numbers them.
LEVELS = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}
SECRET_WORDS = ("key", "secret", "password", "token", "passphrase", "private", "pem")


def _strike_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name in event:
        if any(word in name.lower() for word in SECRET_WORDS) and name != "work_key":
            event[name] = "***"
    return event


def _with_level(_logger: Any, method: str, line: str) -> str:
    return f"<{LEVELS.get(method, 6)}>{line}"


def _is_journal() -> bool:
    """Whether standard error leads to the journal, which says so by the numbers of its socket."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def configure(process: str, *, level: str = "INFO") -> None:
    """Set up logging for this process. Call once, first."""
    watched = sys.stderr.isatty()
    renderers: list[Any] = [
        structlog.dev.ConsoleRenderer() if watched else structlog.processors.JSONRenderer()
    ]
    if _is_journal():
        renderers.append(_with_level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _strike_secrets,
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
