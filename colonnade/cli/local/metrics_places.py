# SPDX-License-Identifier: Apache-2.0
"""Where the processes of this machine tell Prometheus how they do.

The supervisor opens the sockets, because a process that runs in a network namespace of the lab
could not listen on this machine's loopback; it keeps them while a process is started again. Where
they are is written into the state folder, in the format that Prometheus reads (`file_sd_configs`).
"""

import fcntl
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from colonnade.domain.addresses import endpoint
from colonnade.domain.errors import Broken
from colonnade.runtime.config import METRICS_SOCKET, OFFICES_OF_METRICS, Metrics
from colonnade.runtime.sockets import tcp_listener

FILE: Final = "metrics.json"  # below the state folder
FILES_ABOVE: Final = 64  # shells between here and a process use low numbers for themselves


class Target(msgspec.Struct, frozen=True):
    """As Prometheus reads it."""

    targets: list[str]
    labels: dict[str, str]


class MetricsPlaces:
    def __init__(self, metrics: Metrics, state: Path) -> None:
        self._metrics = metrics
        self._file = state / FILE
        self._sockets: dict[str, socket.socket] = {}

    async def start(self) -> None:
        """Raises Broken when a port that was chosen is taken."""
        for place, office in enumerate(OFFICES_OF_METRICS):
            port = self._metrics.port + place if self._metrics.port else 0
            try:
                self._sockets[office] = _high(tcp_listener(self._metrics.host, port))
            except OSError as error:
                raise Broken(
                    f"metrics cannot be told on {endpoint(self._metrics.host, port)}: "
                    f"{error.strerror}; choose another port or host in the section [metrics]"
                ) from error
        found = {office: endpoint(*own.getsockname()[:2]) for office, own in self._sockets.items()}
        self._file.write_text(places_text(found))

    async def stop(self) -> None:
        self._file.unlink(missing_ok=True)
        for own in self._sockets.values():
            own.close()

    def of(self, office: str) -> Mapping[str, int]:
        """The socket of that process, by the name of the variable that tells it."""
        return {METRICS_SOCKET: self._sockets[office].fileno()}


def places_text(found: Mapping[str, str]) -> str:
    """Where each process answers, as the file has it."""
    listed = [Target([place], {"process": office}) for office, place in found.items()]
    return msgspec.json.format(msgspec.json.encode(listed)).decode() + "\n"


def places(state: Path) -> dict[str, str]:
    """Where a running system answers, by process. Nothing where none runs."""
    try:
        found = msgspec.json.decode((state / FILE).read_bytes(), type=list[Target])
    except (OSError, msgspec.DecodeError):
        return {}
    return {one.labels.get("process", ""): one.targets[0] for one in found if one.targets}


def _high(low: socket.socket) -> socket.socket:
    with low:
        return socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, FILES_ABOVE))
