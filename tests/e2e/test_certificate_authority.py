# SPDX-License-Identifier: Apache-2.0
"""The authority of our own certificates is exchanged while all runs: no request fails, nobody is
replaced, and every process speaks to every other afterwards."""

import asyncio
from pathlib import Path

from cryptography import x509

from colonnade.cli.demo.scenario import PUBLIC, Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from tests.untouched import bystander, untouched

RATE = 50.0


async def test_the_authority_is_rotated_and_nothing_is_lost(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    async with (
        running("--spares", "1", state=tmp_path) as system,
        Rest(system.endpoint) as rest,
        Hosts(system.state) as hosts,
    ):
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        other = await bystander(rest, await hosts.subnet(PUBLIC))
        before = authorities(pki)
        async with untouched(rest, str(scenario.load_balancer["id"]), other):
            async with scenario.visits(RATE) as visits:
                rotating = await asyncio.create_subprocess_exec(
                    *colonnade("ca", "rotate", "--state", str(tmp_path)),
                    stdout=asyncio.subprocess.PIPE,
                )
                said, _ = await rotating.communicate()
            assert rotating.returncode == 0
            assert said.decode().splitlines()[-1] == "the old authority is trusted no more"
            assert visits.failed() == []
            after = authorities(pki)
            assert len(before) == len(after) == 1
            assert before != after
            assert sorted(path.name for path in pki.iterdir() if "next" in path.name) == []
            # A controller pushes, an amphora answers, and its heartbeats are believed.
            await scenario.third_member()
        spares = await rest.get("octavia/amphorae?status=READY")
        assert spares["amphorae"], "one that was a spare before, or has been born since"
    assert system.left == []


def authorities(pki: Path) -> list[int]:
    found = x509.load_pem_x509_certificates((pki / "ca.pem").read_bytes())
    return [one.serial_number for one in found]
