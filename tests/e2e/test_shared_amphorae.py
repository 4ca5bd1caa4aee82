# SPDX-License-Identifier: Apache-2.0
"""Several load balancers share one amphora, and nothing that befalls one is felt by the others:
real processes, namespaces and packets."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import folders
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import NotFound
from colonnade.drivers.amphora.haproxy import render
from tests import inside
from tests.befallen import befallen_site
from tests.environments import needs_keepalived
from tests.shared import SETTLE_S_MAX, Shared

GAP_S_MAX = 3.0  # some 0.3 s where nothing else is done; silence is noticed after 3.5 s
WRONG = 4321  # a limit of connections that the templates of this test make a mistake of


def _templates(folder: Path) -> Path:
    shutil.copytree(Path(render.__file__).with_name("templates"), folder)
    frontend = folder / "frontend.j2"
    text = frontend.read_text()
    mistake = f'\n{{%- if view.connection_limit|string == "{WRONG}" %}}\n    wrong\n{{%- endif %}}'
    frontend.write_text(text.replace("\n    timeout client", mistake + "\n    timeout client", 1))
    return folder


async def test_what_befalls_one_load_balancer_is_not_felt_by_the_others_on_its_amphora(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    templates = _templates(tmp_path / "templates")
    folders.config_file(state).write_text(f'templates_dir = "{templates}"\n')
    async with (
        running("--spares", "0", state=state) as system,
        Rest(system.endpoint) as rest,
        Hosts(system.state) as hosts,
    ):
        site = Shared(rest, hosts)
        await site.begin(3, spare_pool_size=1)
        began = time.time()
        for name in ("one", "two", "three"):
            await site.add(name)
            print(f"{name} is served after {time.time() - began:.2f} s")  # noqa: T201 - with -s
        (carrier,) = {name for found in await site.carriers() for name in found}
        one, two, three = site.roots
        async with site.visited([one, two]) as clients:
            await _agent_is_killed(site, system, carrier)
            await _is_refused(site, three)
            await _takes_a_change(site, one)
            await site.delete(three)
        assert [client.failed() for client in clients] == [[], []]
        await _counts_its_own(site, one, two)
        async with site.visited([one, two]) as clients:
            began = time.time()
            await rest.put(f"octavia/amphorae/{carrier}/failover")
            await site.moved({carrier})
        gaps = [client.longest_gap(began) for client in clients]
        print(f"asked to leave: gaps {gaps}")  # noqa: T201 - with -s
        assert [client.failed() for client in clients] == [[], []]
        (carrier,) = {name for found in await site.carriers() for name in found}
        await site.spare()
        async with site.visited([one, two]) as clients:
            began = time.time()
            await hosts.kill_amphora(carrier)
            await site.moved({carrier})
        gaps = [client.longest_gap(began) for client in clients]
        print(f"killed: gaps {gaps}")  # noqa: T201 - with -s
        for root in list(site.roots):
            await site.delete(root)
        await _is_empty(rest)
    assert system.left == []


@pytest.mark.timed
@needs_keepalived
async def test_halves_of_pairs_share_amphorae_and_all_that_one_held_move_to_the_others() -> None:
    """With fifty: `TOPOLOGIES=pair LOAD_BALANCERS=50 python -m bench takeover`."""
    async with befallen_site("pair", 3) as site:
        both, *others = await site.carriers()
        assert len(both) == 2
        assert others == [both] * 2
        missed = await site.missed("killed")
        print(f"killed: {missed}")  # noqa: T201 - with -s
        assert missed.announced_s is not None
        assert missed.announced_s < GAP_S_MAX, "each of them takes over by itself"
        assert missed.gap_s < GAP_S_MAX


async def _agent_is_killed(site: Shared, system: System, carrier: str) -> None:
    """The next one serves as all that it served as, and nobody is replaced."""
    before = [await site.seats(root) for root in site.roots]
    pids = await asyncio.to_thread(inside.agents_of, system, len(site.roots))
    assert len(pids) == 1
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for root in site.roots:
        await _takes_a_change(site, root)
    assert await site.carriers() == [{carrier}] * len(site.roots)
    after = [await site.seats(root) for root in site.roots]
    assert [[s["id"] for s in seats] for seats in after] == [
        [s["id"] for s in seats] for seats in before
    ]


async def _is_refused(site: Shared, root: dict[str, Any]) -> None:
    """haproxy does not take what one of them asks for, and says so of that one."""
    place = f"lbaas/listeners/{root['listeners'][0]['id']}"
    await site.rest.put(place, {"listener": {"connection_limit": WRONG}})
    await site.settled(root, status="ERROR")
    found: Any = await site.rest.get(f"lbaas/loadbalancers/{root['id']}")
    assert "wrong" in found["loadbalancer"]["last_error"]["message"]


async def _takes_a_change(site: Shared, root: dict[str, Any]) -> None:
    place = f"lbaas/listeners/{root['listeners'][0]['id']}"
    listener: Any = await site.rest.get(place)
    limit = WRONG + 1 if listener["listener"]["connection_limit"] == WRONG + 2 else WRONG + 2
    await site.rest.put(place, {"listener": {"connection_limit": limit}})
    await site.settled(root)


async def _counts_its_own(site: Shared, *roots: dict[str, Any]) -> None:
    """Each entry of the list of amphorae tells of the one load balancer that it serves."""
    for root in roots:
        (seat,) = await site.seats(root)

        async def counted(seat_id: str = seat["id"]) -> Any:
            try:
                found: Any = await site.rest.get(f"octavia/amphorae/{seat_id}/stats")
            except NotFound:
                return None
            return found["amphora_stats"]

        (stats,) = await until(counted, within_s=SETTLE_S_MAX, what="counters")
        assert stats["loadbalancer_id"] == root["id"]


async def _is_empty(rest: Rest) -> None:
    """The last load balancer takes its amphora along."""

    async def only_spares() -> bool:
        found: Any = await rest.get("octavia/amphorae")
        return all(a["compute_id"] == a["id"] for a in found["amphorae"]) and not any(
            a["status"] == "ALLOCATED" for a in found["amphorae"]
        )

    await until(only_spares, within_s=SETTLE_S_MAX, what="no amphora to be in use")
