# SPDX-License-Identifier: Apache-2.0
"""An agent tells what it cannot mend, as it happens and as it passes."""

from tests.agent_bench import Bench, bundle, server, until
from tests.agent_site import AMPHORA_IP


async def told(bench: Bench, *kinds: str) -> None:
    """Exactly these, from some moment on."""

    async def so() -> bool:
        report = await bench.client.status(AMPHORA_IP, bench.amphora_id)
        return tuple(one.kind for one in report.troubles) == kinds

    await until(so)


async def test_a_full_disk_and_a_lost_gateway_are_told_and_taken_back(bench: Bench) -> None:
    await bench.put(bundle(1, server(1)))
    await told(bench)
    bench.site.fill_disk()
    await told(bench, "disk")
    bench.site.fill_disk(free_again=True)
    await told(bench)
    bench.site.forget_routes()
    await told(bench, "gateway", "gateway")  # one of each IP version
    await bench.put(bundle(1, server(1)))
    report = await bench.client.status(AMPHORA_IP, bench.amphora_id)
    assert [one.text for one in report.troubles] == [
        "no route to 203.0.113.1",
        "no route to 2001:db8:1::1",
    ]
