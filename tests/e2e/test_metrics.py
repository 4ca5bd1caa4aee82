# SPDX-License-Identifier: Apache-2.0
"""Prometheus finds each process of a running system, and hears of nothing that the page has not."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from colonnade.cli.local.metrics_places import FILE, places
from colonnade.cli.local.system import running
from tests.api_server import eventually
from tests.environments import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text()
DOCUMENTED = set(re.findall(r"^\| `(colonnade_\w+)`", PAGE, re.MULTILINE))
READY_S = 60.0


async def test_each_process_is_found_and_tells_what_the_page_says(tmp_path: Path) -> None:
    async with running("--spares", "1", state=tmp_path) as system, httpx.AsyncClient() as client:
        found = places(tmp_path)
        assert list(found) == ["api", "controller", "health", "network", "notifier"]

        async def told(office: str, path: str = "/metrics") -> Mapping[str, Any]:
            answer = await client.get(f"http://{found[office]}{path}")
            assert answer.status_code == 200, answer.text
            return {
                one.name: one for one in text_string_to_metric_families(answer.text) if one.samples
            }

        async def all_answer() -> bool:
            """A system is ready when its API is; the others begin a moment later."""
            try:
                return all([await told(office) for office in found])
            except httpx.ConnectError:
                return False

        await eventually(all_answer, within_s=READY_S)
        for office in found:
            ours = {_name(one) for one in (await told(office)).values() if _is_ours(one)}
            assert ours <= DOCUMENTED, office
            assert "colonnade_certificate_not_after_timestamp_seconds" in ours

        async def a_spare_is_there() -> bool:
            amphorae = (await told("controller")).get("colonnade_amphorae")
            return amphorae is not None and any(
                one.labels["state"] == "SPARE" and one.value == 1 for one in amphorae.samples
            )

        await eventually(a_spare_is_there, within_s=READY_S)
        listed = (await client.get(f"{system.endpoint}/v2/octavia/amphorae")).json()["amphorae"]
        one = await told("controller", f"/amphorae/{listed[0]['id']}/metrics")
        assert {_name(family) for family in one.values()} <= DOCUMENTED
        assert one["colonnade_amphora_up"].samples[0].value == 1
        assert one["colonnade_amphora_agent_memory_bytes"].samples[0].value > 0
    assert system.left == []
    assert not (tmp_path / FILE).exists()


def _is_ours(family: Any) -> bool:
    return str(family.name).startswith("colonnade")


def _name(family: Any) -> str:
    return f"{family.name}_total" if family.type == "counter" else str(family.name)
