# SPDX-License-Identifier: Apache-2.0
"""Requests that no friend sends: what must be refused with words, and must not be let through."""

from typing import Any

import pytest

from tests.contract.api_client import Api, api
from tests.fakes.network import PUBLIC_SUBNET_V6

__all__ = ["api"]

NOBODY = "00000000-0000-0000-0000-0000000000ff"

SCOPED = ("fe80::1%eth0", "fe80::1%x\n  server evil 192.0.2.1:80")


async def test_no_address_brings_text_along(api: Api) -> None:
    """A scope may be any text, and addresses are written into configurations."""
    root = await api.load_balancer()
    pool = await api.pool(root)
    for text in SCOPED:
        vip = {"vip_subnet_id": PUBLIC_SUBNET_V6, "vip_address": text}
        for provider in ("noop", "amphora"):
            body = {"loadbalancer": vip | {"provider": provider}}
            refusal = await api.post("loadbalancers", body, 400)
            assert "Value should be IPv4 or IPv6 format" in refusal["faultstring"]
        for name in ("address", "monitor_address"):
            refusal = await api.member(pool, 400, **{name: text})
            assert f"attribute {name}." in refusal["faultstring"]
        refusal = await api.listener(root, 400, allowed_cidrs=[f"{text}/64"])
        assert "Value should be IPv4 or IPv6 CIDR format" in refusal["faultstring"]


@pytest.mark.parametrize("name", ["address", "monitor_address"])
@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254"])
async def test_no_member_is_where_instances_find_their_metadata(
    api: Api, name: str, address: str
) -> None:
    pool = await api.pool(await api.load_balancer())
    refusal = await api.member(pool, 400, **{name: address})
    assert f"is not a valid option for member {name}" in refusal["faultstring"]
    batch = {"members": [{"address": "10.0.0.9", "protocol_port": 80, name: address}]}
    await api.put(f"pools/{pool['id']}/members", batch, 400)


async def test_no_number_is_more_than_clients_can_read(api: Api) -> None:
    pool = await api.pool(await api.load_balancer())
    for name in ("delay", "timeout"):
        for number in (2**31, 10**30):
            refusal = await api.monitor(pool, 400, **{name: number})
            assert f"attribute {name}." in refusal["faultstring"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("availabilityzones/%00", "NUL"),
        ("quotas/%00", "NUL"),
        ("secrets/%00", "NUL"),
        ("secrets/x", "Secret x not found."),
        ("affinitygroups/x", "Affinity Group x not found."),
        ("logtargets/x", "Log Target x not found."),
        (f"logtargets/{NOBODY}", "Log Target "),
        ("loadbalancers/x", "Load Balancer x not found."),
        ("flavors/x", "Flavor x not found."),
    ],
)
async def test_what_names_nothing_is_not_found(api: Api, path: str, said: str) -> None:
    assert said in (await api.get(path, 404))["faultstring"]


async def test_another_projects_object_marks_no_page(api: Api) -> None:
    """Its place among one's own would tell what it is called."""
    hidden: Any = await api.load_balancer(name="m", project_id="other")
    await api.load_balancer(name="a", project_id="mine")
    path = f"loadbalancers?sort=name&marker={hidden['id']}"
    said = f"Supplied pagination marker '{hidden['id']}' is not valid."
    refusal = await api.get(path, 400, headers={"X-Project-Id": "mine"})
    assert refusal["faultstring"] == said
    assert (await api.get(path, headers={"X-Project-Id": "other"}))["loadbalancers"] == []
    assert (await api.get(path))["loadbalancers"] == []


async def test_whatever_can_be_got_can_be_asked_for_without_its_body(api: Api) -> None:
    root = await api.load_balancer()
    one = f"/v2.0/lbaas/loadbalancers/{root['id']}"
    for path in ("/", "/healthcheck", "/v2.0", "/v2.0/lbaas/loadbalancers", one, one + "/events"):
        stream = {"Accept": "text/event-stream"} if path.endswith("events") else {}
        got = await api.client.get(path)
        answer = await api.client.head(path, headers=stream)
        assert (answer.status_code, answer.content) == (200, b""), path
        assert answer.headers["content-length"] == got.headers["content-length"]
        assert answer.headers["x-openstack-request-id"]
    nothing = await api.client.head("/v2.0/lbaas/loadbalancers/x")
    assert (nothing.status_code, nothing.content) == (404, b"")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/healthcheck", "GET, HEAD, OPTIONS"),
        ("/v2/lbaas/loadbalancers", "GET, HEAD, OPTIONS, POST"),
        (f"/v2/lbaas/pools/{NOBODY}/members", "GET, HEAD, OPTIONS, POST, PUT"),
        (f"/v2/lbaas/loadbalancers/{NOBODY}/failover", "OPTIONS, PUT"),
    ],
)
async def test_a_path_says_its_methods(api: Api, path: str, methods: str) -> None:
    answer = await api.client.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == methods


async def test_events_are_asked_for_by_project_as_lists_are(api: Api) -> None:
    for name in ("mine", "other"):
        await api.load_balancer(project_id=name)
    for asked, who in ((None, {"X-Project-Id": "mine"}), ("mine", {}), ("mine", {})):
        params = {"project_id": asked} if asked else {}
        found = (await api.get("events", headers=who, params=params))["events"]
        assert {event["project_id"] for event in found} == {"mine"}
    await api.get("events?project_id=other", 403, headers={"X-Project-Id": "mine"})
    page = await api.get("events?project_id=mine&since=0&limit=1")
    assert "project_id=mine" in page["events_links"][0]["href"]


@pytest.mark.parametrize(
    ("accept", "kind", "body"),
    [
        ("", "text/plain", "OK"),
        ("*/*", "text/plain", "OK"),
        ("text/html, application/json", "text/html", "<p>OK</p>"),
        ("application/json", "application/json", '"reasons": ["OK"]'),
    ],
)
async def test_a_probe_chooses_its_format(api: Api, accept: str, kind: str, body: str) -> None:
    answer = await api.client.get("/healthcheck", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert body in answer.text
