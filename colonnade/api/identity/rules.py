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
from colonnade.domain.flat import Rights
from colonnade.domain.flat_nouns import FLAT_NOUNS
from colonnade.domain.ids import ProjectId
from colonnade.domain.shape import BELOW

SERVICE: Final = "service"


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """`owners`: roles that suffice in the object's own project; `anybody`: in any. `name` is what
    a policy file calls it."""

    name: str
    owners: frozenset[str] = frozenset()
    anybody: frozenset[str] = frozenset({ADMIN})


_READERS: Final = frozenset({READER, MEMBER})
READ: Final = Base(name="read", owners=_READERS)
READ_GLOBAL: Final = Base(name="read-global")
READ_OR_SERVICE: Final = Base(
    name="read-or-service", owners=_READERS, anybody=frozenset({ADMIN, SERVICE})
)
WRITE: Final = Base(name="write", owners=frozenset({MEMBER}))
READ_QUOTA: Final = Base(name="read-quota", owners=_READERS)
READ_QUOTA_GLOBAL: Final = Base(name="read-quota-global")
WRITE_QUOTA: Final = Base(name="write-quota")
OPERATE: Final = Base(name="admin")
BASES: Final = (
    READ,
    READ_GLOBAL,
    READ_OR_SERVICE,
    WRITE,
    READ_QUOTA,
    READ_QUOTA_GLOBAL,
    WRITE_QUOTA,
    OPERATE,
)

Actions = Mapping[str, Base]

_READ: Final[Actions] = {"get_all": READ, "get_one": READ}
_WRITTEN: Final[Actions] = {"post": WRITE, "put": WRITE, "delete": WRITE}
_OBJECT: Final[Actions] = {**_READ, "get_all-global": READ_GLOBAL, **_WRITTEN}
_OPERATED: Final[Actions] = {"post": OPERATE, "put": OPERATE, "delete": OPERATE}
_BY_RIGHTS: Final[Mapping[Rights, Actions]] = {
    Rights.OWNED: _OBJECT,
    Rights.OFFERED: {**_READ, **_OPERATED},
    Rights.OPERATED: {"get_all": OPERATE, "get_one": OPERATE, **_OPERATED},
}

DEFAULTS: Final[Mapping[str, Actions]] = {
    "loadbalancer": {
        **_OBJECT,
        "post:vip_sg_ids": WRITE,
        "put:vip_sg_ids": WRITE,
        "get_stats": READ,
        "get_status": READ,
        "put_failover": OPERATE,
        # Ours.
        "post_import": OPERATE,
        "put_tree": WRITE,
        "put_tree:vip_sg_ids": WRITE,
        "get_history": READ,
        "rollback": WRITE,
        "get_events": READ,
    },
    **{noun.kind: {**_READ, **_WRITTEN} if noun.nested else _OBJECT for noun in BELOW},
    "listener": {**_OBJECT, "get_stats": READ},
    "member": {**_READ, **_WRITTEN, "get_all": READ_OR_SERVICE},
    "quota": {
        "get_all": READ_QUOTA,
        "get_all-global": READ_QUOTA_GLOBAL,
        "get_one": READ_QUOTA,
        "get_defaults": READ_QUOTA,
        "put": WRITE_QUOTA,
        "delete": WRITE_QUOTA,
    },
    "provider": {"get_all": READ},
    "provider-flavor": {"get_all": OPERATE},
    "provider-availability-zone": {"get_all": OPERATE},
    "amphora": {
        "get_all": OPERATE,
        "get_one": OPERATE,
        "get_stats": OPERATE,
        "delete": OPERATE,
        "put_config": OPERATE,
        "put_failover": OPERATE,
    },
    # Ours, beyond the contract.
    "fleet": {"get_one": OPERATE, "put": OPERATE},
    "upgrade": {"get_all": OPERATE, "get_one": OPERATE, "post": OPERATE, "put": OPERATE},
    "network": {**_READ, "put": WRITE},
    "secret": _OBJECT,
    "event": {"get_all": READ, "get_all-global": READ_GLOBAL},
    **{noun.rule: _BY_RIGHTS[noun.rights] for noun in FLAT_NOUNS},
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


def bases() -> dict[str, Base]:
    """Every rule that there is, and what it rests on."""
    return {
        f"{PREFIX}{noun}:{action}": base
        for noun, actions in DEFAULTS.items()
        for action, base in actions.items()
    }
