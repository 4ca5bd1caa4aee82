# SPDX-License-Identifier: Apache-2.0
"""What amphora and controller say to each other of access logs.

The agent names the files that it wants to be rid of and what it has counted so far; the
controller answers with a place for each. A place holds no lasting credential of an object store:
it is good for one object and for minutes. The lines themselves never pass the controller.
No sockets here.
"""

import msgspec

FILES_MAX = 32  # in one question
COUNTS_MAX = 1000  # listeners in one question
FAILURE_MAX = 300  # characters of a failure's reason


class LogLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a file of the spool is closed, and how much the spool may hold."""

    file_bytes: int = 1024 * 1024
    file_age_s: float = 60.0
    stream_age_s: float = 5.0  # for targets that take lines and not files
    spool_bytes: int = 16 * 1024 * 1024


class LogFile(msgspec.Struct, frozen=True, kw_only=True):
    """A closed file of one listener. Sequences rise for ever on one amphora."""

    listener: str
    sequence: int
    begun_at: float  # seconds since 1970
    lines: int


class LogCount(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of one listener since the amphora began; `failure` is "" after a success."""

    listener: str
    sent: int = 0
    dropped: int = 0
    failure: str = ""


class LogQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Body of POST /log-places."""

    files: tuple[LogFile, ...] = ()
    counts: tuple[LogCount, ...] = ()


class LogPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where one file goes. `means` is PUT (the packed file, as it is, to `url`), OTLP (its lines
    posted to `url`), SYSLOG (its lines, to `tcp://` or `tls://`) or NOWHERE: its listener does
    not log any more. `ca` is PEM; without it the system's authorities are trusted. `failure`: there
    is no place now, and why."""

    means: str = "NOWHERE"
    url: str = ""
    headers: dict[str, str] = {}
    ca: str = ""
    labels: dict[str, str] = {}  # "load_balancer", "listener", "amphora": ids to be told
    failure: str = ""

    def __repr__(self) -> str:
        return f"LogPlace(means={self.means!r})"  # a signed URL is a credential for a while


class LogPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: a place for each file, in the order of the question."""

    places: tuple[LogPlace, ...] = ()
