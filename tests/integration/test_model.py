# SPDX-License-Identifier: Apache-2.0
"""Any sequence of writes leaves the store equal to a model as simple as a dictionary.

The model keeps, for each object, what was asked for last. A valid write is done to both; an
invalid one must be refused and change nothing that can be seen. Compared is what lists show.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colonnade.api.app import create_app
from colonnade.api.http.call import Site
from colonnade.providers.enabled import enabled_providers
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api
from tests.database import Databases
from tests.fakes.network import FakeNetwork

NOBODY = "00000000-0000-0000-0000-0000000000ff"
WRAPPERS = {
    "listeners": "listener",
    "pools": "pool",
    "members": "member",
    "healthmonitors": "healthmonitor",
    "l7policies": "l7policy",
    "rules": "rule",
}
# What the store decides itself; the rest must be as the model has it.
DECIDED = {"created_at", "updated_at", "operating_status", "provisioning_status", "issues"}


CHILDREN: dict[str, dict[str, str]] = {
    "listeners": {"l7policies": "l7policies"},
    "pools": {"members": "members"},
    "l7policies": {"rules": "rules"},
}
LINKS = {"listeners", "healthmonitor_id"}  # of a pool: they follow from what others say


class Step(msgspec.Struct, frozen=True):
    """`what` on the object that `pick` chooses among those there are."""

    what: str  # create, change, delete, wrong
    kind: str
    pick: int
    value: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["create", "create", "create", "change", "delete", "wrong"]),
        st.sampled_from(sorted(WRAPPERS)),
        st.integers(0, 7),
        st.integers(0, 5),
    ),
    min_size=8,
    max_size=30,
)


class Model:
    """Objects by id: (kind, parent's id, attributes)."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, str, dict[str, Any]]] = {}

    def of(self, kind: str, parent: str | None = None) -> list[str]:
        return [
            key
            for key, (of_kind, above, _) in self.objects.items()
            if of_kind == kind and parent in (None, above)
        ]

    def shown(self, key: str) -> dict[str, Any]:
        return self.objects[key][2]

    def remove(self, key: str) -> None:
        kind = self.objects.pop(key)[0]
        for child in [k for k, (_, above, _) in self.objects.items() if above == key]:
            self.remove(child)
        if kind == "pools":
            for listener in self.of("listeners"):
                if self.shown(listener)["default_pool_id"] == key:
                    self.shown(listener)["default_pool_id"] = None


class Bench:
    """The API and the model, side by side, for one load balancer."""

    def __init__(self, api: Api, root: Any) -> None:
        self.api, self.root = api, root
        self.model = Model()

    async def take(self, step: Step) -> None:
        doing: dict[str, Callable[[Step], Any]] = {
            "create": self._create,
            "change": self._change,
            "delete": self._delete,
            "wrong": self._wrong,
        }
        await doing[step.what](step)

    def path(self, kind: str, parent: str) -> str:
        if kind == "members":
            return f"pools/{parent}/members"
        return f"l7policies/{parent}/rules" if kind == "rules" else kind

    def parent(self, step: Step) -> str | None:
        """An object that the new one may hang under; None: there is none."""
        above = {
            "members": "pools", "healthmonitors": "pools", "l7policies": "listeners",
            "rules": "l7policies",
        }.get(step.kind)  # fmt: skip
        if above is None:
            return str(self.root["id"])
        there = self.model.of(above)
        return there[step.pick % len(there)] if there else None

    def wish(self, step: Step, parent: str) -> dict[str, Any]:
        pools = self.model.of("pools")
        pool = pools[step.value % len(pools)] if pools and step.value % 2 else None
        wishes: dict[str, dict[str, Any]] = {
            "listeners": {
                "loadbalancer_id": parent, "protocol": "HTTP", "protocol_port": 80 + step.value,
                "default_pool_id": pool,
            },
            "pools": {
                "loadbalancer_id": parent, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
            },
            "members": {"address": f"10.0.0.{step.value}", "protocol_port": 80},
            "healthmonitors": {
                "pool_id": parent, "type": "HTTP", "delay": 1 + step.value, "timeout": 1,
                "max_retries": 1,
            },
            "l7policies": {"listener_id": parent, "action": "REJECT", "position": 1 + step.value},
            "rules": {"type": "PATH", "compare_type": "EQUAL_TO", "value": f"/{step.value}"},
        }  # fmt: skip
        return wishes[step.kind] | {"tags": [f"t{step.value}"]}

    def collides(self, kind: str, parent: str, wish: dict[str, Any]) -> bool:
        same: dict[str, Callable[[dict[str, Any]], bool]] = {
            "listeners": lambda other: other["protocol_port"] == wish["protocol_port"],
            "members": lambda other: other["address"] == wish["address"],
            "healthmonitors": lambda _: True,
        }
        others = [self.model.shown(key) for key in self.model.of(kind, parent)]
        return kind in same and any(same[kind](other) for other in others)

    async def _create(self, step: Step) -> None:
        parent = self.parent(step)
        if parent is None:
            return
        wish, wrapper = self.wish(step, parent), WRAPPERS[step.kind]
        path = self.path(step.kind, parent)
        if self.collides(step.kind, parent, wish):
            before = await self.seen()
            await self.api.post(path, {wrapper: wish}, 409)
            assert await self.seen() == before
            return
        made = (await self.api.post(path, {wrapper: wish}))[wrapper]
        named = {name: wish[name] for name in wish if name in made and name != "position"}
        assert {name: made[name] for name in named} == named
        self.model.objects[made["id"]] = (step.kind, parent, made)
        if step.kind == "l7policies":
            self._place(made["id"], parent, wish["position"])

    def _place(self, key: str, listener: str, position: int) -> None:
        others = [k for k in self.model.of("l7policies", listener) if k != key]
        others.sort(key=lambda k: int(self.model.shown(k)["position"]))
        others.insert(position - 1, key)
        for number, one in enumerate(others, start=1):
            self.model.shown(one)["position"] = number

    def _one(self, step: Step) -> tuple[str, str] | None:
        there = self.model.of(step.kind)
        if not there:
            return None
        key = there[step.pick % len(there)]
        return key, f"{self.path(step.kind, self.model.objects[key][1])}/{key}"

    async def _change(self, step: Step) -> None:
        if (found := self._one(step)) is None:
            return
        key, path = found
        flag = None if step.value == 0 else bool(step.value % 2)
        change: dict[str, Any] = {"admin_state_up": flag, "tags": [f"t{step.value}"]}
        if step.kind == "l7policies":
            change["position"] = 1 + step.value
        await self.api.put(path, {WRAPPERS[step.kind]: change})
        self.model.shown(key).update({"admin_state_up": bool(flag), "tags": change["tags"]})
        if step.kind == "l7policies":
            self._place(key, self.model.objects[key][1], change["position"])

    async def _delete(self, step: Step) -> None:
        if (found := self._one(step)) is None:
            return
        key, path = found
        above = self.model.objects[key][1]
        await self.api.delete(path)
        self.model.remove(key)
        if step.kind == "l7policies":
            there = sorted(
                self.model.of("l7policies", above),
                key=lambda k: int(self.model.shown(k)["position"]),
            )
            for number, one in enumerate(there, start=1):
                self.model.shown(one)["position"] = number

    async def _wrong(self, step: Step) -> None:
        before = await self.seen()
        wrapper, found = WRAPPERS[step.kind], self._one(step)
        if found is not None:
            wrongs: list[dict[str, Any]] = [{"tags": "none"}, {"nonsense": 1}, {"id": NOBODY}]
            await self.api.put(found[1], {wrapper: wrongs[step.value % 3]}, 400)
        parent = self.parent(step)
        if parent is not None:
            wish = self.wish(step, parent) | {"admin_state_up": "maybe"}
            await self.api.post(self.path(step.kind, parent), {wrapper: wish}, 400)
        await self.api.delete(f"{self.path(step.kind, NOBODY)}/{NOBODY}", 404)
        assert await self.seen() == before

    async def seen(self) -> dict[str, dict[str, Any]]:
        """Every object under the load balancer, as lists show it, by id."""
        found: list[dict[str, Any]] = []
        for kind in ("listeners", "pools", "healthmonitors", "l7policies"):
            found += (await self.api.get(f"{kind}?loadbalancer_id={self.root['id']}"))[kind]
        for kind, above in (("members", "pools"), ("rules", "l7policies")):
            for parent in self.model.of(above):
                found += (await self.api.get(self.path(kind, parent)))[kind]
        return {one["id"]: one for one in found}

    async def compare(self) -> None:
        seen = await self.seen()
        assert set(seen) == set(self.model.objects)
        for key, (kind, _, wanted) in self.model.objects.items():
            known = DECIDED | LINKS | set(CHILDREN.get(kind, {}))
            for name in set(wanted) - known:
                assert seen[key][name] == wanted[name], (kind, name)
            for name, of_kind in CHILDREN.get(kind, {}).items():
                ids = {child["id"] for child in seen[key][name]}
                assert ids == set(self.model.of(of_kind, key)), (kind, name)
            assert seen[key]["provisioning_status"] == "ACTIVE"


async def play(url: str, steps: list[Step]) -> None:
    database, network = await Database.connect(url), FakeNetwork()
    providers = enabled_providers(("noop",), default="noop", network=network)
    app = create_app(Site(database=database, providers=providers, network=network))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            api = Api(client, network)
            bench = Bench(api, await api.load_balancer())
            for step in steps:
                await bench.take(step)
            await bench.compare()
    finally:
        await database.close()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_the_store_is_what_the_model_says(databases: Databases, steps: list[Step]) -> None:
    with databases.fresh() as url:
        asyncio.run(play(url, steps))
