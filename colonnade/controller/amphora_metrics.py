# SPDX-License-Identifier: Apache-2.0
"""What one amphora says of itself, asked as somebody asks: `/amphorae/ID/metrics`.

Prometheus cannot reach the LB network, and amphorae answer only to the control plane, so a
controller asks for it. What an amphora says goes through the door of `drivers/amphora/answers.py`
and is told under its own id alone. One that does not answer is told of as down.
"""

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Final, Protocol

from aiohttp import web
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from colonnade.domain.errors import ColonnadeError
from colonnade.domain.ids import AmphoraId, read_id
from colonnade.protocol.messages import Info, Numbers, StatusReport
from colonnade.runtime.metrics import answer
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database

PATH: Final = "/amphorae/{amphora_id}/metrics"
OTHER: Final = "other"
SERVER_STATES: Final = frozenset({"UP", "DOWN", "DRAIN", "MAINT", "NO_CHECK"})


class Agents(Protocol):
    async def info(self, address: str, amphora_id: str) -> Info: ...

    async def status(self, address: str, amphora_id: str) -> StatusReport: ...

    async def numbers(self, address: str, amphora_id: str) -> Numbers: ...


def route(database: Database, agents: Agents) -> web.RouteDef:
    async def told(request: web.Request) -> web.Response:
        try:
            amphora_id = AmphoraId(read_id(request.match_info["amphora_id"]))
        except ValueError:
            raise web.HTTPNotFound(text="this is not the id of an amphora\n") from None
        async with database.read() as connection:
            amphora = await amphora_rows.amphora(connection, amphora_id)
        if amphora is None or amphora.lb_network_ip is None:
            raise web.HTTPNotFound(text="there is no such amphora\n")
        address = amphora.lb_network_ip
        try:
            return answer(
                families(
                    amphora_id,
                    await agents.info(address, amphora_id),
                    await agents.status(address, amphora_id),
                    await agents.numbers(address, amphora_id),
                )
            )
        except ColonnadeError:
            return answer([up(amphora_id, 0)])

    return web.get(PATH, told)


def families(
    amphora_id: str, info: Info, status: StatusReport, numbers: Numbers
) -> Iterable[Metric]:
    """Pure."""
    about = GaugeMetricFamily(
        "colonnade_amphora_info",
        "Always 1: which versions an amphora runs",
        labels=["amphora", "agent_version", "haproxy_version"],
    )
    about.add_metric([amphora_id, info.agent_version, info.haproxy_version], 1)
    servers = GaugeMetricFamily(
        "colonnade_amphora_servers",
        "Servers that haproxy knows, by its word for their state",
        labels=["amphora", "state"],
    )
    states = (one.state if one.state in SERVER_STATES else OTHER for one in status.servers)
    for state, count in sorted(Tally(states).items()):
        servers.add_metric([amphora_id, state], count)
    seconds = CounterMetricFamily(
        "colonnade_amphora_agent_cpu_seconds", "Processor time of the agent", labels=["amphora"]
    )
    seconds.add_metric([amphora_id], numbers.cpu_s)
    return [
        up(amphora_id, 1),
        about,
        _one("generation", "The generation that is served", amphora_id, status.generation),
        _one("haproxy_running", "1 while haproxy runs", amphora_id, int(status.haproxy_running)),
        _one("listeners", "Listeners that are served", amphora_id, len(status.listeners)),
        servers,
        _one(
            *("agent_start_timestamp_seconds", "When the agent began, in seconds since 1970"),
            *(amphora_id, info.started_at),
        ),
        _one("agent_memory_bytes", "Memory of the agent", amphora_id, numbers.resident_bytes),
        _one("agent_open_files", "Open files of the agent", amphora_id, numbers.open_files),
        seconds,
    ]


def up(amphora_id: str, value: int) -> Metric:
    return _one("up", "1 when the amphora answered, else 0", amphora_id, value)


def _one(name: str, words: str, amphora_id: str, value: float) -> Metric:
    family = GaugeMetricFamily(f"colonnade_amphora_{name}", words, labels=["amphora"])
    family.add_metric([amphora_id], value)
    return family
