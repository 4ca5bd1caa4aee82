# SPDX-License-Identifier: Apache-2.0
"""What is special about requests for a noun of the tree. A noun without a line here has nothing
special: its attributes say all of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from colonnade.api.http.decoding import Body, Fields
from colonnade.api.user.health_monitors import (
    change_health_monitor,
    check_pool,
    read_health_monitor,
)
from colonnade.api.user.l7policies import change_policy, read_policy
from colonnade.api.user.listeners import change_listener, read_listener
from colonnade.api.user.members import change_member, read_member
from colonnade.api.user.pools import change_pool, read_pool
from colonnade.domain import shape
from colonnade.domain.pools import Member
from colonnade.domain.shape import Noun


class Special(Struct, frozen=True):
    """Functions that refuse, or give other attributes than were said: of a new object, and of a
    change. `check` refuses a parent that cannot have such a child. `members`: those of a new
    object about which the provider is asked before the tree is changed."""

    read: Callable[[Fields, Body], Fields] = lambda fields, _: fields
    change: Callable[[Fields, Any, Body], Fields] = lambda fields, _, __: fields
    check: Callable[[Any], None] = lambda _: None
    members: Callable[[Any], Sequence[Member]] = lambda _: ()


_SPECIAL: Final[Mapping[str, Special]] = {
    shape.LISTENERS.name: Special(read_listener, change_listener),
    shape.POOLS.name: Special(read_pool, change_pool),
    shape.MEMBERS.name: Special(read_member, change_member, members=lambda member: (member,)),
    shape.HEALTH_MONITORS.name: Special(read_health_monitor, change_health_monitor, check_pool),
    shape.L7POLICIES.name: Special(read_policy, change_policy),
}


def special(noun: Noun) -> Special:
    return _SPECIAL.get(noun.name) or Special()
