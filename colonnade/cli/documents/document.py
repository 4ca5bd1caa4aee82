# SPDX-License-Identifier: Apache-2.0
"""A load balancer as a document: read from a file, or exported from an endpoint.

Both become the same plain form, that of the fully populated create: references are
{"name": ...}, every pool stands in `pools`, and what has its default is left out. Two documents
are equal when they ask for the same. Nothing here speaks to an endpoint.
"""

from collections.abc import Callable, Mapping
from copy import copy
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any, Final

from colonnade.cli.documents.attributes import (
    ALONE,
    CHILDREN,
    CHOSEN,
    FIELDS,
    LB,
    LISTENER,
    MEMBER,
    NAMED,
    NEEDED,
    NOT_EXPORTED,
    PARTS,
    POLICY,
    POOL,
    RULE,
    TEXTS,
    WORDS,
)
from colonnade.cli.documents.files import line_of
from colonnade.domain import addresses
from colonnade.domain.errors import Invalid

KIND: Final = "LoadBalancer"
UNORDERED: Final = frozenset(
    {
        "tags", "allowed_cidrs", "vip_sg_ids", "sni_container_refs", "tls_versions",
    }
)  # fmt: skip

Document = dict[str, Any]

# Endpoints have no order for these, and two exports of one thing should be the same text.
_ORDERS: Final[Mapping[str, Callable[[Document], Any]]] = {
    LISTENER: lambda one: (one["protocol_port"], one["protocol"]),
    POOL: lambda one: one["name"],
    MEMBER: lambda one: (one["address"], one["protocol_port"]),
    RULE: lambda one: [str(one.get(name, "")) for name in FIELDS[RULE]],
}


def read_document(found: Any, *, where: str = "the document") -> Document:
    """What a person wrote, in the plain form. Names of things outside of it are still names.

    Raises Invalid with the place of what cannot be."""
    if not isinstance(found, dict):
        raise Invalid(f"{where} is not a document with `kind: {KIND}`")
    found = _copy(found)
    kind = found.pop("kind", None)
    if kind != KIND:
        said = f"of kind {kind}" if kind else "without a `kind`"
        raise Invalid(f"{where} is {said}; it must be `kind: {KIND}`")
    found.pop("apiVersion", None)
    if not found.get("name"):
        raise Invalid(f"{where} has no `name`: a load balancer is found by its name")
    document = _read(LB, found, where)
    _gather_pools(document, where)
    _check_references(document, where)
    return document


def exported(whole: Mapping[str, Any]) -> Document:
    """The plain form of what an endpoint shows, as `read_document` would have it."""
    names = _pool_names(whole["pools"])
    document = _export(LB, whole, names)
    return {"kind": KIND, **{n: v for n, v in document.items() if n not in NOT_EXPORTED}}


def without_defaults(kind: str, values: Mapping[str, Any]) -> Document:
    """The attributes of one object, in the table's order, that say more than the default."""
    kept: Document = {}
    for name, default in FIELDS[kind].items():
        value = _plain(name, values.get(name))
        if value is None or value == default or (value == [] and default is CHOSEN):
            continue
        kept[name] = value
    return kept


def endpoint(member: Mapping[str, Any]) -> str:
    return addresses.endpoint(str(member.get("address")), str(member.get("protocol_port")))


def _copy(found: Document) -> Document:
    """With the lines that it stands in, where those are known."""
    copied = copy(found)
    copied.update(found)
    return copied


def _read(kind: str, found: Any, where: str) -> Document:
    if not isinstance(found, dict):
        raise Invalid(f"{where} is not {_a(kind)} with attributes")
    _check(kind, found, where)
    document = _copy(found)
    document.clear()
    document |= {
        name: value
        for name, value in found.items()
        if name in NAMED.get(kind, {}) and value is not None
    }
    document |= without_defaults(kind, found)
    for word in ("default_pool", "redirect_pool"):
        if word in document:
            document[word] = _read_reference(document[word], where)
    for word, child in CHILDREN[kind].items():
        if found.get(word):
            document[word] = _read_children(word, child, found, f"{where}, {word}")
    return document


def _check(kind: str, found: Document, where: str) -> None:
    known = {**FIELDS[kind], **CHILDREN[kind], **NAMED.get(kind, {})}
    if kind == POLICY:
        known["position"] = None  # it becomes the order of the list
    for name in found:
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            place = f"{where}{line_of(found, str(name))}"
            raise Invalid(f"{place}: '{name}' is not an attribute of {_a(kind)}{hint}")
    for name, default in FIELDS[kind].items():
        if default is NEEDED and found.get(name) is None:
            raise Invalid(f"{where}{line_of(found)}: {name} is missing")


def _read_children(word: str, child: str, above: Document, where: str) -> Any:
    found = above[word]
    if word in ALONE:
        return _read(child, found, where)
    if not isinstance(found, list):
        raise Invalid(f"{where} is not a list{line_of(above, word)}")
    read: list[Document] = []
    for place, one in enumerate(found, 1):
        document = _read(child, one, f"{where} {_title(child, one) or place}")
        turn = one.get("position") if child == POLICY else None
        # As the endpoint does it: who asks for a turn gets it, and the others move.
        read.insert(turn - 1 if isinstance(turn, int) and turn > 0 else len(read), document)
    return read


def _read_reference(found: Any, where: str) -> Document:
    """A pool by its name, or as a whole."""
    if isinstance(found, str):
        return {"name": found}
    if isinstance(found, dict) and set(found) == {"name"}:
        return {"name": str(found["name"])}
    pool = _read(POOL, found, f"{where}, pool")
    if "name" not in pool:
        raise Invalid(
            f"{where}: a pool has no name: give it one, for later changes find it by its name"
        )
    return pool


def _gather_pools(document: Document, where: str) -> None:
    """Pools that stand where they are used move to `pools`; references stay."""
    pools: list[Document] = list(document.get("pools", ()))
    for listener in document.get("listeners", ()):
        _take_pool(listener, "default_pool", pools)
        for policy in listener.get("l7policies", ()):
            _take_pool(policy, "redirect_pool", pools)
    if pools:
        document["pools"] = pools
    names = [pool.get("name") for pool in pools]
    for name in names:
        if not name:
            raise Invalid(
                f"{where}: a pool has no name: give it one, for listeners refer to it by its name"
            )
        if names.count(name) > 1:
            raise Invalid(f"{where}: two pools are named '{name}'")


def _take_pool(user: Document, word: str, pools: list[Document]) -> None:
    pool = user.get(word)
    if pool is not None and set(pool) != {"name"}:
        pools.append(pool)
        user[word] = {"name": pool["name"]}


def _check_references(document: Document, where: str) -> None:
    names = {pool["name"] for pool in document.get("pools", ())}
    for listener in document.get("listeners", ()):
        users = [(listener, "default_pool")]
        users += [(policy, "redirect_pool") for policy in listener.get("l7policies", ())]
        for user, word in users:
            if word in user and user[word]["name"] not in names:
                name = user[word]["name"]
                near = get_close_matches(name, names, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                place = f"{where}{line_of(user, word)}"
                raise Invalid(f"{place}: {word} is '{name}', and no pool is called so{hint}")


def _export(kind: str, shown: Mapping[str, Any], pools: Mapping[str, str]) -> Document:
    values = dict(shown)
    if kind == LISTENER:
        values["default_pool"] = _reference(shown.get("default_pool_id"), pools)
    if kind == POLICY:
        values["redirect_pool"] = _reference(shown.get("redirect_pool_id"), pools)
    if kind == LB:
        kept = ("subnet_id", "ip_address")
        vips = shown.get("additional_vips") or ()
        values["additional_vips"] = [{name: vip[name] for name in kept} for vip in vips]
    if kind == MEMBER:
        values["request_sriov"] = shown.get("vnic_type") == "direct"
    if kind == POOL:
        values["name"] = pools[shown["id"]]
    document = without_defaults(kind, values)
    for word, child in CHILDREN[kind].items():
        below = shown.get(word)
        if below and word in ALONE:
            document[word] = _export(child, below, pools)
        elif below:
            listed = [_export(child, one, pools) for one in below]
            document[word] = sorted(listed, key=_ORDERS[child]) if child in _ORDERS else listed
    return document


def _reference(pool_id: Any, pools: Mapping[str, str]) -> Document | None:
    return {"name": pools[pool_id]} if pool_id in pools else None


def _pool_names(pools: Any) -> dict[str, str]:
    """A pool without a name of its own is called by its id, for references go by name."""
    names = [pool.get("name") for pool in pools]
    return {
        pool["id"]: pool["name"]
        if pool.get("name") and names.count(pool["name"]) == 1
        else pool["id"]
        for pool in pools
    }


def _plain(name: str, value: Any) -> Any:
    """One value as it is compared: canonical addresses, lists without an order sorted."""
    if name in TEXTS and value is not None and not isinstance(value, str):
        return str(value)
    if name in ("address", "vip_address", "monitor_address") and isinstance(value, str):
        return _address(value)
    if name in PARTS and isinstance(value, Mapping):
        return {key: one for key, one in value.items() if one not in (None, [], {})}
    if isinstance(value, list | tuple):
        return sorted(value, key=str) if name in UNORDERED else list(value)
    return value


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return text  # the endpoint will say what is wrong with it


def _a(kind: str) -> str:
    return f"{'an' if kind == POLICY else 'a'} {WORDS[kind]}"


def _title(kind: str, found: Any) -> str:
    if not isinstance(found, dict):
        return ""
    return endpoint(found) if kind == MEMBER else str(found.get("name") or "")
