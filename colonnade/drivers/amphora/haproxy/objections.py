# SPDX-License-Identifier: Apache-2.0
"""What this driver has to say about a tree before it is stored.

Pure: every check reads the tree alone. INCOMPATIBLE means that no later change of anything else
could make haproxy serve it; INCOMPLETE means that it is stored and waits for something. Reasons
are in the user's own words: the attributes and values of the user API.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from colonnade.domain.addresses import REMEMBERED, endpoint, target
from colonnade.domain.errors import Invalid, require
from colonnade.domain.l7 import L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.once import once_each, once_each_all
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import (
    HTTP_LISTENERS,
    HTTP_MONITORS,
    Algorithm,
    L7Action,
    L7RuleType,
    ListenerProtocol,
    MonitorType,
    PersistenceType,
    PoolProtocol,
)
from colonnade.drivers.amphora.haproxy import certificates, checks, coverage, l7, sizes, view, words
from colonnade.drivers.amphora.protocol import Objection, Severity

Address: TypeAlias = IPv4Address | IPv6Address
UNSERVED_LISTENERS = {
    ListenerProtocol.UDP: (
        "This provider balances TCP connections only (HAProxy does not forward UDP). "
        "Use protocol TCP, HTTP or HTTPS, or a provider that serves UDP."
    ),
    ListenerProtocol.SCTP: (
        "This provider balances TCP connections only (HAProxy does not forward SCTP). "
        "Use protocol TCP, HTTP or HTTPS, or a provider that serves SCTP."
    ),
}
UNSERVED_POOLS = {
    PoolProtocol.UDP: "This provider balances TCP connections only; it has no UDP pools.",
    PoolProtocol.SCTP: "This provider balances TCP connections only; it has no SCTP pools.",
}
UNSERVED_MONITORS = {
    MonitorType.PING: (
        "This provider cannot check members with PING: HAProxy sends no ICMP, and an answer to "
        "PING would not show that the member's port answers. Use type TCP, which opens a "
        "connection to the member's port, or HTTP, HTTPS or TLS-HELLO."
    ),
    MonitorType.UDP_CONNECT: (
        "This provider balances TCP connections only; use type TCP, HTTP, HTTPS or TLS-HELLO."
    ),
    MonitorType.SCTP: (
        "This provider balances TCP connections only; use type TCP, HTTP, HTTPS or TLS-HELLO."
    ),
}
TLS_RULES = frozenset(
    {L7RuleType.SSL_CONN_HAS_CERT, L7RuleType.SSL_VERIFY_RESULT, L7RuleType.SSL_DN_FIELD}
)
COOKIES = frozenset({PersistenceType.HTTP_COOKIE, PersistenceType.APP_COOKIE})


def objections(tree: LoadBalancer) -> tuple[Objection, ...]:
    """Everything wrong with the tree for this driver. Pure and instant."""
    found: list[Objection] = []
    if not tree.listeners:
        found.append(_incomplete("listeners", "The load balancer has no listener."))
    for listener in tree.listeners:
        found.extend(_of_listener(listener))
        found.extend(_of_policies(listener))
    found.extend(_of_network(tree))
    found.extend(_unreachable(tree))
    found.extend(_checked("pools", sizes.check, tree))
    found.extend(one for listener in tree.listeners for one in _tls_of_listener(listener))
    found.extend(one for pool in tree.pools if pool.tls_enabled for one in _tls_of_pool(pool))
    used = {pool_id for listener in tree.listeners for pool_id in listener.pool_ids}
    for pool in tree.pools:
        found.extend(_of_pool(pool))
        found.extend(_of_extras(pool))
        if pool.id not in used:
            found.append(_incomplete(f"pools/{pool.id}", "No listener uses this pool."))
    found.extend(_unread(tree))
    return tuple(found)


def _of_network(tree: LoadBalancer) -> Iterator[Objection]:
    if any(vip.sg_ids for vip in tree.vips):
        yield _incompatible(
            "vip_sg_ids",
            "vip_sg_ids need a network service with security groups. "
            "Use allowed_cidrs of the listeners.",
        )
    for pool in tree.pools:
        if _wants_sriov(pool):
            yield _incompatible(
                f"pools/{pool.id}/request_sriov", "request_sriov needs hardware with SR-IOV."
            )


@once_each
def _wants_sriov(pool: Pool) -> bool:
    return any(member.request_sriov for member in pool.members)


def _unreachable(tree: LoadBalancer) -> Iterator[Objection]:
    """Members that no amphora can ever reach, which would be a 503 without a word."""
    own = tuple(target(vip.address) for vip in tree.vips)
    for pool in tree.pools:
        found = _unreachable_in(pool)
        if own not in found:
            found[own] = tuple(_unreachable_from(own, pool))
        yield from found[own]


@once_each
def _unreachable_in(
    pool: Pool,  # noqa: ARG001 - what is kept is kept for this pool
) -> dict[tuple[Address, ...], tuple[Objection, ...]]:
    """By the VIPs, which seldom change."""
    return {}


def _unreachable_from(own: Collection[Address], pool: Pool) -> Iterator[Objection]:
    versions = {address.version for address in own}
    for member in pool.members:
        why = _why_unreachable(member, own, versions)
        if why:
            yield _incomplete(
                f"pools/{pool.id}/members/{member.id}",
                f"The member {endpoint(member.address, member.protocol_port)} cannot be "
                f"reached: {why}.",
            )


def _why_unreachable(member: Member, own: Collection[Address], versions: Collection[int]) -> str:
    address = target(member.address)
    if found := _nowhere(address):
        return found
    if address in own:
        return "it is an address of this load balancer itself"
    if member.subnet_id is None and address.version not in versions:
        return (
            f"no VIP is of IPv{address.version}, so there is no way there; "
            "give its subnet_id, or the load balancer an additional VIP of that version"
        )
    return ""


@lru_cache(REMEMBERED)
def _nowhere(address: Address) -> str:
    """Why an address can be that of no member, whatever the networks are."""
    if address.is_loopback:
        return "a loopback address leads to the amphora itself"
    if address.is_link_local:
        return "a link-local address means something on one link only"
    return ""


@once_each_all
def _of_listener(listener: Listener) -> Iterator[Objection]:
    place = f"listeners/{listener.id}"
    reason = UNSERVED_LISTENERS.get(listener.protocol)
    if reason is not None:
        yield _incompatible(f"{place}/protocol", reason)
    elif listener.default_pool_id is None and listener.protocol in view.POOLED:
        answer = _without_pool(listener)
        if answer:
            yield _incomplete(
                f"{place}/default_pool_id", f"The listener has no default pool: {answer}."
            )


def _without_pool(listener: Listener) -> str:
    """What becomes of connections without a default pool; empty where none is needed."""
    if listener.protocol not in HTTP_LISTENERS:
        return "connections are closed as they are opened"
    if coverage.answers_all(listener.l7policies):
        return ""
    if l7.in_force(listener.l7policies):
        return "requests that no L7 policy answers are answered with 503"
    return "requests are answered with 503"


@once_each_all
def _tls_of_listener(listener: Listener) -> Iterator[Objection]:
    return _of_tls(f"listeners/{listener.id}", listener)


@once_each_all
def _tls_of_pool(pool: Pool) -> Iterator[Objection]:
    return _of_tls(f"pools/{pool.id}", pool)


def _of_tls(place: str, node: Listener | Pool) -> Iterator[Objection]:
    yield from _checked(place, certificates.check_versions, node)
    yield from _checked(place, certificates.check_ciphers, node)


@once_each_all
def _of_policies(listener: Listener) -> Iterator[Objection]:
    place = f"listeners/{listener.id}/l7policies"
    if listener.l7policies and listener.protocol not in HTTP_LISTENERS:
        yield _incompatible(
            place,
            f"The requests of {listener.protocol.value} listeners are not read. "
            "L7 policies need a listener of protocol HTTP or TERMINATED_HTTPS.",
        )
        return
    limits = [p for p in listener.l7policies if p.action is L7Action.RATE_LIMIT]
    if len(limits) > l7.RATE_LIMITS_MAX:
        most = f"A listener may have at most {l7.RATE_LIMITS_MAX} L7 policies of action RATE_LIMIT."
        yield _incompatible(place, most)
    yield from _checked(place, _takes_long, listener)
    for policy in listener.l7policies:
        yield from _checked(f"{place}/{policy.id}", l7.tried, policy)
        if not l7.in_force((policy,)):
            yield _incomplete(
                f"{place}/{policy.id}", "The L7 policy has no rule that is up: it does not apply."
            )
        for rule in policy.rules:
            yield from _of_rule(f"{place}/{policy.id}/rules/{rule.id}", rule)
            if rule.type in TLS_RULES and listener.protocol is ListenerProtocol.HTTP:
                yield _incomplete(
                    f"{place}/{policy.id}/rules/{rule.id}",
                    f"A rule of type {rule.type.value} never holds under an HTTP listener, "
                    "whose connections are not encrypted.",
                )


def _of_rule(place: str, rule: L7Rule) -> Iterator[Objection]:
    yield from _checked(place, l7.conditions, rule)
    why = l7.never(rule)
    if why:
        yield _incomplete(
            f"{place}/value",
            f"The L7 rule {rule.type.value} {rule.compare_type.value} '{rule.value}' "
            f"can never hold: {why}.",
        )


def _takes_long(listener: Listener) -> None:
    """Raises Invalid where one request could keep haproxy busy for too long, whoever sends it."""
    try:
        steps = [l7.steps(policy) for policy in listener.l7policies]
    except Invalid:
        return  # told of the rule
    require(
        "value",
        sum(steps) <= l7.STEPS_MAX,
        "of the listener's L7 rules: its regular expressions could take too long to try on one "
        "request. Begin them with ^, have fewer of * and + in each, no repeat of what repeats or "
        "has alternatives, or use STARTS_WITH, ENDS_WITH and CONTAINS",
    )


@once_each_all
def _of_extras(pool: Pool) -> Iterator[Objection]:
    """What needs something else of the pool to have an effect."""
    place, monitor = f"pools/{pool.id}", pool.health_monitor
    if monitor is None or not monitor.admin_state_up:
        for field in ("panic_threshold", "outlier_ejection"):
            if getattr(pool, field):
                yield _incomplete(
                    f"{place}/{field}",
                    f"{field} has no effect without a health monitor, "
                    "which finds members down and up again.",
                )


@once_each_all
def _of_pool(pool: Pool) -> Iterator[Objection]:
    place = f"pools/{pool.id}"
    reason = UNSERVED_POOLS.get(pool.protocol)
    if reason is not None:
        yield _incompatible(f"{place}/protocol", reason)
    if pool.lb_algorithm is Algorithm.SOURCE_IP_PORT:
        yield _incompatible(
            f"{place}/lb_algorithm",
            "This provider does not serve SOURCE_IP_PORT. "
            "Use SOURCE_IP, ROUND_ROBIN or LEAST_CONNECTIONS.",
        )
    if pool.session_persistence is not None:
        yield from _checked(
            f"{place}/session_persistence", view.persistence, pool.session_persistence
        )
    for member in pool.members:
        for field, address in (
            ("address", member.address),
            ("monitor_address", member.monitor_address),
        ):
            if address is not None:
                yield from _checked(
                    f"{place}/members/{member.id}", words.address, address, field=field
                )
    if not pool.members:
        yield _incomplete(f"{place}/members", "The pool has no members.")
    elif not any(member.admin_state_up for member in pool.members):
        yield _incomplete(f"{place}/members", "All members of the pool are administratively down.")
    if pool.health_monitor is not None:
        yield from _of_monitor(pool.health_monitor, f"{place}/healthmonitor")


def _of_monitor(monitor: HealthMonitor, place: str) -> Iterator[Objection]:
    reason = UNSERVED_MONITORS.get(monitor.type)
    if reason is not None:
        yield _incompatible(f"{place}/type", reason)
    elif monitor.type in HTTP_MONITORS:
        yield from _checked(place, checks.http_check, monitor)
    if monitor.timeout > max(monitor.delay, 1):
        yield _incomplete(
            f"{place}/timeout",
            f"The health monitor's timeout ({monitor.timeout} s) is longer than its delay "
            f"({monitor.delay} s): a member that does not answer is found later than the delay "
            "says.",
        )


def _unread(tree: LoadBalancer) -> Iterator[Objection]:
    """Attributes of pools that say something of requests, under listeners that read none."""
    pools = {pool.id: pool for pool in tree.pools}
    for listener in tree.listeners:
        if listener.protocol in HTTP_LISTENERS:
            continue
        pool = pools.get(listener.default_pool_id) if listener.default_pool_id else None
        if pool is None:
            continue
        wish = pool.session_persistence
        unread = {
            "session_persistence": wish.type.value if wish and wish.type in COOKIES else "",
            "http2": "http2" if pool.http2 else "",
        }
        for field, name in unread.items():
            if name:
                yield _incomplete(
                    f"pools/{pool.id}/{field}",
                    f"{name} has no effect under the {listener.protocol.value} listener "
                    f"{listener.id}: its traffic is not read as HTTP.",
                )


def _checked(
    place: str, read: view.Reader, value: object, *, field: str = ""
) -> Iterator[Objection]:
    """An objection where a text does not fit the grammar of its field."""
    try:
        read(value)
    except Invalid as wrong:
        yield _incompatible(f"{place}/{field or wrong.field}", f"The {wrong.public}.")


def _incomplete(path: str, reason: str) -> Objection:
    return Objection(Severity.INCOMPLETE, path, reason)


def _incompatible(path: str, reason: str) -> Objection:
    return Objection(Severity.INCOMPATIBLE, path, reason)
