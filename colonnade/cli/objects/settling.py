# SPDX-License-Identifier: Apache-2.0
"""Wait until the endpoint has carried out a change.

Asked from here, again and again, so it works with any endpoint. Done means that the object, and
the load balancer it is part of, are not PENDING any more; ERROR is said with its reasons.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from colonnade.cli.nouns.description import Noun
from colonnade.cli.objects.session import Session
from colonnade.cli.waiting import until
from colonnade.domain.errors import Broken, NotFound

SETTLE_S_MAX = 300.0
PAUSE_S = 0.5
Shown = Mapping[str, Any]


def is_pending(shown: Any) -> bool:
    """Whether anything in an answer, at any depth, is still being worked on."""
    if isinstance(shown, Mapping):
        if str(shown.get("provisioning_status", "")).startswith("PENDING"):
            return True
        return any(is_pending(one) for one in shown.values())
    if isinstance(shown, Sequence) and not isinstance(shown, str):
        return any(is_pending(one) for one in shown)
    return False


async def settled(session: Session, noun: Noun, shown: Shown, parent: str = "") -> Shown:
    """The object once it is settled, with its load balancer. Raises Broken when it failed."""
    final = await _settled_one(session, noun, str(shown["id"]), parent)
    for root_id in await roots(session, noun, shown, parent):
        if root_id != shown["id"]:
            await _settled_one(session, session.names.noun("lb"), root_id)
            final = await _look(session, noun, str(shown["id"]), parent) or final
    return final


async def gone(
    session: Session, noun: Noun, object_id: str, parent: str, root_ids: Sequence[str]
) -> None:
    async def is_gone() -> bool:
        shown = await _look(session, noun, object_id, parent)
        if shown is not None and shown.get("provisioning_status") == "ERROR":
            raise _failed(noun, shown)
        return shown is None

    await until(
        is_gone, within_s=SETTLE_S_MAX, what=f"{noun.noun} {object_id} gone", pause_s=PAUSE_S
    )
    for root_id in root_ids:
        if root_id != object_id:
            await _settled_one(session, session.names.noun("lb"), root_id)


async def roots(session: Session, noun: Noun, shown: Shown, parent: str = "") -> list[str]:
    """The load balancers that the object is part of."""
    if noun.word == "lb":
        return [str(shown["id"])]
    if shown.get("loadbalancers"):
        return [str(one["id"]) for one in shown["loadbalancers"]]
    above = _above(noun, shown, parent)
    if above is None:
        return []
    word, above_id = above
    upper = await _look(session, session.names.noun(word), above_id, "")
    return await roots(session, session.names.noun(word), upper) if upper is not None else []


def _above(noun: Noun, shown: Shown, parent: str) -> tuple[str, str] | None:
    if noun.parent:
        return noun.parent, parent
    if shown.get("listener_id"):
        return "listener", str(shown["listener_id"])
    if shown.get("pools"):
        return "pool", str(shown["pools"][0]["id"])
    return None


async def _settled_one(session: Session, noun: Noun, object_id: str, parent: str = "") -> Shown:
    async def look() -> Shown | None:
        shown = await _look(session, noun, object_id, parent)
        if shown is None:
            raise NotFound(f"{noun.noun} {object_id} is gone")
        return None if is_pending(shown) else shown

    shown = await until(
        look, within_s=SETTLE_S_MAX, what=f"{noun.noun} {object_id} settled", pause_s=PAUSE_S
    )
    assert shown is not None, "`until` answers with what is true"
    if shown.get("provisioning_status") == "ERROR":
        raise _failed(noun, shown)
    return shown


async def _look(session: Session, noun: Noun, object_id: str, parent: str) -> Shown | None:
    try:
        answer = await session.rest.get(f"{noun.place(parent)}/{object_id}")
    except NotFound:
        return None
    shown: Shown = answer[noun.one]
    return shown


def _failed(noun: Noun, shown: Shown) -> Broken:
    reasons = [str(issue) for issue in shown.get("issues") or ()]
    error = shown.get("last_error")
    if isinstance(error, Mapping) and error.get("message"):
        reasons.insert(0, str(error["message"]))
    called = shown.get("name") or shown["id"]
    said = "; ".join(dict.fromkeys(reasons)) or "the endpoint gives no reason"
    return Broken(f"{noun.noun} '{called}' is in ERROR: {said}")
