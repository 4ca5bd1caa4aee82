# SPDX-License-Identifier: Apache-2.0
"""The fleet at a glance, and the one act there is on all of it: to end safe mode.

What is shown is counted in `store/fleet/overview.py`. Ending safe mode writes a row, and whoever
judges next goes by it.
"""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.resources.derived import Id
from colonnade.api.resources.objects import Time, wrapped
from colonnade.domain.upgrading import State, Upgrade
from colonnade.store.fleet import safe_mode_rows
from colonnade.store.fleet.overview import Overview, overview
from colonnade.store.postgres.times import time

LIFTED_S_MAX: Final = 86_400


class SafeModeObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """`held`: amphorae that are silent and not replaced for now. `lifted_until`: an operator ended
    it, and it does not begin before."""

    enabled: bool
    on: bool
    since: Time | None
    reason: str | None
    held: int
    lifted_until: Time | None


class OverdueObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """One that should have been heard from."""

    amphora_id: Id
    host: str
    serving: bool
    silent_s: float


class TroubleObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """One that is heard, and does not serve as it should."""

    amphora_id: Id
    reason: str
    since: Time


class OutdatedObject(Struct, forbid_unknown_fields=True, kw_only=True):
    amphora_id: Id
    reason: str


class OpenUpgradeObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """The upgrade that goes on, or that a person may let go on."""

    id: Id
    state: State
    progress: str
    reason: str | None


class DaemonObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """A process of the control plane. `missed`: it fell silent, and did not say that it ends."""

    kind: str
    address: str
    seen_at: Time
    missed: bool


class FleetObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """`problems`: what a person should know of, in sentences. `failovers`: within an hour, by
    cause."""

    problems: list[str]
    safe_mode: SafeModeObject
    amphorae: dict[str, int]
    overdue: list[OverdueObject]
    troubled: list[TroubleObject]
    outdated: list[OutdatedObject]
    upgrade: OpenUpgradeObject | None
    failovers: dict[str, int]
    daemons: list[DaemonObject]


class Lift(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    seconds: Annotated[int, Meta(ge=1, le=LIFTED_S_MAX)] = 900


async def get_fleet(call: Call) -> JSON:
    async with call.site.database.read() as connection:
        found = await overview(connection, call.site.rules)
    return {"fleet": show_fleet(found, is_enabled=call.site.rules.failovers.safe_mode)}


async def lift_safe_mode(call: Call) -> JSON:
    wish = call.body(Lift, "safe_mode")
    async with call.site.database.transaction() as connection:
        await safe_mode_rows.lift(connection, wish.seconds)
    return await get_fleet(call)


def show_fleet(found: Overview, *, is_enabled: bool) -> dict[str, Any]:
    mode = found.mode
    return {
        "problems": found.problems,
        "safe_mode": {
            "enabled": is_enabled,
            "on": mode.since is not None,
            "since": time(mode.since),
            "reason": mode.reason or None,
            "held": mode.held,
            "lifted_until": time(mode.lifted_until) if mode.is_lifted else None,
        },
        "amphorae": dict(found.states),
        "overdue": [
            {
                "amphora_id": one.amphora_id,
                "host": one.host,
                "serving": one.serving,
                "silent_s": round(one.silent_s, 1),
            }
            for one in found.overdue
        ],
        "troubled": [
            {"amphora_id": one.amphora_id, "reason": one.reason, "since": time(one.since)}
            for one in found.troubled
        ],
        "outdated": [
            {"amphora_id": one.amphora_id, "reason": one.reason} for one in found.outdated
        ],
        "upgrade": _upgrade(*found.upgrade) if found.upgrade is not None else None,
        "failovers": dict(found.replaced),
        "daemons": [
            {
                "kind": one.kind,
                "address": one.address,
                "seen_at": time(one.seen_at),
                "missed": one.missed_since is not None,
            }
            for one in found.daemons
        ],
    }


def _upgrade(upgrade: Upgrade, progress: str) -> dict[str, Any]:
    return {
        "id": upgrade.id,
        "state": upgrade.state,
        "progress": progress,
        "reason": upgrade.words or None,
    }


FLEET_PATH: Final = "/v2/octavia/fleet"
_RULE: Final = "os_load-balancer_api:fleet:"
ROUTES = [
    Route(
        method="GET",
        path=FLEET_PATH,
        handler=get_fleet,
        answers=wrapped("fleet", FleetObject),
        summary="Show how the fleet is: safe mode, silent and outdated amphorae, processes",
        rule=_RULE + "get_one",
    ),
    Route(
        method="PUT",
        path=FLEET_PATH + "/safe_mode/lift",
        handler=lift_safe_mode,
        takes=Lift,
        wrapper="safe_mode",
        example={"seconds": 900},
        answers=wrapped("fleet", FleetObject),
        summary="End safe mode, and keep it from beginning for a while",
        rule=_RULE + "put",
    ),
]
