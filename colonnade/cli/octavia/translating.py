# SPDX-License-Identifier: Apache-2.0
"""A load balancer as another endpoint shows it, as the document that is imported here.

Every id stays, and so does every attribute that there is here too. What has no place here is found
and named, never dropped in silence. Pure: no endpoint is asked.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from colonnade.cli.octavia.findings import Finding, blocks, differs, warns
from colonnade.domain.attributes import described
from colonnade.domain.shape import BELOW, LISTENERS, LOAD_BALANCERS, MEMBERS, Noun

Shown = Mapping[str, Any]
Document = dict[str, Any]

RELEASED: Final = "colonnade:released"  # a tag: it is switched off there because it is served here
# Octavia's own; whoever has another driver says by which it is served here.
PROVIDERS: Final[Mapping[str, str]] = {
    "amphora": "amphora", "octavia": "octavia", "amphorav2": "amphora"
}  # fmt: skip
# What each answer of the contract has besides attributes: facts, and other words for the same.
_FACTS: Final = frozenset(
    {
        "id", "provisioning_status", "operating_status", "created_at", "updated_at", "tenant_id",
        "project_id", "loadbalancers", "listeners", "pools", "members", "l7policies", "rules",
        "loadbalancer_id", "listener_id", "pool_id", "healthmonitor", "healthmonitor_id",
        "vnic_type", "vip_vnic_type", "additional_vips", "last_error", "issues", "topology",
    }
)  # fmt: skip
_SRIOV: Final = "direct"
_SETTLED: Final = frozenset({"ACTIVE", ""})
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})  # what is shown of an attribute that is unset


class Mapped(msgspec.Struct, frozen=True, kw_only=True):
    """What is called otherwise here: by the words there. A flavor of "": none."""

    flavors: Mapping[str, str] = {}
    zones: Mapping[str, str] = {}
    providers: Mapping[str, str] = msgspec.field(default_factory=lambda: PROVIDERS)


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    document: Document
    findings: tuple[Finding, ...]


def translated(whole: Shown, mapped: Mapped) -> Translated:
    """`whole`: with all that is below it, as the answer to a fully populated create."""
    found: list[Finding] = []
    document = _translated(LOAD_BALANCERS, whole, found)
    document["project_id"] = whole.get("project_id")
    if RELEASED in document.get("tags", ()):
        document["tags"] = [tag for tag in document["tags"] if tag != RELEASED]
        document["admin_state_up"] = True
    found += _named(document, mapped, title(LOAD_BALANCERS, whole))
    found += _vips(document, whole)
    return Translated(document=document, findings=tuple(found))


def below(noun: Noun, shown: Shown) -> list[Document]:
    """The objects of that noun that are right below this one."""
    found: Any = shown.get(noun.word) or []
    return [found] if noun.alone and found else [one for one in found if one]


def is_released(whole: Shown) -> bool:
    return RELEASED in (whole.get("tags") or ())


def title(noun: Noun, shown: Shown) -> str:
    """The object in the words of a person, with its id."""
    if noun is MEMBERS:
        called = f"{shown.get('address')}:{shown.get('protocol_port')}"
    elif noun is LISTENERS and not shown.get("name"):
        called = f"{shown.get('protocol')} :{shown.get('protocol_port')}"
    else:
        called = str(shown.get("name") or shown.get("type") or shown.get("action") or "")
    return " ".join(word for word in (noun.words, called, f"({shown.get('id')})") if word)


def _translated(noun: Noun, shown: Shown, found: list[Finding]) -> Document:
    attributes, place = described(noun.type), title(noun, shown)
    document: Document = {"id": shown["id"]}
    for name, value in shown.items():
        if name in attributes:
            if name not in ("project_id", "additional_vips") and value not in _NOTHING:
                document[name] = _plain(value)
        elif name not in _FACTS and value not in _NOTHING and value is not False:
            cause = f"{value!r} has no place here, and is left out"
            found.append(differs(place, cause, attribute=name))
    if noun is MEMBERS and shown.get("vnic_type") == _SRIOV:
        document["request_sriov"] = True
    found += _status(noun, shown)
    for child in noun.below:
        documents = [_translated(child, one, found) for one in below(child, shown)]
        if documents:
            document[child.word] = documents[0] if child.alone else documents
    return document


def _plain(value: Any) -> Any:
    """Without parts that are null."""
    if isinstance(value, Mapping):
        return {name: one for name, one in value.items() if one is not None}
    return value


def _status(noun: Noun, shown: Shown) -> Iterator[Finding]:
    status, place = str(shown.get("provisioning_status") or ""), title(noun, shown)
    if status == "ERROR" and noun is LOAD_BALANCERS and not is_released(shown):
        yield blocks(
            place, "it is in ERROR, in which it cannot be switched off there",
            f"openstack loadbalancer failover {shown.get('id')}", attribute="provisioning_status",
        )  # fmt: skip
    elif status == "ERROR":
        cause = "it is in ERROR: what is taken over is what was asked for, not what is served"
        yield warns(place, cause, attribute="provisioning_status")
    elif status not in _SETTLED:
        cause, cure = f"it is {status}", "wait until it is ACTIVE"
        yield blocks(place, cause, cure, attribute="provisioning_status")


def _named(document: Document, mapped: Mapped, place: str) -> Iterator[Finding]:
    """Writes into the document what the provider, flavor and zone are called here."""
    provider = str(document.pop("provider", ""))
    known = mapped.providers
    if provider not in known:
        yield blocks(
            place, f"nothing here is like its provider {provider}",
            f"say --provider {provider}=amphora, if it needs nothing that only that one can do",
            attribute="provider",
        )  # fmt: skip
    else:
        document["provider"] = known[provider]
        if known[provider] != provider:
            cause = f"{provider} there, {known[provider]} here"
            yield differs(place, cause, attribute="provider")
    if flavor := document.pop("flavor_id", None):
        if flavor not in mapped.flavors:
            yield blocks(
                place, f"its flavor {flavor} is unknown here",
                "make one with the same name here, or say --flavor THEIRS=OURS, "
                "or --flavor THEIRS= for none", attribute="flavor_id",
            )  # fmt: skip
        elif mapped.flavors[flavor]:
            document["flavor_id"] = mapped.flavors[flavor]
        if mapped.flavors.get(flavor) not in (None, flavor):
            ours = mapped.flavors[flavor] or "none"
            yield differs(place, f"{flavor} there, {ours} here", attribute="flavor_id")
    zone = document.pop("availability_zone", None)
    if zone and (ours := mapped.zones.get(zone, zone)):
        document["availability_zone"] = ours
    if zone and mapped.zones.get(zone, zone) != zone:
        ours = mapped.zones[zone] or "none"
        yield differs(place, f"{zone} there, {ours} here", attribute="availability_zone")


def _vips(document: Document, whole: Shown) -> Iterator[Finding]:
    place = title(LOAD_BALANCERS, whole)
    more = whole.get("additional_vips") or ()
    if more:
        kept = ("subnet_id", "ip_address", "port_id")
        document["additional_vips"] = [{n: vip[n] for n in kept if vip.get(n)} for vip in more]
    ports = {whole.get("vip_port_id")}
    if any(vip.get("port_id") in (None, *ports) for vip in more):
        addresses = ", ".join(str(vip.get("ip_address")) for vip in more)
        yield blocks(
            place, f"its additional VIPs ({addresses}) are addresses of the VIP's own port",
            "here each VIP has a port of its own: take the addresses off that port, and make a "
            "port with each", attribute="additional_vips",
        )  # fmt: skip
    if whole.get("vip_vnic_type") == _SRIOV:
        cause = "its VIP was on an SR-IOV port; here it is on an ordinary one"
        yield differs(place, cause, attribute="vip_vnic_type")


def differences(there: Document, here: Document) -> list[Finding]:
    """Of two translations of one load balancer, object by object."""
    return list(_differences(LOAD_BALANCERS, there, here))


def _differences(noun: Noun, there: Document, here: Document) -> Iterator[Finding]:
    place = title(noun, there)
    words = {child.word for child in noun.below}
    for name in sorted((there.keys() | here.keys()) - words):
        was, now = _compared(noun, name, there), _compared(noun, name, here)
        if was != now and not (name not in there and _is_chosen_below(noun, name)):
            yield differs(place, f"{was!r} there, {now!r} here", attribute=name)
    for child in noun.below:
        before, after = _by_id(child, there), _by_id(child, here)
        for one in before.keys() - after.keys():
            yield differs(title(child, before[one]), "it is not here")
        for one in after.keys() - before.keys():
            yield differs(title(child, after[one]), "it is here alone")
        for one in before.keys() & after.keys():
            yield from _differences(child, before[one], after[one])


def _by_id(noun: Noun, document: Document) -> dict[str, Document]:
    return {str(one["id"]): one for one in below(noun, document)}


def _compared(noun: Noun, name: str, document: Document) -> Any:
    """What is not shown has its default: an endpoint knows nothing of what we have besides."""
    value = document.get(name)
    if value in _NOTHING:
        one = described(noun.type).get(name)
        value = None if one is None or one.required else msgspec.to_builtins(one.default)
    if value in _NOTHING:
        return None
    return sorted(value, key=str) if isinstance(value, list) else value


def _is_chosen_below(noun: Noun, name: str) -> bool:
    """By the endpoint, where it was not said; of a load balancer itself that is its place."""
    one = described(noun.type).get(name)
    return noun is not LOAD_BALANCERS and one is not None and one.about.chosen


def count(document: Document) -> int:
    """Of objects."""
    return 1 + sum(count(one) for noun in BELOW for one in below(noun, document))
