# SPDX-License-Identifier: Apache-2.0
"""The nouns of a load balancer's tree: lb, listener, pool, member, hm, policy, rule.

Their options are the attributes of the nouns themselves, paths and what they are made below follow
from the shape of the tree; here are their words, and the columns of their lists.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from colonnade.cli.nouns.derived import options
from colonnade.cli.nouns.description import ID, NAME, STATUS, WHY, Attribute, Column, Noun
from colonnade.domain import shape

# Where it is not `shape.Noun.kind`.
_WORDS: Final[Mapping[shape.Noun, str]] = {
    shape.LOAD_BALANCERS: "lb",
    shape.HEALTH_MONITORS: "hm",
    shape.L7POLICIES: "policy",
    shape.L7RULES: "rule",
}


def _word(of: shape.Noun) -> str:
    return _WORDS.get(of, of.kind)


def _noun(of: shape.Noun, help: str, columns: tuple[Column, ...], **more: Any) -> Noun:
    """`more`: what is otherwise than the shape has it."""
    above, own = of.above, options(of.type)
    found: dict[str, Any] = {"path": f"lbaas/{of.many}", "attributes": own}
    if above is not None and of.nested:
        found = {
            "path": f"lbaas/{above.many}/{{parent}}/{of.many}",
            "parent": _word(above),
            "attributes": own,
        }
    elif above is not None:
        parent = Attribute(
            above.wire_id, f"Of this {above.words}.", options=(f"--{_word(above)}",),
            refers=_word(above),
        )  # fmt: skip
        made = replace(parent, help=f"The {above.words} it is for.", required=True, fixed=True)
        found |= {
            "within": (_word(above), above.wire_id),
            "filters": (parent,),
            "attributes": (made, *own),
        }
    return Noun(
        of=of, word=_word(of), noun=of.words, help=help, one=of.wrapper, many=of.many,
        columns=columns, **(found | more),
    )  # fmt: skip


LOAD_BALANCERS: Final = _noun(
    shape.LOAD_BALANCERS,
    "load balancers",
    (NAME, ID, Column("VIP", "vip_address"), STATUS, Column("Provider", "provider"), WHY),
    filters=(
        Attribute("vip_address", "With this VIP.", options=("--vip-address",)),
        Attribute("project_id", "Of this project.", options=("--of-project",)),
    ),
)
LISTENERS: Final = _noun(
    shape.LISTENERS,
    "listeners",
    (
        NAME, ID, Column("Protocol", "protocol"), Column("Port", "protocol_port"), STATUS,
        Column("Default pool", "default_pool_id", refers="pool"),
        Column("Load balancer", "loadbalancers", refers="lb"),
    ),
)  # fmt: skip
POOLS: Final = _noun(
    shape.POOLS,
    "pools",
    (
        NAME, ID, Column("Protocol", "protocol"), Column("Algorithm", "lb_algorithm"), STATUS,
        Column("Load balancer", "loadbalancers", refers="lb"), WHY,
    ),
    attributes=(
        Attribute(
            "loadbalancer_id", "The load balancer it is for, or --listener.",
            options=("--lb",), refers="lb", fixed=True,
        ),
        Attribute(
            "listener_id", "Become this listener's default pool.", options=("--listener",),
            refers="listener", fixed=True,
        ),
        *options(shape.POOLS.type),
    ),
)  # fmt: skip
MEMBERS: Final = _noun(
    shape.MEMBERS,
    "members of a pool",
    (
        NAME, ID, Column("Address", "endpoint"), Column("Weight", "weight"), STATUS, WHY,
        Column("Backup", "backup"), Column("Subnet", "subnet_id", refers="subnet"),
    ),
)  # fmt: skip
HEALTH_MONITORS: Final = _noun(
    shape.HEALTH_MONITORS,
    "health monitors",
    (
        NAME, ID, Column("Type", "type"), Column("Delay", "delay"), STATUS,
        Column("Pool", "pools", refers="pool"),
    ),
)  # fmt: skip
L7_POLICIES: Final = _noun(
    shape.L7POLICIES,
    "L7 policies",
    (
        NAME, ID, Column("Action", "action"), Column("Position", "position"), STATUS,
        Column("Listener", "listener_id"),
    ),
)  # fmt: skip
L7_RULES: Final = _noun(
    shape.L7RULES,
    "rules of an L7 policy; all of them must hold",
    (
        ID, Column("Type", "type"), Column("Compare", "compare_type"), Column("Key", "key"),
        Column("Value", "value"), Column("Invert", "invert"), STATUS,
    ),
    named=False,
)  # fmt: skip
NOUNS: Final = (
    LOAD_BALANCERS, LISTENERS, POOLS, MEMBERS, HEALTH_MONITORS, L7_POLICIES, L7_RULES,
)  # fmt: skip
