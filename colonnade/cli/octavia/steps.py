# SPDX-License-Identifier: Apache-2.0
"""One load balancer at a time: looked at, taken over, undone, finished.

Nothing is told to stop there before the import was tried here and refused by nobody. What fails
after that is given back at once, so that one of the two serves. Each step may be repeated.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from colonnade.cli.objects.full_tree import read_whole
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.settling import gone, settled
from colonnade.cli.octavia.checking import checked
from colonnade.cli.octavia.findings import Finding, Weight, blocks
from colonnade.cli.octavia.source import Source
from colonnade.cli.octavia.translating import (
    Document,
    Mapped,
    count,
    differences,
    is_released,
    title,
    translated,
)
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError, Conflict, NotFound, Refused, Unavailable
from colonnade.domain.shape import LOAD_BALANCERS

IMPORTS = "octavia/imports"
IMPORT_S_MAX = 30.0  # that the endpoint may be too busy, while neither serves
PAUSE_S = 0.5
CAN, BLOCKED = "can be taken over", "blocked"
HERE, CHANGED = "is here", "is here, and differs"
TAKEN, UNDONE, FINISHED, FAILED = "taken over", "given back", "finished", "failed"


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one load balancer; `document` is what would be imported. `released`: it is
    switched off there, because it was taken over."""

    id: str
    name: str
    project_id: str
    vip_address: str
    vip_port_id: str
    verdict: str
    objects: int = 0
    released: bool = False
    findings: tuple[Finding, ...] = ()
    done: tuple[str, ...] = ()
    gap_s: float | None = None
    document: Document = {}

    @property
    def is_blocked(self) -> bool:
        return any(one.weight is Weight.BLOCKS for one in self.findings)


class Move(msgspec.Struct, frozen=True):
    source: Source
    here: Session
    mapped: Mapped

    async def look(self, root_id: str) -> Look:
        whole = await self.source.whole(root_id)
        found = translated(whole, self.mapped)
        look = Look(
            id=root_id,
            name=str(whole.get("name") or ""),
            project_id=str(whole.get("project_id") or ""),
            vip_address=str(whole.get("vip_address") or ""),
            vip_port_id=str(whole.get("vip_port_id") or ""),
            verdict=CAN,
            objects=count(found.document),
            released=is_released(whole),
            findings=found.findings,
            document=found.document,
        )
        if (ours := await self._here(root_id)) is not None:
            differ = differences(found.document, translated(ours, _as_here(ours)).document)
            return replace(look, verdict=CHANGED if differ else HERE, findings=tuple(differ))
        look = replace(look, findings=(*look.findings, *checked(look.document)))
        if not look.is_blocked:
            look = replace(look, findings=(*look.findings, *await self._tried(look)))
        return replace(look, verdict=BLOCKED) if look.is_blocked else look

    async def take(self, look: Look) -> Look:
        """Raises what stopped it, once it is given back."""
        if look.verdict != CAN:
            return look
        whole = await self.source.find(look.id)
        if whole is None:
            raise NotFound(f"load balancer {look.id} is no longer there")
        begun = time.monotonic()
        try:
            done = await self.source.release(whole)
            await until(
                lambda: self._imported(look), within_s=IMPORT_S_MAX, pause_s=PAUSE_S,
                what=f"load balancer {look.id} imported",
            )  # fmt: skip
            await settled(self.here, self.here.names.noun("lb"), {"id": look.id})
        except ColonnadeError as error:
            raise await self._given_back(look.id, error) from error
        gap_s = round(time.monotonic() - begun, 1)
        return replace(look, verdict=TAKEN, done=tuple(done), gap_s=gap_s)

    async def _imported(self, look: Look) -> bool:
        """False: the endpoint was too busy, or its answer was lost; it is asked again."""
        try:
            await self.here.rest.post(IMPORTS, {"loadbalancer": look.document})
        except Conflict:
            if await self._here(look.id) is None:
                raise
        except Unavailable:
            return False
        return True

    async def _given_back(self, root_id: str, error: ColonnadeError) -> ColonnadeError:
        """What to tell of the error, once that one serves again."""
        try:
            await self._delete(root_id)
            await self.source.give_back(root_id)
        except ColonnadeError as again:
            return type(error)(
                f"{error.public}; and it could not be given back ({again.public}): "
                f"colonnade import octavia undo {root_id}",
                detail=error.detail,
            )
        return type(error)(f"{error.public}; it was given back", detail=error.detail)

    async def undo(self, look: Look, *, lose_changes: bool) -> Look:
        if look.verdict == CHANGED and not lose_changes:
            raise Refused(
                f"{len(look.findings)} attributes were changed here since, and would be lost: "
                "see `check`, or say --lose-changes"
            )
        there = await self.source.find(look.id)
        status = str((there or {}).get("provisioning_status"))
        if status.startswith("PENDING"):
            raise Refused(f"it is {status} there, and cannot be switched on: wait")
        done = ["deleted here"] if await self._delete(look.id) else []
        done += await self.source.give_back(look.id)
        return replace(look, verdict=UNDONE, done=tuple(done), findings=())

    async def finish(self, root_id: str) -> Look:
        """Raises Refused for one that is not served here, or still is there."""
        ours = await self._here(root_id)
        if ours is None:
            raise Refused("it is not here: take it over first")
        if ours.get("provisioning_status") != "ACTIVE":
            raise Refused(f"it is {ours.get('provisioning_status')} here, not ACTIVE")
        port_id = str(ours["vip_port_id"])
        theirs = await self.source.find(root_id)
        if theirs is not None and theirs["admin_state_up"]:
            raise Refused("it is still switched on there: take it over first")
        done = await self.source.forget(root_id, port_id)
        return Look(
            id=root_id,
            name=str(ours.get("name") or ""),
            project_id=str(ours.get("project_id") or ""),
            vip_address=str(ours.get("vip_address") or ""),
            vip_port_id=port_id,
            verdict=FINISHED,
            done=tuple(done),
        )

    async def _here(self, root_id: str) -> dict[str, Any] | None:
        try:
            return await read_whole(self.here, root_id)
        except NotFound:
            return None

    async def _tried(self, look: Look) -> list[Finding]:
        try:
            await self.here.rest.post(IMPORTS, {"loadbalancer": look.document}, {"dry_run": "true"})
        except Refused as error:
            place = title(LOAD_BALANCERS, look.document)
            return [blocks(place, error.public, "as the endpoint here says it")]
        return []

    async def _delete(self, root_id: str) -> bool:
        """False: it is not here."""
        try:
            await self.here.rest.delete(f"lbaas/loadbalancers/{root_id}", {"cascade": "true"})
        except NotFound:
            return False
        await gone(self.here, self.here.names.noun("lb"), root_id, "", ())
        return True


async def each(ids: list[str], act: Callable[[str], Awaitable[Look]]) -> list[Look]:
    """One after the other. One that fails is told, and the next is tried."""
    found = []
    for one in ids:
        try:
            found.append(await act(one))
        except ColonnadeError as error:
            failed = Look(
                id=one, name="", project_id="", vip_address="", vip_port_id="", verdict=FAILED,
                findings=(blocks(f"load balancer ({one})", error.public),),
            )  # fmt: skip
            found.append(failed)
    return found


def _as_here(ours: dict[str, Any]) -> Mapped:
    """What it is called here is what it is called here."""
    flavor, provider = ours.get("flavor_id"), str(ours.get("provider"))
    return Mapped(flavors={flavor: flavor} if flavor else {}, providers={provider: provider})
