# SPDX-License-Identifier: Apache-2.0
"""A system is backed up while it serves, and restored elsewhere: the same VIP answers, over TLS
with the key that was kept, and tokens and addresses are those of before."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import finding
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.certificates import made

LEAF = made("www.example.org", names=("www.example.org",))


async def said(*words: str) -> tuple[int, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *colonnade(*words), stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out + err).decode()


async def test_a_backup_is_restored_elsewhere_and_serves_the_same_vips(tmp_path: Path) -> None:
    phrase, wrong, file = tmp_path / "phrase", tmp_path / "wrong", tmp_path / "web.backup"
    phrase.write_text("correct horse battery\n")
    wrong.write_text("another horse battery\n")
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    key = ("--passphrase-file", str(phrase))
    async with running(state=old) as first, Rest(first.endpoint) as rest, Hosts(old) as hosts:
        before = Scenario(rest, hosts, Figures())
        for step in (before.hosts, before.spare, before.create):
            await step()
        listener = await _over_tls(rest, before.load_balancer["id"])
        code, words = await said("backup", str(file), "--state", str(old), *key)
        assert code == 0, words
        code, words = await said("backup", str(file), "--state", str(old), *key)
        assert (code, "is there already" in words) == (1, True)
        code, words = await said("restore", str(file), "--state", str(old), *key)
        assert (code, "is not empty" in words) == (1, True)
    assert first.left == []
    assert file.stat().st_mode & 0o077 == 0
    shutil.rmtree(old)

    bad = ("--passphrase-file", str(wrong))
    code, words = await said("restore", str(file), "--state", str(new), *bad)
    assert (code, "another passphrase" in words) == (1, True)
    code, words = await said("restore", str(file), "--state", str(new), *key)
    assert code == 0, words
    assert finding.settings_of(None, new).state_dir == new
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "phrase", "web.backup", "wrong"]

    async with running(state=new) as second, Rest(second.endpoint) as rest, Hosts(new) as hosts:
        after = Scenario(rest, hosts, Figures())
        path = f"lbaas/loadbalancers/{before.load_balancer['id']}"
        after.load_balancer = (await rest.get(path))["loadbalancer"]
        assert after.load_balancer["vip_address"] == before.load_balancer["vip_address"]
        await after.hosts()
        async with after.visits(50) as visits:
            await visits.first_ok(since=0.0, what="the load balancer that was restored")

        async def is_served() -> bool:
            found = (await rest.get(f"lbaas/listeners/{listener['id']}"))["listener"]
            return bool(found["provisioning_status"] == "ACTIVE")

        # Its key was opened with the master key that was kept.
        await until(is_served, within_s=30, what="the TLS listener to be served")
    assert second.left == []


async def _over_tls(rest: Rest, load_balancer_id: str) -> Any:
    secret = await rest.post("lbaas/secrets", {"secret": {"pem": LEAF.public + LEAF.secret}})
    listener = {
        "loadbalancer_id": load_balancer_id,
        "protocol": "TERMINATED_HTTPS",
        "protocol_port": 443,
        "default_tls_container_ref": secret["secret_ref"],
    }
    return await rest.post("lbaas/listeners", {"listener": listener})
