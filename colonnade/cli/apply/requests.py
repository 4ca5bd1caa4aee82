# SPDX-License-Identifier: Apache-2.0
"""From files to an endpoint: which load balancer a document is about, what differs, and the one
request that makes it so.

Names in a document are looked up before anything is changed, so that a bad one changes nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from colonnade.cli.apply.showing import show_changes
from colonnade.cli.documents.attributes import CHILDREN, LB, NAMED, SECRETS
from colonnade.cli.documents.difference import Change, compare
from colonnade.cli.documents.document import Document, exported, read_document
from colonnade.cli.documents.files import line_of, line_of_value, read_documents
from colonnade.cli.objects import dry_runs
from colonnade.cli.objects.full_tree import read_whole
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.settling import settled
from colonnade.domain.errors import Conflict, Invalid, NotFound, Refused


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """`root_id` is empty when there is no load balancer of that name yet."""

    document: Document
    root_id: str
    changes: Sequence[Change]
    where: str  # the file, and which of its documents
    source: Document  # the document as it stands there

    @property
    def name(self) -> str:
        return str(self.document["name"])


async def read_wishes(session: Session, files: Sequence[Path]) -> list[Wish]:
    documents = []
    for file in files:
        found = read_documents(file)
        for place, one in enumerate(found, 1):
            where = f"{file}, document {place}" if len(found) > 1 else str(file)
            documents.append((where, read_document(one, where=where)))
    if not documents:
        raise Invalid("the files contain no document")
    names = [document["name"] for _, document in documents]
    for name in names:
        if names.count(name) > 1:
            raise Invalid(f"two documents are about a load balancer named '{name}'")
    return [await wish_of(session, document, where) for where, document in documents]


async def carried_out(session: Session, wish: Wish, *, wait: bool, dry_run: bool) -> dict[str, Any]:
    """What was done, as --json says it. A refusal names the file."""
    try:
        return await _carried_out(session, wish, wait=wait, dry_run=dry_run)
    except Refused as error:
        place = f"{wish.where}{line_of_value(wish.source, error.public)}"
        raise _placed(error, place) from error


async def _carried_out(
    session: Session, wish: Wish, *, wait: bool, dry_run: bool
) -> dict[str, Any]:
    if dry_run:
        return await _tried(session, wish)
    if not wish.changes:
        _say(session, f"load balancer {wish.name}: nothing to change")
        return {"name": wish.name, "id": wish.root_id, "done": "nothing", "changes": []}
    if wish.root_id:
        answer, done = await _changed(session, wish), "changed"
    else:
        answer = await session.rest.post("lbaas/loadbalancers", {"loadbalancer": wish.document})
        done = "created"
    if wait:
        await settled(session, session.names.noun("lb"), {"id": answer["id"]})
    if not session.as_json:
        show_changes(session, wish.changes)
    _say(session, f"load balancer {wish.name}: {done}")
    return {"name": wish.name, "id": answer["id"], "done": done, "changes": wish.changes}


async def _tried(session: Session, wish: Wish) -> dict[str, Any]:
    async def ask(query: Mapping[str, str]) -> Any:
        if wish.root_id:
            return await _put(session, wish, query)
        return await session.rest.post(
            "lbaas/loadbalancers", {"loadbalancer": wish.document}, query
        )

    found = await dry_runs.tried(session, ask)
    if not session.as_json:
        show_changes(session, wish.changes)
        done = "changed" if wish.root_id else "created"
        _say(
            session,
            f"load balancer {wish.name}: {f'would be {done}' if wish.changes else 'as it is'}",
        )
        dry_runs.show_cost(session, found)
    return {"name": wish.name, "id": wish.root_id, "dry_run": found}


async def _changed(session: Session, wish: Wish) -> dict[str, Any]:
    found: dict[str, Any] = (await _put(session, wish, {}))["loadbalancer"]
    return found


def _placed(error: Refused, place: str) -> Refused:
    """The same refusal, with where it is in the files."""
    return type(error)(f"{place}: {error.public}", detail=error.detail)


async def _put(session: Session, wish: Wish, query: Mapping[str, str]) -> Any:
    path = f"lbaas/loadbalancers/{wish.root_id}/tree"
    try:
        return await session.rest.put(path, {"loadbalancer": wish.document}, query)
    except NotFound as error:
        raise Refused(
            f"{session.rest.endpoint} cannot change a load balancer as a whole; "
            "`colonnade diff` shows what to change piece by piece"
        ) from error


async def wish_of(session: Session, document: Document, where: str) -> Wish:
    """What a document asks of this endpoint. Raises Refused for names that are not there."""
    wanted = await _resolved(session, LB, document, where)
    noun = session.names.noun("lb")
    query = {"name": wanted["name"]}
    if "project_id" in wanted:
        query["project_id"] = wanted["project_id"]
    found = [
        one for one in await session.names.every(noun, query=query) if one["name"] == query["name"]
    ]
    if len(found) > 1:
        ids = ", ".join(one["id"] for one in found)
        raise Conflict(f"'{wanted['name']}' is the name of {len(found)} load balancers ({ids})")
    if not found:
        return Wish(
            document=wanted, root_id="", changes=compare(None, wanted), where=where, source=document
        )
    root_id = str(found[0]["id"])
    there = await _resolved(session, LB, _there(await read_whole(session, root_id)), "")
    changes = compare(there, wanted)
    return Wish(document=wanted, root_id=root_id, changes=changes, where=where, source=document)


def _there(whole: dict[str, Any]) -> Document:
    """What is there, in the plain form, with what an export leaves out."""
    document = exported(whole)
    document.pop("kind")
    chosen = ("vip_port_id", "vip_network_id", "project_id")
    return document | {name: whole[name] for name in chosen if whole.get(name)}


async def _resolved(session: Session, kind: str, document: Document, where: str) -> Document:
    """The document with ids where names of other things stood."""
    resolved: Document = {}
    for name, value in document.items():
        if name in CHILDREN[kind]:
            child = CHILDREN[kind][name]
            resolved[name] = (
                [await _resolved(session, child, one, where) for one in value]
                if isinstance(value, list)
                else await _resolved(session, child, value, where)
            )
            continue
        try:
            resolved |= await _reference(session, kind, name, value)
        except Refused as error:
            if not where:
                raise
            raise _placed(error, f"{where}{line_of(document, name)}") from error
    return resolved


async def _reference(session: Session, kind: str, name: str, value: Any) -> Document:
    """One attribute, with ids for names."""
    if name in NAMED.get(kind, {}):
        attribute, word = NAMED[kind][name]
        return {attribute: await session.id(word, str(value))}
    if name in SECRETS:
        many = isinstance(value, list)
        refs = [await session.names.secret_ref(str(one)) for one in (value if many else [value])]
        return {name: refs if many else refs[0]}
    if name == "access_log" and "target" in value:
        target = await session.id("logtarget", str(value["target"]))
        rest = {part: one for part, one in value.items() if part != "target"}
        return {name: rest | {"target_id": target}}
    if name == "additional_vips":
        return {name: [await _vip(session, one) for one in value]}
    return {name: value}


async def _vip(session: Session, vip: Any) -> Any:
    if not isinstance(vip, dict) or "subnet" not in vip:
        return vip
    rest = {part: one for part, one in vip.items() if part != "subnet"}
    return {"subnet_id": await session.id("subnet", str(vip["subnet"])), **rest}


def _say(session: Session, sentence: str) -> None:
    if not session.as_json:
        session.printer.said(sentence)
