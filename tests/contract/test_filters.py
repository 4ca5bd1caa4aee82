# SPDX-License-Identifier: Apache-2.0
"""What a list shows can be asked for: every attribute of every noun, by the value that is shown,
finds the object, and by another value does not. What has no word is refused, never ignored."""

from typing import Any
from uuid import UUID

import pytest

from colonnade.domain.addresses import is_address
from colonnade.domain.ids import is_id, new_id
from colonnade.store.postgres.database import Database
from tests.certificates import made
from tests.contract.api_client import Api, api

__all__ = ["api"]

LISTS = (
    "loadbalancers",
    "listeners",
    "pools",
    "members",
    "healthmonitors",
    "l7policies",
    "rules",
    "amphorae",
    "flavors",
    "flavorprofiles",
    "availabilityzones",
    "availabilityzoneprofiles",
    "quotas",
    "secrets",
    "logtargets",
    "webhooks",
    "affinitygroups",
)
# Objects, lists of objects, and what is computed for the reader.
SHAPED = frozenset(
    {
        "additional_vips",
        "insert_headers",
        "access_log",
        "session_persistence",
        "outlier_ejection",
        "redirect_pools",
        "rate_limit",
        "fixed_response",
        "rewrite",
        "issues",
        "last_error",
        "secret_ref",
        "expires_in",
        "has_credentials",
        "shipping",
        "sending",
    }
)
NOTHING = object()
TLS = {"protocol": "TERMINATED_HTTPS", "default_tls_container_ref": "cert"}
HTTP11: dict[str, Any] = {"http_version": 1.1, "domain_name": "example.org", "url_path": "/?a=b&c"}
FLAVOR = {"name": "fp", "provider_name": "noop", "flavor_data": '{"compute_flavor": "a+b"}'}
ZONE = {"name": "zp", "provider_name": "noop", "availability_zone_data": "{}"}


LEAF = made("www.example.org", names=("www.example.org", "example.org"))
CERTIFICATE = {"pem": LEAF.public + LEAF.secret}


class Grown:
    """One object of each noun and more, by the list where it is: (path, word)."""

    def __init__(self, api: Api, provider: str) -> None:
        self.api, self.provider = api, provider
        self.places = {one: (f"/v2/lbaas/{one}", one) for one in LISTS}

    async def made(self, path: str, word: str, **body: Any) -> Any:
        return (await self.api.post(path, {word: body}))[word]

    async def grow(self) -> None:
        api = self.api
        behind = await self.made("flavorprofiles", "flavorprofile", **FLAVOR)
        flavor = await self.made("flavors", "flavor", name="f", flavor_profile_id=behind["id"])
        apart = await self.made("availabilityzoneprofiles", "availability_zone_profile", **ZONE)
        await self.made(
            "availabilityzones", "availability_zone",
            name="z", availability_zone_profile_id=apart["id"],
        )  # fmt: skip
        group = await self.made("affinitygroups", "affinitygroup", name="g", policy="colocation")
        target = await self.made(
            "logtargets", "logtarget", name="t", type="SYSLOG", url="tcp://192.0.2.1:514"
        )
        await self.made("secrets", "secret", name="s", **CERTIFICATE)
        await self.made(
            "webhooks", "webhook", name="w", url="https://hooks.test/?a=b", secret="A" * 43 + "=",
            kinds=["failed", "gone"],
        )  # fmt: skip
        await api.put("quotas/default", {"quota": {"loadbalancer": 100}}, 202)
        offered = {"flavor_id": flavor["id"], "availability_zone": "z"}
        root = await api.load_balancer(
            self.provider, name="a & b", description="x", tags=["red"],
            affinity_group_id=group["id"], access_log={"target_id": target["id"]},
            vip_qos_policy_id=new_id(),
            **({"vip_sg_ids": [new_id()], **offered} if self.provider == "noop" else {}),
        )  # fmt: skip
        other = await api.load_balancer(self.provider, admin_state_up=False)
        pool = await api.pool(root, name="p", tls_enabled=True, tls_versions=["TLSv1.3"])
        kinds: dict[str, Any] = TLS if self.provider == "noop" else {}
        listener = await api.listener(
            root, default_pool_id=pool["id"], insert_headers={"X-Real-IP": "true"}, **kinds
        )
        await api.listener(other, admin_state_up=False, allowed_cidrs=["10.0.0.0/8"])
        await api.pool(other, session_persistence={"type": "SOURCE_IP"}, admin_state_up=False)
        await api.member(
            pool, name="m", monitor_address="10.0.0.9", monitor_port=9, backup=True, weight=0
        )
        await api.member(pool, address="2001:DB8::1", admin_state_up=False)
        await api.monitor(pool, **HTTP11)
        policy = await self.made(
            "l7policies", "l7policy",
            listener_id=listener["id"], action="REDIRECT_TO_POOL", redirect_pool_id=pool["id"],
        )  # fmt: skip
        await self.made(
            "l7policies", "l7policy", listener_id=listener["id"], action="REDIRECT_TO_URL",
            redirect_url="https://example.org/?a=b", admin_state_up=False,
        )  # fmt: skip
        rules = f"l7policies/{policy['id']}/rules"
        await self.made(rules, "rule", type="PATH", compare_type="STARTS_WITH", value="/a%20b")
        await self.made(
            rules, "rule",
            type="HEADER", key="X", compare_type="EQUAL_TO", value="1", admin_state_up=False,
        )  # fmt: skip
        await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"description": "y"}})
        self.places |= {
            "members": (f"/v2/lbaas/pools/{pool['id']}/members", "members"),
            "rules": (f"/v2/lbaas/{rules}", "rules"),
            "amphorae": ("/v2/octavia/amphorae", "amphorae"),
            "availabilityzones": ("/v2/lbaas/availabilityzones", "availability_zones"),
            "availabilityzoneprofiles": (
                "/v2/lbaas/availabilityzoneprofiles",
                "availability_zone_profiles",
            ),
        }


def spellings(name: str, value: Any) -> list[str]:
    """The words of a query for a value that is shown."""
    if value is None or value == []:
        return [""]
    if isinstance(value, bool):
        return [str(value), str(value).lower(), str(int(value))]
    if isinstance(value, list):
        return [x["id"] if isinstance(x, dict) else x for x in value]
    text = str(value)
    if name.endswith("_at"):
        return [text, f"{text}Z", f"{text}+00:00", text.replace("T", " ")]
    if is_id(text) and name.endswith("id") and name not in ("project_id", "tenant_id"):
        return [text, text.upper(), UUID(text).hex]
    if is_address(text) and ":" in text:
        return [text, text.lower(), text.replace("::", ":0:0:0:0:0:")]
    return [text]


def another(name: str, value: Any, there: list[Any]) -> str | None:
    """A word for a value that none of the objects shows; None: all that there are, are shown."""
    if isinstance(value, bool):
        return None if (not value) in there else str(not value)
    if (
        name.endswith("_at")
        or name.endswith("_since")
        or name in ("cert_expiration", "not_after", "not_before")
    ):
        return "2001-01-01T00:00:00"
    return new_id()


@pytest.mark.parametrize("provider", ["noop", "amphora"])
async def test_what_a_list_shows_can_be_asked_for(
    api: Api, database: Database, provider: str
) -> None:
    grown = Grown(api, provider)
    await grown.grow()
    await _told(database)
    wrong: list[Any] = []
    for path, word in grown.places.values():
        everything = (await api.ask("GET", path))[word]
        assert everything or (provider, word) == ("amphora", "amphorae"), word
        for name in everything[0] if everything else ():
            if name in SHAPED:
                await api.ask("GET", path, 400, params={name: "x"})
                continue
            there = [one[name] for one in everything]
            for text, value in asked(name, there).items():
                answer = await api.client.get(path, params={name: text})
                found = answer.json().get(word)
                wanted = [x for x in everything if matches(x[name], value, text)]
                if found is None or still(found) != still(wanted):
                    wrong.append((word, name, text, answer.text[:300]))
    assert not wrong, wrong


async def _told(database: Database) -> None:
    """What amphorae say of objects, and what is served, is among what a list shows."""
    async with database.transaction() as connection:
        for table, status in (("members", "ERROR"), ("health_monitors", "OFFLINE")):
            await connection.execute(
                f"UPDATE {table} SET operating_status = %s, operating_since = now(),"
                " operating_reason = 'no answer' WHERE (body -> 'admin_state_up')::boolean",
                [status],
            )
        await connection.execute(
            "UPDATE clusters SET applied_lowest = generation, highest_settled = generation"
            " WHERE id = (SELECT cluster_id FROM members JOIN load_balancers b"
            " ON b.id = load_balancer_id LIMIT 1)"
        )


def asked(name: str, there: list[Any]) -> dict[str, Any]:
    """Each word to ask with, once, and the value that it means; NOTHING for none of them."""
    found = {text: value for value in there for text in spellings(name, value)}
    other = another(name, there[0], there)
    if name == "tags":
        found.pop("", None)  # asks for no tag at all
    return found | ({other: NOTHING} if other is not None else {})


def still(found: list[Any]) -> list[Any]:
    """Without the one attribute that says something else each second."""
    return [{name: x[name] for name in x if name != "expires_in"} for x in found]


def matches(shown: Any, value: Any, text: str) -> bool:
    if isinstance(shown, list) and shown and value:
        return text in [x["id"] if isinstance(x, dict) else x for x in shown]
    return bool(shown == value)


async def test_what_no_list_shows_is_refused(api: Api) -> None:
    grown = Grown(api, "noop")
    await grown.grow()
    for path, _ in grown.places.values():
        for name in ("nonsense", "cluster_id", "request_sriov", "vip", "body"):
            said = await api.ask("GET", path, 400, params={name: "x"})
            assert said["faultstring"] == "One or more arguments are either duplicate or invalid"
    for name in ("created_at", "updated_at"):
        said = await api.get(f"loadbalancers?{name}=yesterday", 400)
        assert "Value should be a time as in" in said["faultstring"]
    await api.ask("GET", grown.places["rules"][0], 400, params={"name": ""})
