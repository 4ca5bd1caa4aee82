# SPDX-License-Identifier: Apache-2.0
"""An amphora that several load balancers share, after its lab has ended: it is back with those that
it carried, and nobody is replaced."""

from pathlib import Path

from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from tests.shared import CLIENT, Shared
from tests.untouched import failures


async def test_a_shared_amphora_is_back_with_all_that_it_carried(tmp_path: Path) -> None:
    async with (
        running("--spares", "0", state=tmp_path) as first,
        Rest(first.endpoint) as rest,
        Hosts(tmp_path) as hosts,
    ):
        site = Shared(rest, hosts)
        await site.begin(3)
        for name in ("one", "two", "gone"):
            await site.add(name)
        await site.delete(site.roots[-1])
        before = [await site.seats(root) for root in site.roots]
    assert len({seat["compute_id"] for found in before for seat in found}) == 1
    async with (
        running("--spares", "0", state=tmp_path) as second,
        Rest(second.endpoint) as rest,
        Hosts(tmp_path) as hosts,
    ):
        await hosts.web_server("web1", site.member)
        await hosts.add(CLIENT, "public", argv=[])
        site.rest, site.hosts = rest, hosts
        async with site.visited(site.roots) as clients:
            for root in site.roots:
                place = f"lbaas/loadbalancers/{root['id']}"
                await rest.put(place, {"loadbalancer": {"description": "after"}})
            await site.settled()
        assert [client.failed() for client in clients] == [[], []]
        assert [await site.seats(root) for root in site.roots] == before
        assert [await failures(rest, root["id"]) for root in site.roots] == [[], []]
    log = (tmp_path / "logs/network.log").read_text()
    assert [log.count("a seat is back"), log.count("is not back")] == [2, 0]
