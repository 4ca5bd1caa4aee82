# SPDX-License-Identifier: Apache-2.0
"""No answer tells a user of the machinery: amphorae, the LB network, files, the program itself.

Every noun is walked over, in lists, alone and as an error, on a cluster that has failed with the
worst of words. What the user configured, and what haproxy says of it, stays to be read.
"""

import re
from typing import Any

import pytest

from colonnade.domain.ids import PortId, SubnetId, new_id
from colonnade.drivers.network.protocol import PortWish
from colonnade.store.postgres.database import Database
from colonnade.store.queue.user_messages import for_users
from tests.certificates import authority
from tests.certificates import made as certificate
from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

RULE = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/x"}
AMPHORA = "0d5c1a3e-6a1b-4c55-9b0a-3d8f5e0f7a11"
SAID = (
    "[NOTICE]   (71) : path to executable is /usr/sbin/haproxy\n"
    "[ALERT]    (71) : config : parsing [/run/colonnade/haproxy.cfg:12] : 'bind' : bad word 'x'\n"
    f"amphora {AMPHORA} at 198.18.0.7:9443 refused /run/colonnade/files/a.pem\n"
    '  File "/usr/lib/colonnade/agent.py", line 3, in apply\n'
    "[ALERT]    (71) : config : Error(s) found in configuration file : /run/colonnade/haproxy.cfg\n"
)
DENIED = re.compile(
    rf"{AMPHORA}|amphora:|host:|compute_id|lb_network|198\.1[89]\.|Traceback|\.py\b|line \d"
    r"|/(?:run|usr|tmp|var|home|root|etc)/|\[ALERT\]|psycopg|msgspec|litestar|SELECT "
    r"|\.sock\b|\.state\b|cluster_id|colonnade\.\w|NODENAME|BEGIN [A-Z ]*PRIVATE"
)


async def _answers(api: Api) -> list[str]:
    """The text of every kind of answer that a user may get."""
    root = await api.load_balancer("amphora", name="shop")
    listener = await api.listener(root)
    pool = await api.pool(root, listener_id=listener["id"])
    member = await api.member(pool)
    monitor = await api.monitor(pool)
    places = {
        "loadbalancers": root["id"],
        "listeners": listener["id"],
        "pools": pool["id"],
        f"pools/{pool['id']}/members": member["id"],
        "healthmonitors": monitor["id"],
    }
    paths = [f"/v2/lbaas/{path}" for path in (*places, *(f"{p}/{i}" for p, i in places.items()))]
    paths += [f"/v2/lbaas/{path}/{new_id()}" for path in places]
    paths += [f"/v2/lbaas/{path}?{word}=1" for path in places for word in ("sort", "nonsense")]
    paths += [f"/v2/lbaas/loadbalancers/{root['id']}/{word}" for word in ("stats", "status")]
    extras = ("events", "history", "tree")
    paths += [f"/v2/lbaas/loadbalancers/{root['id']}/{word}" for word in extras]
    paths += ["/v2/lbaas/events", "/v2/lbaas/affinitygroups"]
    paths += ["/v2.0/networks", "/v2.0/subnets", "/v2.0/ports", "/", "/v2/lbaas/providers"]
    paths += ["/nothing", f"/v2.0/ports/{new_id()}", f"/v2.0/ports/{root['vip_port_id']}"]
    user = {"X-Project-Id": root["project_id"]}
    texts = [(await api.client.get(path, headers=user)).text for path in paths]
    paths.append("/v2/octavia/amphorae")
    texts.append((await api.client.get(paths[-1], headers=user)).text)
    texts += await _answers_of_ours(api, user, root)
    for path in (*places, f"pools/{pool['id']}/members/{member['id']}"):
        for body in (b"{", b"[]", b'{"x": 1}', b'{"member": {"weight": "a"}}'):
            for method in ("POST", "PUT"):
                answer = await api.client.request(method, f"/v2/lbaas/{path}", content=body)
                texts.append(answer.text)
    return texts


async def _answers_of_ours(api: Api, user: dict[str, str], root: Any) -> list[str]:
    """Secrets, targets, catalogues, numbers, the past, and what a change would do."""
    pem = certificate("www.example.org", authority("Test CA")).pem
    secret = (await api.post("secrets", {"secret": {"pem": pem}}, headers=user))["secret"]
    target = {"name": "a", "type": "SYSLOG", "url": "tls://logs.example.org:6514"}
    group = {"name": "a", "policy": "colocation"}
    listener = {
        "protocol": "TERMINATED_HTTPS",
        "protocol_port": 443,
        "default_tls_container_ref": secret["secret_ref"],
        "access_log": {"format": "JSON"},
        "l7policies": [{"action": "REJECT", "rules": [RULE]}],
        "default_pool": {
            "name": "p",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "session_persistence": {"type": "SOURCE_IP"},
            "tls_enabled": True,
            "members": [{"address": "10.0.0.9", "protocol_port": 80}],
        },
    }
    whole = {"name": "x", "listeners": [listener]}
    new = whole | {"vip_subnet_id": PRIVATE_SUBNET, "provider": "amphora"}
    one = f"loadbalancers/{root['id']}"
    asked: list[tuple[str, str, Any]] = [
        ("POST", "logtargets", {"logtarget": target}),
        ("POST", "affinitygroups", {"affinitygroup": group}),
        ("POST", "loadbalancers?dry_run=true", {"loadbalancer": new}),
        ("POST", "loadbalancers", {"loadbalancer": new}),
        ("PUT", f"{one}/tree?dry_run=true", {"loadbalancer": whole}),
        ("PUT", f"{one}/tree", {"loadbalancer": whole}),
        ("PUT", f"{one}?wait=0", {"loadbalancer": {"name": "y"}}),
        ("POST", f"{one}/rollback?dry_run=true", {"generation": 1}),
        ("POST", f"{one}/rollback", {"generation": 1}),
        ("POST", f"{one}/rollback", {"generation": 99}),
        ("DELETE", f"{one}?dry_run=true&cascade=true", None),
    ]
    nouns = ("secrets", "logtargets", "affinitygroups", "flavors", "availabilityzones", "quotas")
    looks = (*nouns, "metrics", "events?limit=1000", "l7policies", "flavorprofiles", "nonsense")
    asked += [("GET", word, None) for word in looks]
    asked += [("GET", f"{one}/{word}", None) for word in ("statistics", "history", "events")]
    asked += [("GET", f"quotas/{root['project_id']}", None), ("GET", "quotas/defaults", None)]
    texts = []
    for method, path, body in asked:
        answer = await api.client.request(method, f"/v2/lbaas/{path}", json=body, headers=user)
        assert answer.status_code < 500, (method, path, answer.text)
        texts.append(answer.text)
    assert sum('"configuration":{' in text for text in texts) == 4
    return texts


async def test_no_answer_tells_of_the_machinery(api: Api, database: Database) -> None:
    for owner in (f"amphora:{AMPHORA}", "host:web-1", "control"):
        await api.network.create_port(
            PortWish(id=PortId(new_id()), owner=owner, subnet_id=SubnetId(PRIVATE_SUBNET))
        )
    async with database.transaction() as connection:
        await connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " NEW.failed_at := NEW.generation + 9;"
            f" NEW.last_error := jsonb_build_object('code', 'Rejected',"
            f" 'at', now(), 'message', $said${SAID}$said$);"
            " RETURN NEW; END $$"
        )
        await connection.execute(
            "CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON clusters"
            " FOR EACH ROW EXECUTE FUNCTION fail()"
        )
    try:
        texts = await _answers(api)
    finally:
        async with database.transaction() as connection:
            await connection.execute("DROP TRIGGER fail ON clusters")
            await connection.execute("DROP FUNCTION fail()")
    leaks = [(text, found.group()) for text in texts if (found := DENIED.search(text))]
    assert not leaks
    assert any("'bind' : bad word 'x'" in text for text in texts)


async def test_ports_that_are_shown_are_of_vips_in_neutrons_words(api: Api) -> None:
    root = await api.load_balancer("amphora")
    await api.network.create_port(
        PortWish(id=PortId(new_id()), owner="host:web-1", subnet_id=SubnetId(PRIVATE_SUBNET))
    )
    ports = (await api.ask("GET", "/v2.0/ports"))["ports"]
    assert [(p["id"], p["device_owner"], p["device_id"]) for p in ports] == [
        (root["vip_port_id"], "Octavia", f"lb-{root['id']}")
    ]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (SAID, "'bind' : bad word 'x'; an amphora at an internal address refused"),
        ("subnet 10.0.0.0/24 has no free address", "subnet 10.0.0.0/24 has no free address"),
        ("the path /status/live is not allowed", "the path /status/live is not allowed"),
        (f"amphora {AMPHORA} is not ready", "an amphora is not ready"),
        ("/run/colonnade/x", "The load balancer cannot be served; its operator knows why."),
    ],
)
def test_what_the_machinery_said_is_shown_without_it(said: str, shown: str) -> None:
    assert for_users(said) == shown


async def test_members_wait_offline_for_a_new_monitor(api: Api) -> None:
    pool = await api.pool(await api.load_balancer("amphora"))
    member = await api.member(pool)
    place = f"pools/{pool['id']}/members/{member['id']}"
    assert member["operating_status"] == "NO_MONITOR"
    monitor = await api.monitor(pool)
    assert (await api.get(place))["member"]["operating_status"] == "OFFLINE"
    assert (await api.member(pool, address="10.0.0.12"))["operating_status"] == "OFFLINE"
    await api.delete(f"healthmonitors/{monitor['id']}")
    assert (await api.get(place))["member"]["operating_status"] == "NO_MONITOR"


@pytest.mark.parametrize("provider", ["amphora", "noop"])
async def test_a_domain_name_needs_http_1_1(api: Api, provider: str) -> None:
    pool = await api.pool(await api.load_balancer(provider))
    for version in ({}, {"http_version": 1.0}):
        answer = await api.monitor(pool, 400, domain_name="www.example.org", **version)
        assert "domain_name" in answer["faultstring"]
    monitor = await api.monitor(pool, http_version=1.1)
    path = f"healthmonitors/{monitor['id']}"
    change = {"healthmonitor": {"domain_name": "www.example.org"}}
    assert (await api.put(path, change))["healthmonitor"]["domain_name"] == "www.example.org"
    await api.put(path, {"healthmonitor": {"http_version": 1.0}}, 400)


async def test_the_answer_to_a_create_is_what_a_look_shows(api: Api) -> None:
    async def look(path: str, noun: str, made: Any) -> None:
        shown = (await api.get(path))[noun]
        # What is served has a time of its first update; the answer to the create has none.
        served = made["provisioning_status"] == "ACTIVE"
        assert made["updated_at"] is None
        assert shown == made | {"updated_at": made["created_at"] if served else None}

    for provider in ("amphora", "noop"):
        root = await api.load_balancer(provider, name="shop", tags=["a"])
        await look(f"loadbalancers/{root['id']}", "loadbalancer", root)
        listener = await api.listener(root)
        await look(f"listeners/{listener['id']}", "listener", listener)
        members = [{"address": f"10.0.0.{n}", "protocol_port": 80} for n in (3, 1, 2)]
        pool = await api.pool(root, listener_id=listener["id"], members=members)
        await look(f"pools/{pool['id']}", "pool", pool)
        member = await api.member(pool)
        await look(f"pools/{pool['id']}/members/{member['id']}", "member", member)
        monitor = await api.monitor(pool)
        await look(f"healthmonitors/{monitor['id']}", "healthmonitor", monitor)
