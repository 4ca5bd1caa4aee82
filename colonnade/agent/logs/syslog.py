# SPDX-License-Identifier: Apache-2.0
"""Lines as syslog messages (RFC 5424) over TCP or TLS, each with its length before it (RFC 6587).

Syslog has no answer. A file counts as sent when its last byte was taken and the other side has
closed in order, or has said nothing against it for a moment.
"""

import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from colonnade.agent.logs.connection import dial, trust
from colonnade.agent.logs.consignment import Failed
from colonnade.agent.logs.lines import batches, time_of
from colonnade.protocol.logs import LogPlace

PRIORITY: Final = 16 * 8 + 6  # local0, informational
PORT: Final = 514
PORT_TLS: Final = 6514  # RFC 5425
CLOSE_S: Final = 1.0
_ENTERPRISE: Final = 32473  # RFC 5612: the number for examples, as we have none


def stream(path: str, place: LogPlace) -> None:
    """Raises Failed, OSError."""
    url = urlsplit(place.url)
    encrypted = url.scheme == "tls"
    port = url.port or (PORT_TLS if encrypted else PORT)
    host = url.hostname or ""
    with dial(host, port) as plain:
        if not encrypted:
            _send(path, place.labels, plain)
            return
        with trust(place.ca).wrap_socket(plain, server_hostname=host) as wrapped:
            _send(path, place.labels, wrapped)


def message(line: bytes, labels: Mapping[str, str]) -> bytes:
    """One message with its length before it."""
    at = time_of(line)
    when = "-"
    if at is not None:
        when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:23] + "Z"
    told = "".join(f' {name}="{value}"' for name, value in labels.items())
    head = (
        f"<{PRIORITY}>1 {when} {labels.get('amphora', '-')} colonnade "
        f"{labels.get('listener', '-')} access [colonnade@{_ENTERPRISE}{told}] "
    )
    text = head.encode() + line
    return b"%d %b" % (len(text), text)


def _send(path: str, labels: Mapping[str, str], line: socket.socket) -> None:
    for lines in batches(path):
        line.sendall(b"".join(message(one, labels) for one in lines))
    if not isinstance(line, ssl.SSLSocket):
        line.shutdown(socket.SHUT_WR)
    line.settimeout(CLOSE_S)
    try:
        if isinstance(line, ssl.SSLSocket):
            line.unwrap()
        else:
            line.recv(1)
    except TimeoutError:
        return
    except ssl.SSLError as error:
        raise Failed(f"the connection did not end in order: {error.reason}") from error
