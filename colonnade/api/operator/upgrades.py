# SPDX-License-Identifier: Apache-2.0
"""Upgrades: many amphorae replaced, one after the other, as operators begin, hold and undo them.

What is asked for is written into the store and answered at once; controllers carry it out. What is
replaced is chosen here and never grows afterwards.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

import colonnade
from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.resources.derived import Id
from colonnade.api.resources.objects import SAMPLE_ID, Time, listed, wrapped
from colonnade.domain.errors import Conflict, Invalid
from colonnade.domain.ids import is_id, read_id
from colonnade.domain.outdated import Wanted, difference
from colonnade.domain.upgrading import (
    OPEN,
    Pace,
    State,
    Step,
    StepState,
    Subject,
    Upgrade,
    progress,
)
from colonnade.store.catalogue import catalogue
from colonnade.store.fleet import amphora_rows, upgrade_rows
from colonnade.store.fleet.upgrade_rows import Chosen
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.times import time

NAMED_MAX: Final = 1000
LISTED_MAX: Final = 100


class UpgradeCreate(Pace, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which amphorae, and at what pace. Those that are outdated, unless some are named, or all are
    asked for; of one flavor, if it is said."""

    amphorae: Annotated[tuple[Id, ...], Meta(max_length=NAMED_MAX)] = ()
    flavor: str | None = None
    all: bool = False


class StepObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """`reason`: why it is to be replaced, null when somebody asked. `words`: why it ended so."""

    amphora_id: Id
    loadbalancer_id: Id | None
    flavor: str
    reason: str | None
    state: StepState
    since: Time
    successor_id: Id | None
    words: str | None


class UpgradeObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """`progress`: in words. `reason`: why it is in its state, or waits."""

    id: Id
    state: State
    reason: str | None
    progress: str
    automatic: bool
    undoes: Id | None
    pace: dict[str, float]
    created_at: Time
    updated_at: Time


class WholeUpgradeObject(UpgradeObject, kw_only=True):
    """The steps in their order; the first 1000."""

    steps: list[StepObject]


class PlanObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """What would be replaced, in this order; the first is the canary."""

    progress: str
    pace: dict[str, float]
    steps: list[StepObject]


async def list_upgrades(call: Call) -> JSON:
    async with call.site.database.read() as connection:
        found = await upgrade_rows.newest(connection, LISTED_MAX)
        return {"upgrades": [await _shown(connection, one) for one in found]}


async def get_upgrade(call: Call) -> JSON:
    async with call.site.database.read() as connection:
        return await _whole(connection, call.id("upgrade_id"))


async def plan_upgrade(call: Call) -> JSON:
    """Nothing is kept, and nothing begins."""
    wish = call.body(UpgradeCreate, "upgrade")
    async with call.site.database.read() as connection:
        subjects = await _subjects(connection, wish)
        steps = [_show_step(_to_come(one), None) for one in subjects[: upgrade_rows.SHOWN_MAX]]
    said = progress({StepState.WAITING: len(subjects)})
    return {"plan": {"progress": said, "pace": _pace(wish), "steps": steps}}


async def create_upgrade(call: Call) -> JSON:
    wish = call.body(UpgradeCreate, "upgrade")
    async with call.site.database.transaction() as connection:
        subjects = await _subjects(connection, wish)
        if not subjects:
            raise Conflict("No amphora that serves is outdated: name some, or ask for all.")
        upgrade_id = await upgrade_rows.begin(
            connection, subjects, msgspec.convert(_pace(wish), Pace)
        )
        return await _whole(connection, upgrade_id)


async def pause_upgrade(call: Call) -> JSON:
    """What is begun is finished; nothing more is begun."""
    async with call.site.database.transaction() as connection:
        found = await _open(connection, call, State.RUNNING)
        await upgrade_rows.turn(connection, found, State.PAUSED, "by a person")
        return await _whole(connection, found.id)


async def resume_upgrade(call: Call) -> JSON:
    """Go on with one that was paused, or has stopped."""
    async with call.site.database.transaction() as connection:
        found = await _open(connection, call, State.PAUSED, State.STOPPED)
        await upgrade_rows.turn(connection, found, State.RUNNING)
        return await _whole(connection, found.id)


async def undo_upgrade(call: Call) -> JSON:
    """Nothing more is begun. Those that came in its course are replaced again where one made now
    would be another: after the release or the flavor's word was taken back."""
    async with call.site.database.transaction() as connection:
        found = await _found(connection, call)
        if found.state in OPEN:
            await upgrade_rows.turn(connection, found, State.CANCELLED, "undone by a person")
        subjects = await _going_back(connection, found)
        if subjects:
            back = await upgrade_rows.begin(connection, subjects, found.pace, undoes=found.id)
            return await _whole(connection, back)
        return await _whole(connection, found.id)


async def _subjects(connection: Connection, wish: UpgradeCreate) -> Sequence[Subject]:
    """Raises Invalid and Conflict for amphorae that cannot be replaced."""
    wrong = [name for name in wish.amphorae if not is_id(name)]
    if wrong:
        raise Invalid(f"amphorae: {wrong[0][:50]} is no id", field="amphorae")
    named = [read_id(name) for name in wish.amphorae]
    chosen = Chosen(amphorae=named, flavor=wish.flavor, is_all=wish.all)
    found = await upgrade_rows.candidates(connection, chosen)
    others = set(named) - {one.amphora_id for one in found}
    if others:
        raise Conflict(
            f"Amphora {min(others)} serves no load balancer, or not of this flavor."
            " Outdated spares are exchanged by themselves."
        )
    return found


async def _going_back(connection: Connection, upgrade: Upgrade) -> list[Subject]:
    """Of those that it brought and that serve, the ones that would be made otherwise now."""
    brought = await upgrade_rows.successors(connection, upgrade.id)
    wanted = await catalogue.all_wanted(connection, colonnade.__version__)
    whys = {}
    for amphora in await amphora_rows.those(connection, brought):
        known = wanted.get(amphora.flavor, Wanted(release=colonnade.__version__))
        whys[amphora.id] = difference(amphora, known)
    ids = [name for name, why in whys.items() if why]
    if not ids:
        return []
    found = await upgrade_rows.candidates(connection, Chosen(amphorae=ids))
    return [msgspec.structs.replace(one, why=whys[one.amphora_id]) for one in found]


async def _open(connection: Connection, call: Call, *states: State) -> Upgrade:
    """Raises Conflict for one that is in none of these states."""
    found = await _found(connection, call)
    if found.state not in states:
        word = call.path.rpartition("/")[2]
        raise Conflict(f"Upgrade {found.id} is {found.state.value.lower()}: it cannot {word}.")
    return found


async def _found(connection: Connection, call: Call) -> Upgrade:
    """As it is until the transaction ends. Raises NotFound."""
    upgrade_id = call.id("upgrade_id")
    return await upgrade_rows.locked(connection, upgrade_id) or await upgrade_rows.get(
        connection, upgrade_id
    )


async def _whole(connection: Connection, upgrade_id: str) -> JSON:
    found = await upgrade_rows.get(connection, upgrade_id)
    steps = [_show_step(*one) for one in await upgrade_rows.steps(connection, upgrade_id)]
    return {"upgrade": {**await _shown(connection, found), "steps": steps}}


async def _shown(connection: Connection, upgrade: Upgrade) -> dict[str, Any]:
    far = await upgrade_rows.progress(connection, upgrade)
    return {
        "id": upgrade.id,
        "state": upgrade.state,
        "reason": upgrade.words or None,
        "progress": progress(far.counts),
        "automatic": upgrade.is_automatic,
        "undoes": upgrade.undoes,
        "pace": _pace(upgrade.pace),
        "created_at": time(upgrade.created_at),
        "updated_at": time(far.moved_at),
    }


def _to_come(subject: Subject) -> Step:
    return Step(
        number=0,
        amphora_id=subject.amphora_id,
        cluster_id=subject.cluster_id,
        flavor=subject.flavor,
        why=subject.why,
        state=StepState.WAITING,
        since=datetime.now(UTC),
    )


def _show_step(step: Step, load_balancer_id: str | None) -> dict[str, Any]:
    return {
        "amphora_id": step.amphora_id,
        "loadbalancer_id": load_balancer_id,
        "flavor": step.flavor,
        "reason": step.why or None,
        "state": step.state,
        "since": time(step.since),
        "successor_id": step.successor,
        "words": step.words or None,
    }


def _pace(pace: Pace) -> dict[str, float]:
    return {name: getattr(pace, name) for name in Pace.__struct_fields__}


UPGRADES_PATH: Final = "/v2/octavia/upgrades"
UPGRADE_PATH: Final = UPGRADES_PATH + "/{upgrade_id:str}"
_RULE: Final = "os_load-balancer_api:upgrade:"
_WHOLE: Final = wrapped("upgrade", WholeUpgradeObject)
_EXAMPLE: Final = {"amphorae": [SAMPLE_ID], "at_once": 2, "canary_s": 60}
ROUTES = [
    Route(
        method="GET",
        path=UPGRADES_PATH,
        handler=list_upgrades,
        answers=listed("upgrades", UpgradeObject, None),
        summary="List upgrades, the newest first",
        rule=_RULE + "get_all",
    ),
    Route(
        method="POST",
        path=UPGRADES_PATH,
        handler=create_upgrade,
        takes=UpgradeCreate,
        wrapper="upgrade",
        example=_EXAMPLE,
        answers=_WHOLE,
        success=201,
        summary="Replace outdated or named amphorae, one after the other",
        rule=_RULE + "post",
    ),
    Route(
        method="POST",
        path=UPGRADES_PATH + "/plan",
        handler=plan_upgrade,
        takes=UpgradeCreate,
        wrapper="upgrade",
        example=_EXAMPLE,
        answers=wrapped("plan", PlanObject),
        summary="Show what an upgrade would replace",
        rule=_RULE + "post",
    ),
    Route(
        method="GET",
        path=UPGRADE_PATH,
        handler=get_upgrade,
        answers=_WHOLE,
        summary="Show an upgrade and its steps",
        rule=_RULE + "get_one",
    ),
    *(
        Route(
            method="PUT",
            path=f"{UPGRADE_PATH}/{word}",
            handler=handler,
            answers=_WHOLE,
            summary=summary,
            rule=_RULE + "put",
        )
        for word, handler, summary in (
            ("pause", pause_upgrade, "Begin nothing more of an upgrade for now"),
            ("resume", resume_upgrade, "Go on with an upgrade that was paused or has stopped"),
            ("undo", undo_upgrade, "End an upgrade, and go back where that means anything"),
        )
    ),
]
