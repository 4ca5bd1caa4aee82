# SPDX-License-Identifier: Apache-2.0
"""Who may do what when no policy file says otherwise: Keystone's own roles, as a table.

The wire contract names the rules and their defaults. A rule names an object and an action; most
objects go by their actions' column, and those that do not are listed. Reading needs `reader` or
`member` in the project, writing `member`, the rest `admin`, whose project does not matter.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from colonnade.api.identity.caller import ADMIN, MEMBER, READER, Caller
from colonnade.api.identity.policy import PREFIX
from colonnade.domain.ids import ProjectId

SERVICE: Final = "service"


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """`owners`: roles that suffice in the object's own project; `anybody`: in any."""

    owners: frozenset[str] = frozenset()
    anybody: frozenset[str] = frozenset({ADMIN})


READ: Final = Base(owners=frozenset({READER, MEMBER}))
READ_OR_SERVICE: Final = Base(owners=READ.owners, anybody=frozenset({ADMIN, SERVICE}))
WRITE: Final = Base(owners=frozenset({MEMBER}))
OPERATE: Final = Base()

Actions = Mapping[str, Base]

_LISTED: Final[Actions] = {"get_all": READ, "get_all-global": OPERATE}
_READ: Final[Actions] = {"get_all": READ, "get_one": READ}
_WRITTEN: Final[Actions] = {"post": WRITE, "put": WRITE, "delete": WRITE}
_CATALOGUE: Final[Actions] = {"post": OPERATE, "put": OPERATE, "delete": OPERATE}
_OBJECT: Final[Actions] = {**_LISTED, **_READ, **_WRITTEN}

DEFAULTS: Final[Mapping[str, Actions]] = {
    "loadbalancer": {
        **_OBJECT,
        "post:vip_sg_ids": WRITE,
        "put:vip_sg_ids": WRITE,
        "get_stats": READ,
        "get_status": READ,
        "put_failover": OPERATE,
    },
    "listener": {**_OBJECT, "get_stats": READ},
    "pool": _OBJECT,
    "member": {**_READ, **_WRITTEN, "get_all": READ_OR_SERVICE},
    "healthmonitor": _OBJECT,
    "l7policy": _OBJECT,
    "l7rule": {**_READ, **_WRITTEN},
    "quota": {
        **_LISTED,
        "get_one": READ,
        "get_defaults": READ,
        "put": OPERATE,
        "delete": OPERATE,
    },
    "provider": {"get_all": READ},
    "provider-flavor": {"get_all": OPERATE},
    "provider-availability-zone": {"get_all": OPERATE},
    "flavor": {**_READ, **_CATALOGUE},
    "flavor-profile": {"get_all": OPERATE, "get_one": OPERATE, **_CATALOGUE},
    "availability-zone": {**_READ, **_CATALOGUE},
    "availability-zone-profile": {"get_all": OPERATE, "get_one": OPERATE, **_CATALOGUE},
    "amphora": {
        "get_all": OPERATE,
        "get_one": OPERATE,
        "get_stats": OPERATE,
        "delete": OPERATE,
        "put_config": OPERATE,
        "put_failover": OPERATE,
    },
    # Ours, beyond the contract.
    "network": _READ,
    "secret": {**_OBJECT},
    "affinitygroup": {**_OBJECT},
}


class DefaultPolicy:
    def allows(self, rule: str, caller: Caller, owner: ProjectId | None) -> bool:
        base = _base(rule) or OPERATE
        if base.anybody & caller.roles:
            return True
        return owner is not None and owner == caller.project and bool(base.owners & caller.roles)

    def has(self, rule: str) -> bool:
        return _base(rule) is not None


@lru_cache(maxsize=1000)
def _base(rule: str) -> Base | None:
    noun, _, action = rule.removeprefix(PREFIX).partition(":")
    return DEFAULTS.get(noun, {}).get(action)


def names() -> list[str]:
    """Every rule that there is."""
    return [f"{PREFIX}{noun}:{action}" for noun, actions in DEFAULTS.items() for action in actions]
