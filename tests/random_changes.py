# SPDX-License-Identifier: Apache-2.0
"""A load balancer under random changes, made through the user API. A seed decides them all.

Every change is valid, and none must by its nature break a request: each pool keeps at least
`USABLE_MIN` members that may be used, all members are alive, checks ask for what is answered,
limits lie above the load, and what traffic flows through is never taken down. Members that are
in use are drained, disabled and removed all the same.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from colonnade.cli.rest import Rest

USABLE_MIN: Final = 2
EXTRA_LISTENERS_MAX: Final = 3
POLICIES_MAX: Final = 4
Change: TypeAlias = Callable[[], Awaitable[None]]
HTTP, TCP = "HTTP", "TCP"


class _Member(msgspec.Struct):
    id: str
    weight: int = 1
    enabled: bool = True
    backup: bool = False

    @property
    def is_usable(self) -> bool:
        return self.enabled and self.weight > 0 and not self.backup


class _Pool(msgspec.Struct):
    id: str
    protocol: str
    endpoints: Sequence[tuple[str, int]]
    members: dict[tuple[str, int], _Member] = {}
    monitor: str = ""

    def stays_usable_without(self, member: _Member) -> bool:
        others = (one for one in self.members.values() if one is not member)
        return sum(one.is_usable for one in others) >= USABLE_MIN


class Tree(msgspec.Struct):
    """What was made at first: listeners by their port."""

    root: dict[str, Any]
    listeners: dict[int, str]
    pools: list[_Pool]
    secrets: list[str]


class Material(msgspec.Struct, frozen=True):
    """What a tree is made of. `hosts` answer on all their ports; `certificates` are PEM with
    keys."""

    vip_subnet: str
    member_subnet: str
    hosts: Sequence[str]
    http_ports: Sequence[int]
    echo_ports: Sequence[int]
    certificates: Sequence[str]


async def make(rest: Rest, material: Material) -> Tree:
    """A load balancer with listeners for HTTP, HTTPS that is ended there, and TCP."""
    secrets = [
        (await rest.post("lbaas/secrets", {"secret": {"pem": pem}}))["id"]
        for pem in material.certificates[:2]
    ]
    root = {"vip_subnet_id": material.vip_subnet, "name": "hitless"}
    root = await rest.post("lbaas/loadbalancers", {"loadbalancer": root})
    pools = []
    for protocol, ports in ((HTTP, material.http_ports),) * 2 + ((TCP, material.echo_ports),):
        endpoints = [(host, port) for host in material.hosts for port in ports]
        first = {endpoint: _Member(id="") for endpoint in endpoints[:: len(ports)]}
        body = {
            "loadbalancer_id": root["id"],
            "protocol": protocol,
            "lb_algorithm": "ROUND_ROBIN",
            "members": [
                {"address": host, "protocol_port": port, "subnet_id": material.member_subnet}
                for host, port in first
            ],
        }
        made = await rest.post("lbaas/pools", {"pool": body})
        pool = _Pool(id=made["id"], protocol=protocol, endpoints=endpoints)
        found = await rest.get(f"lbaas/pools/{pool.id}/members")
        pool.members = {
            (one["address"], one["protocol_port"]): _Member(id=one["id"])
            for one in found["members"]
        }
        pools.append(pool)
    listeners = {}
    for protocol, port, of_pool in ((HTTP, 80, 0), ("TERMINATED_HTTPS", 443, 0), (TCP, 7000, 2)):
        body = {
            "loadbalancer_id": root["id"],
            "protocol": protocol,
            "protocol_port": port,
            "default_pool_id": pools[of_pool].id,
        }
        if port == 443:
            body["default_tls_container_ref"] = secrets[0]
        listeners[port] = (await rest.post("lbaas/listeners", {"listener": body}))["id"]
    return Tree(root=root, listeners=listeners, pools=pools, secrets=secrets)


class Changes:
    """Takes one change after another. `done` counts them by what they were."""

    def __init__(self, rest: Rest, tree: Tree, material: Material, seed: int) -> None:
        self._rest = rest
        self._tree = tree
        self._material = material
        self._chance = random.Random(seed)
        self._extra: dict[int, tuple[str, bool]] = {}
        self._policies: list[str] = []
        self.done: Counter[str] = Counter()
        self.last = ""

    @property
    def members_changed(self) -> int:
        return sum(count for name, count in self.done.items() if name.startswith("member"))

    async def one(self) -> None:
        """Raises what the API says when it refuses; none of these is to be refused."""
        kinds: list[tuple[int, Change]] = [
            (10, self.of_a_member),
            (2, self._pool),
            (2, self._monitor),
            (3, self._listener),
            (2, self._policy),
            (1, self._extra_listener),
            (1, self._certificate),
            (1, self._root),
        ]
        ((_, change),) = self._chance.choices(kinds, [weight for weight, _ in kinds])
        await change()

    def _says(self, kind: str, what: object) -> None:
        self.done[kind] += 1
        self.last = f"{kind}: {what}"

    async def of_a_member(self) -> None:
        """One change that is about a member only."""
        chance = self._chance
        pool = chance.choice(self._tree.pools)
        place = f"lbaas/pools/{pool.id}/members"
        absent = [one for one in pool.endpoints if one not in pool.members]
        if absent and (len(pool.members) <= USABLE_MIN or chance.random() < 0.25):
            endpoint = chance.choice(absent)
            made = _Member(id="", weight=chance.randint(1, 256))
            body = {
                "address": endpoint[0],
                "protocol_port": endpoint[1],
                "subnet_id": self._material.member_subnet,
                "weight": made.weight,
            }
            self._says("member added", body)
            made.id = (await self._rest.post(place, {"member": body}))["id"]
            pool.members[endpoint] = made
            return
        endpoint, member = chance.choice(sorted(pool.members.items(), key=lambda one: one[0]))
        if chance.random() < 0.3 and pool.stays_usable_without(member):
            self._says("member removed", endpoint)
            await self._rest.delete(f"{place}/{member.id}")
            del pool.members[endpoint]
            return
        await self._change_member(pool, endpoint, member)

    async def _change_member(self, pool: _Pool, endpoint: tuple[str, int], member: _Member) -> None:
        chance = self._chance
        changes: list[dict[str, Any]] = [
            {"weight": chance.randint(1, 256)},
            {"admin_state_up": True, "weight": max(1, member.weight), "backup": False},
            {"name": f"{chance.random()}"},
            {"monitor_port": chance.choice([None, endpoint[1]])},
        ]
        if pool.stays_usable_without(member):
            changes += [{"weight": 0}, {"admin_state_up": False}, {"backup": True}]
        change = chance.choice(changes)
        self._says(f"member {' '.join(change)}", (endpoint, change))
        place = f"lbaas/pools/{pool.id}/members/{member.id}"
        await self._rest.put(place, {"member": change})
        member.weight = change.get("weight", member.weight)
        member.enabled = change.get("admin_state_up", member.enabled)
        member.backup = change.get("backup", member.backup)

    async def _pool(self) -> None:
        chance = self._chance
        pool = chance.choice(self._tree.pools)
        changes: list[dict[str, Any]] = [
            {"lb_algorithm": chance.choice(["ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP"])},
            {"session_persistence": chance.choice([None, {"type": "SOURCE_IP"}])},
            {"retries": chance.choice([None, 1, 3])},
            {"drain_seconds": chance.choice([0, 3600])},
            {"slow_start": chance.choice([0, 1, 30])},
            {"panic_threshold": chance.choice([0, 50])},
            {"description": f"{chance.random()}"},
        ]
        if pool.protocol == HTTP:
            changes.append({"session_persistence": {"type": "HTTP_COOKIE"}})
        change = chance.choice(changes)
        self._says(f"pool {' '.join(change)}", change)
        await self._rest.put(f"lbaas/pools/{pool.id}", {"pool": change})

    async def _monitor(self) -> None:
        chance = self._chance
        pool = chance.choice(self._tree.pools)
        if not pool.monitor:
            kind = chance.choice(["TCP", "HTTP"]) if pool.protocol == HTTP else "TCP"
            body = {"pool_id": pool.id, "type": kind, "delay": 1, "timeout": 1, "max_retries": 1}
            self._says("monitor added", body)
            pool.monitor = (await self._rest.post("lbaas/healthmonitors", {"healthmonitor": body}))[
                "id"
            ]
        elif chance.random() < 0.5:
            self._says("monitor removed", pool.monitor)
            await self._rest.delete(f"lbaas/healthmonitors/{pool.monitor}")
            pool.monitor = ""
        else:
            change = {"delay": chance.randint(1, 5), "max_retries_down": chance.randint(1, 5)}
            self._says("monitor changed", change)
            place = f"lbaas/healthmonitors/{pool.monitor}"
            await self._rest.put(place, {"healthmonitor": change})

    async def _listener(self) -> None:
        chance = self._chance
        port, listener = chance.choice(sorted(self._tree.listeners.items()))
        narrow = [f"{self._tree.root['vip_address'].rpartition('.')[0]}.0/24", "192.0.2.0/24"]
        changes: list[dict[str, Any]] = [
            {"timeout_client_data": chance.randint(20_000, 90_000)},
            {"timeout_member_data": chance.randint(20_000, 90_000)},
            {"timeout_member_connect": chance.randint(2_000, 9_000)},
            {"connection_limit": chance.choice([-1, 10_000, 20_000])},
            {"allowed_cidrs": chance.choice([None, narrow, ["0.0.0.0/0"]])},
        ]
        if port != 7000:
            flags = {name: chance.choice(["true", "false"]) for name in ("X-Forwarded-For",
                     "X-Forwarded-Port", "X-Forwarded-Proto")}  # fmt: skip
            changes += [
                {"insert_headers": flags},
                {"default_pool_id": chance.choice(self._tree.pools[:2]).id},
                {"compression": chance.random() < 0.5},
            ]
        if port == 443:
            changes += [
                {"hsts_max_age": chance.choice([0, 3600])},
                {"tls_versions": chance.choice([["TLSv1.2", "TLSv1.3"], ["TLSv1.3"]])},
                {"sni_container_refs": chance.choice([[], [self._tree.secrets[1]]])},
                {"default_tls_container_ref": chance.choice(self._tree.secrets)},
            ]
        change = chance.choice(changes)
        self._says(f"listener {' '.join(change)}", (port, change))
        await self._rest.put(f"lbaas/listeners/{listener}", {"listener": change})

    async def _policy(self) -> None:
        chance = self._chance
        if len(self._policies) >= POLICIES_MAX or (self._policies and chance.random() < 0.3):
            gone = self._policies.pop(chance.randrange(len(self._policies)))
            self._says("policy removed", gone)
            await self._rest.delete(f"lbaas/l7policies/{gone}")
            return
        elsewhere = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/elsewhere"}
        anywhere = {**elsewhere, "value": "/"}
        actions: list[dict[str, Any]] = [
            {"action": "REJECT", "rules": [elsewhere]},
            {
                "action": "REDIRECT_TO_URL",
                "redirect_url": "http://t.example/",
                "rules": [elsewhere],
            },
            {
                "action": "REDIRECT_TO_POOL",
                "redirect_pool_id": chance.choice(self._tree.pools[:2]).id,
                "rules": [anywhere],
            },
            {
                "action": "REWRITE",
                "rewrite": {"set_request_headers": {"X-Seen": f"{chance.random()}"}},
                "rules": [anywhere],
            },
        ]
        body = chance.choice(actions)
        listener = self._tree.listeners[chance.choice([80, 443])]
        self._says("policy added", body)
        made = await self._rest.post(
            "lbaas/l7policies", {"l7policy": {**body, "listener_id": listener}}
        )
        self._policies.append(made["id"])

    async def _extra_listener(self) -> None:
        """Listeners that nobody uses come, go, and are down for a while."""
        chance = self._chance
        port = chance.randint(8000, 8000 + EXTRA_LISTENERS_MAX - 1)
        if port not in self._extra:
            body = {
                "loadbalancer_id": self._tree.root["id"],
                "protocol": HTTP,
                "protocol_port": port,
                "default_pool_id": chance.choice(self._tree.pools[:2]).id,
            }
            self._says("listener added", body)
            made = await self._rest.post("lbaas/listeners", {"listener": body})
            self._extra[port] = (made["id"], True)
            return
        listener, is_up = self._extra[port]
        if chance.random() < 0.5:
            self._says("listener removed", port)
            await self._rest.delete(f"lbaas/listeners/{listener}")
            del self._extra[port]
            return
        self._says("listener admin_state_up", port)
        change = {"listener": {"admin_state_up": not is_up}}
        await self._rest.put(f"lbaas/listeners/{listener}", change)
        self._extra[port] = (listener, not is_up)

    async def _certificate(self) -> None:
        secret = self._chance.choice(self._tree.secrets)
        self._says("certificate replaced", secret)
        pem = self._chance.choice(self._material.certificates)
        await self._rest.put(f"lbaas/secrets/{secret}", {"secret": {"pem": pem}})

    async def all_certificates(self, which: int) -> None:
        """As chance does to one secret at a time, and may leave out the one that is served."""
        pem = self._material.certificates[which]
        for secret in self._tree.secrets:
            await self._rest.put(f"lbaas/secrets/{secret}", {"secret": {"pem": pem}})

    async def _root(self) -> None:
        change = {"description": f"{self._chance.random()}", "tags": [f"{self._chance.random()}"]}
        self._says("load balancer described", change)
        place = f"lbaas/loadbalancers/{self._tree.root['id']}"
        await self._rest.put(place, {"loadbalancer": change})
