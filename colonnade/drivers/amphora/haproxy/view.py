# SPDX-License-Identifier: Apache-2.0
"""Trees as haproxy sees them: sections, lines and words, all decided and all escaped.

Values here hold numbers, flags and `Word`s, nothing else that is text, so a template has nothing
dangerous to print. Which parts of a tree are served at all is decided here and nowhere else: what
is administratively down, or waits for something, is not in the view. Knows no file and no socket.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final

import msgspec

from colonnade.domain.errors import require
from colonnade.domain.fleet import Cluster
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Persistence, Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import (
    HTTP_MONITORS,
    Algorithm,
    ListenerProtocol,
    MonitorType,
    PersistenceType,
    PoolProtocol,
)
from colonnade.drivers.amphora.haproxy import words
from colonnade.drivers.amphora.haproxy.words import Word

Reader = Callable[[Any], object]

MODES: Final = {
    ListenerProtocol.HTTP: Word("http"),
    ListenerProtocol.HTTPS: Word("tcp"),
    ListenerProtocol.TCP: Word("tcp"),
}
BALANCES: Final = {
    Algorithm.ROUND_ROBIN: Word("roundrobin"),
    Algorithm.LEAST_CONNECTIONS: Word("leastconn"),
    Algorithm.SOURCE_IP: Word("source"),
}
SERVED_MONITORS: Final = HTTP_MONITORS | {MonitorType.TCP, MonitorType.TLS_HELLO}
PROXY_VERSIONS: Final = {PoolProtocol.PROXY: 1, PoolProtocol.PROXYV2: 2}
# What haproxy prints for each header that the wire contract lets a listener insert.
HEADER_SOURCES: Final = {
    "X-Forwarded-For": None,  # haproxy's own option: it adds to what is there
    "X-Forwarded-Port": Word("%[dst_port]"),
    "X-Forwarded-Proto": Word("http"),
    "X-Forwarded-IP": Word("%[src]"),
    "X-Client-IP": Word("%[src]"),
    "X-Real-IP": Word("%[src]"),
}
DELAY_MS_MIN: Final = 1000  # a delay of 0 means as often as sensible; haproxy refuses 0


class Header(msgspec.Struct, frozen=True):
    name: Word
    value: Word


class HttpCheck(msgspec.Struct, frozen=True, kw_only=True):
    method: Word
    path: Word
    codes: Word
    version: Word  # "HTTP/1.0" or "HTTP/1.1"
    host: Word | None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    interval: Word
    timeout: Word | None  # None: haproxy's own, which is the interval
    rise: int
    fall: int
    tls: bool
    http: HttpCheck | None


class Stick(msgspec.Struct, frozen=True, kw_only=True):
    kind: Word  # "source", "cookie" (ours) or "app-cookie" (the member's)
    cookie: Word | None = None


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    name: Word
    number: int  # the same on every amphora and after every reload: what hashes are made of
    address: Word
    weight: int
    enabled: bool
    backup: bool
    check_address: Word | None
    check_port: int | None


class BackendView(msgspec.Struct, frozen=True, kw_only=True):
    name: Word
    mode: Word
    balance: Word
    connect: Word
    server: Word
    check: Check | None
    stick: Stick | None
    proxy_version: int  # 0: none
    members: tuple[MemberView, ...]
    servers: Word = Word("")  # stands for the server lines; see render.py

    @property
    def cookies(self) -> bool:
        return self.stick is not None and self.stick.kind == "cookie"


class FrontendView(msgspec.Struct, frozen=True, kw_only=True):
    name: Word
    mode: Word
    bind: Word
    client: Word
    connection_limit: int | None
    inspect: Word | None
    forwarded_for: bool
    headers: tuple[Header, ...]
    backend: Word | None


class LoadBalancerView(msgspec.Struct, frozen=True, kw_only=True):
    name: Word
    frontends: tuple[FrontendView, ...]
    backends: tuple[BackendView, ...]


def views(wanted: Cluster) -> tuple[LoadBalancerView, ...]:
    """All that is to be served, in the order of ids. Empty when nothing is."""
    if wanted.deleted:
        return ()
    trees = sorted(wanted.load_balancers, key=lambda tree: tree.id)
    seen = (_load_balancer(tree) for tree in trees if tree.admin_state_up)
    return tuple(view for view in seen if view.frontends)


def inserted_headers(listener: Listener) -> tuple[Header, ...]:
    """The headers that a listener inserts, but for X-Forwarded-For. Raises Invalid."""
    for header in listener.insert_headers:
        known = header in HEADER_SOURCES
        require("insert_headers", known, f"cannot insert {header!r} into an HTTP listener")
    return tuple(
        Header(Word(header), source)
        for header, source in HEADER_SOURCES.items()
        if source is not None and _is_true(listener.insert_headers.get(header))
    )


def persistence(wish: Persistence) -> Stick:
    """Raises Invalid when the cookie's name is none."""
    match wish.type:
        case PersistenceType.SOURCE_IP:
            return Stick(kind=Word("source"))
        case PersistenceType.HTTP_COOKIE:
            return Stick(kind=Word("cookie"))
        case PersistenceType.APP_COOKIE:
            return Stick(kind=Word("app-cookie"), cookie=words.cookie(wish.cookie_name or ""))


def http_check(monitor: HealthMonitor, address: str = "192.0.2.1") -> HttpCheck:
    """The request of an HTTP or HTTPS monitor. Raises Invalid where a text does not fit.

    HTTP/1.1 requires a Host: without a domain name it is the VIP's address, as for a client
    that knows no name (RFC 9112, 3.2).
    """
    version = monitor.http_version or 1.0
    require("http_version", version in (1.0, 1.1), "must be 1.0 or 1.1")
    named = words.host(monitor.domain_name) if monitor.domain_name is not None else None
    return HttpCheck(
        method=words.method(monitor.http_method or "GET"),
        path=words.url_path(monitor.url_path or "/"),
        codes=words.status_codes(monitor.expected_codes or "200"),
        version=Word(f"HTTP/{version:.1f}"),
        host=None if version == 1.0 else named or words.address(address),
    )


def _load_balancer(tree: LoadBalancer) -> LoadBalancerView:
    pools = {pool.id: pool for pool in tree.pools if pool.admin_state_up}
    backends: dict[Word, BackendView] = {}
    frontends = []
    names = _backend_names(tree)
    for listener in _served(tree):
        pool = pools.get(listener.default_pool_id) if listener.default_pool_id else None
        backend_name = names[listener.id] if pool is not None else None
        if pool is not None and backend_name is not None and backend_name not in backends:
            backends[backend_name] = _backend(backend_name, pool, listener, tree.vip.address)
        frontends.append(_frontend(listener, tree.vip.address, backend_name))
    return LoadBalancerView(
        name=words.name(tree.id),
        frontends=tuple(frontends),
        backends=tuple(backends.values()),
    )


def _served(tree: LoadBalancer) -> Iterator[Listener]:
    for listener in sorted(tree.listeners, key=lambda listener: listener.id):
        if listener.admin_state_up and listener.protocol in MODES:
            yield listener


def _backend_names(tree: LoadBalancer) -> dict[str, Word]:
    """By listener. One backend per pool where its listeners agree on all that a backend holds,
    so that members are checked once; `pool:listener` for each group where they do not."""
    groups: dict[str, dict[tuple[Word, int, int], list[str]]] = {}
    for listener in _served(tree):
        if listener.default_pool_id is not None:
            mode = MODES[listener.protocol]
            need = mode, listener.timeout_member_connect, listener.timeout_member_data
            groups.setdefault(listener.default_pool_id, {}).setdefault(need, []).append(listener.id)
    names = {}
    for pool_id, needs in groups.items():
        for listeners in needs.values():
            text = pool_id if len(needs) == 1 else f"{pool_id}:{listeners[0]}"
            names.update(dict.fromkeys(listeners, words.name(text)))
    return names


def _frontend(listener: Listener, vip: str, backend: Word | None) -> FrontendView:
    http = listener.protocol is ListenerProtocol.HTTP
    limit = listener.connection_limit
    inspect = listener.timeout_tcp_inspect
    forwarded_for = http and _is_true(listener.insert_headers.get("X-Forwarded-For"))
    return FrontendView(
        name=words.name(listener.id),
        mode=MODES[listener.protocol],
        bind=words.endpoint(vip, listener.protocol_port),
        client=words.milliseconds(listener.timeout_client_data),
        connection_limit=limit if limit > 0 else None,
        inspect=words.milliseconds(inspect) if inspect else None,
        forwarded_for=forwarded_for,
        headers=inserted_headers(listener) if http else (),
        backend=backend,
    )


def _backend(name: Word, pool: Pool, listener: Listener, vip: str) -> BackendView:
    wish = pool.session_persistence
    stick = persistence(wish) if wish is not None else None
    mode = MODES[listener.protocol]
    if stick is not None and stick.kind != "source" and mode != "http":
        stick = None
    return BackendView(
        name=name,
        mode=mode,
        balance=BALANCES[pool.lb_algorithm],
        connect=words.milliseconds(listener.timeout_member_connect),
        server=words.milliseconds(listener.timeout_member_data),
        check=_check(pool.health_monitor, vip),
        stick=stick,
        proxy_version=PROXY_VERSIONS.get(pool.protocol, 0),
        members=_members(pool),
    )


def _check(monitor: HealthMonitor | None, vip: str) -> Check | None:
    if monitor is None or not monitor.admin_state_up or monitor.type not in SERVED_MONITORS:
        return None
    return Check(
        interval=words.milliseconds(max(monitor.delay * 1000, DELAY_MS_MIN)),
        timeout=words.milliseconds(monitor.timeout * 1000) if monitor.timeout else None,
        rise=monitor.max_retries,
        fall=monitor.max_retries_down,
        tls=monitor.type in (MonitorType.HTTPS, MonitorType.TLS_HELLO),
        http=http_check(monitor, vip) if monitor.type in HTTP_MONITORS else None,
    )


def _members(pool: Pool) -> tuple[MemberView, ...]:
    ordered = sorted(pool.members, key=lambda member: member.id)
    taken: set[int] = set()
    return tuple(_member(member, _number(member.id, taken)) for member in ordered)


def _member(member: Member, number: int) -> MemberView:
    checked = member.monitor_address
    return MemberView(
        name=words.name(member.id),
        number=number,
        address=words.endpoint(member.address, member.protocol_port),
        weight=int(member.weight),
        enabled=member.admin_state_up,
        backup=member.backup,
        check_address=words.address(checked) if checked is not None else None,
        check_port=member.monitor_port,
    )


def _number(member_id: str, taken: set[int]) -> int:
    """A number of 31 bits (haproxy's limit on a server's id) that only the id decides, unless
    two of one pool meet: then the later one takes the next digest."""
    digest = sha256(member_id.encode()).digest()
    while (number := int.from_bytes(digest[:4], "big") >> 1) in taken or number == 0:
        digest = sha256(digest).digest()
    taken.add(number)
    return number


def _is_true(text: str | None) -> bool:
    return text is not None and text.lower() == "true"
