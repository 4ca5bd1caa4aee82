# SPDX-License-Identifier: Apache-2.0
"""The compute driver as controllers use it: calls to the daemon that also serves the networks.

What an amphora is born with travels over mutual TLS only, and no error repeats it.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from colonnade.domain.ids import AmphoraId
from colonnade.drivers.compute.protocol import Boot, Instance
from colonnade.drivers.network.namespaces.wire import Connection, Seat


class ComputeClient:
    name = "namespaces"

    def __init__(self, url: str, identity_file: Path, ca_file: Path) -> None:
        self._connection = Connection(url, identity_file, ca_file)

    async def close(self) -> None:
        await self._connection.close()

    async def create(self, boot: Boot) -> None:
        if boot.carrier_id is None:
            await self._connection.call("PUT", _path(boot.amphora_id), type(None), boot)
        else:  # a call of its own, which an older daemon does not take for another
            path = f"/v1/seats/{quote(boot.amphora_id, safe='')}"
            await self._connection.call("PUT", path, type(None), Seat(boot.carrier_id))

    async def instance(self, amphora_id: AmphoraId) -> Instance | None:
        answer: type[Instance | None] = Instance | None  # type: ignore[assignment]
        return await self._connection.call("GET", _path(amphora_id), answer)

    async def instances(self) -> Sequence[Instance]:
        return await self._connection.call("GET", "/v1/instances", list[Instance])

    async def destroy(self, amphora_id: AmphoraId) -> None:
        await self._connection.call("DELETE", _path(amphora_id), type(None))


def _path(amphora_id: str) -> str:
    return f"/v1/instances/{quote(amphora_id, safe='')}"
