# SPDX-License-Identifier: Apache-2.0
"""Members of a pool: where they may be, and the whole list of them at once."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import Body, Fields, given
from colonnade.api.resources.bodies import create
from colonnade.api.resources.resource import wire
from colonnade.domain.addresses import REMEMBERED, canonical, is_address, target
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import MemberId, PoolId, new_id
from colonnade.domain.once import once_each
from colonnade.domain.pools import Member, Pool
from colonnade.domain.shape import MEMBERS, POOLS

RESERVED = frozenset({"169.254.169.254"})  # where instances find their metadata

_KEPT: Final = ("id", "subnet_id", "address", "request_sriov")
_MEMBERS: Any = list[create(MEMBERS)]  # type: ignore[misc]
MembersBatch: Final = msgspec.defstruct("MembersBatch", [("members", _MEMBERS)])


async def replace_members(call: Call) -> JSON:
    """The whole list at once: one generation, one push to the amphorae."""
    bodies = call.body_list(create(MEMBERS), "members")
    pool_id, additive = PoolId(call.id("pool_id")), call.flag("additive_only")

    @once_each
    def wished(pool: Pool) -> tuple[Member, ...]:
        return batch(pool, bodies, additive=additive)

    await call.check_members(POOLS, pool_id, lambda tree: wished(tree.pool(pool_id)))
    async with call.editing(POOLS, pool_id) as edit:
        pool = edit.tree.pool(pool_id)
        edit.tree = edit.tree.with_pool(replace(pool, members=wished(pool)))


def batch(pool: Pool, bodies: Sequence[Body], *, additive: bool) -> tuple[Member, ...]:
    """A member that matches keeps its name, its tags, and what only a create can say. Any other
    attribute that was left out is reset."""
    there = {member.endpoint: member for member in pool.members}
    wished: list[tuple[tuple[str, int], Member]] = []
    seen: set[tuple[str, int]] = set()
    for body in bodies:
        fields = _checked(given(body, Member))
        place = canonical(fields["address"]), fields["protocol_port"]
        old = there.get(place)
        if old is None:
            member = Member(id=MemberId(new_id()), **fields)
        elif place in seen:
            raise Invalid(
                f"Member {fields['address']}:{place[1]} is in the batch twice", field="members"
            )
        else:
            named = {"name": old.name, "tags": old.tags}
            member = Member(**named | fields | {n: getattr(old, n) for n in _KEPT})
            member = old if member == old else member  # the very same one is not compared again
        seen.add(place)
        wished.append((place, member))
    by_place = dict(wished)
    stay = [by_place.get(place, m) for place, m in there.items() if additive or place in seen]
    return (*stay, *(member for place, member in wished if place not in there))


def read_member(fields: Fields, _body: Body) -> Fields:
    return _checked(fields)


def change_member(fields: Fields, _member: Member, _body: Body) -> Fields:
    return _checked(fields)


def _checked(fields: Fields) -> Fields:
    for name in ("address", "monitor_address"):
        if fields.get(name) is None:
            continue
        check_address(name, fields[name])
        if _is_reserved(fields[name]):
            raise Invalid(f"{fields[name]} is not a valid option for member {name}")
    return fields


@lru_cache(REMEMBERED)
def _is_reserved(text: str) -> bool:
    """Also where an IPv6 address only wraps that of IPv4: both lead to the same place."""
    return str(target(text)) in RESERVED


def check_address(field: str, text: str) -> None:
    """Raises Invalid for what is no IPv4 or IPv6 address, or has a scope."""
    if not is_address(text):
        raise Invalid(
            f"Invalid input for field/attribute {field}. Value: '{text}'. "
            "Value should be IPv4 or IPv6 format"
        )


ROUTES: Final = (
    Route(
        method="PUT",
        path=wire(MEMBERS).path,
        handler=replace_members,
        rule="os_load-balancer_api:member:put",
        more_rules={
            "os_load-balancer_api:member:post": "",
            "os_load-balancer_api:member:delete": "additive_only",
        },
        takes=MembersBatch,
        example={"members": [{"address": "10.0.0.11", "protocol_port": 8080}]},
        success=202,
        query=("additive_only",),
        summary="Replace the members of a pool, or add some",
    ),
)
