# SPDX-License-Identifier: Apache-2.0
"""What all flat nouns share, whatever they are: changes at once, null, and one description."""

import asyncio

from colonnade.api.flat_nouns import HOOKS, TABLES
from colonnade.domain.flat_nouns import FLAT_NOUNS
from tests.contract.api_client import Api, api

__all__ = ["api"]


async def test_of_two_changes_at_once_neither_is_lost(api: Api) -> None:
    made = await api.post("affinitygroups", {"affinitygroup": {"policy": "colocation"}})
    place = f"affinitygroups/{made['affinitygroup']['id']}"
    for turn in range(5):
        wanted = {"name": f"n{turn}", "description": f"d{turn}"}
        changes = [{"affinitygroup": {name: value}} for name, value in wanted.items()]
        await asyncio.gather(*(api.put(place, change) for change in changes))
        assert (await api.get(place))["affinitygroup"].items() >= wanted.items()
    await api.delete(place)


async def test_null_is_refused_where_there_is_no_default(api: Api) -> None:
    body = {"type": "SYSLOG", "url": "tls://logs.example.org"}
    made = (await api.post("logtargets", {"logtarget": body}))["logtarget"]
    place = f"logtargets/{made['id']}"
    refused = await api.put(place, {"logtarget": {"url": None}}, 400)
    assert refused["faultstring"] == "None is not a valid option for url"
    changed = await api.put(place, {"logtarget": {"name": None, "region": None}})
    assert changed["logtarget"]["name"] == ""
    await api.delete(place)


def test_what_is_special_is_named_after_a_noun_that_there_is() -> None:
    names = [noun.name for noun in FLAT_NOUNS]
    assert len(set(names)) == len(names)
    assert {*HOOKS, *(table.noun.name for table in TABLES)} <= set(names)
