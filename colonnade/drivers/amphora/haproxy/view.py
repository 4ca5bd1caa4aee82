# SPDX-License-Identifier: Apache-2.0
"""Trees as haproxy sees them: sections, lines and words, all decided and all escaped.

Which parts of a tree are served at all is decided here and nowhere else: what
is administratively down, or waits for something, is not in the view. Knows no file and no socket.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from colonnade.domain.errors import require
from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import ListenerId, PoolId
from colonnade.domain.listeners import Listener
from colonnade.domain.ordering import CHALLENGE_PORT, Challenge
from colonnade.domain.pools import Member, OutlierEjection, Persistence, Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import (
    HTTP_LISTENERS,
    Algorithm,
    ListenerProtocol,
    Observed,
    PersistenceType,
    PoolProtocol,
)
from colonnade.drivers.amphora.haproxy import certificates, checks, l7, words
from colonnade.drivers.amphora.haproxy.access_log import access_log
from colonnade.drivers.amphora.haproxy.sections import (
    BackendView,
    ChallengeView,
    Ejection,
    FrontendView,
    Header,
    LoadBalancerView,
    MemberView,
    Panic,
    Plain,
    Stick,
)
from colonnade.drivers.amphora.haproxy.words import Word

Reader = Callable[[Any], object]

MODES: Final = {
    ListenerProtocol.HTTP: Word("http"),
    ListenerProtocol.HTTPS: Word("tcp"),
    ListenerProtocol.TCP: Word("tcp"),
    ListenerProtocol.TERMINATED_HTTPS: Word("http"),
    ListenerProtocol.PROMETHEUS: Word("http"),
}
POOLED: Final = MODES.keys() - {ListenerProtocol.PROMETHEUS}  # those that need members
BALANCES: Final = {
    Algorithm.ROUND_ROBIN: Word("roundrobin"),
    Algorithm.LEAST_CONNECTIONS: Word("leastconn"),
    Algorithm.SOURCE_IP: Word("source"),
}
PROXY_VERSIONS: Final = {PoolProtocol.PROXY: 1, PoolProtocol.PROXYV2: 2}
# What haproxy prints for each header that the wire contract lets a listener insert.
HEADER_SOURCES: Final[Mapping[str, Word | None]] = {
    "X-Forwarded-For": None,  # haproxy's own option: it adds to what is there
    "X-Forwarded-Port": Word("%[dst_port]"),
    "X-Forwarded-Proto": Word("http"),
    "X-Forwarded-IP": Word("%[src]"),
    "X-Client-IP": Word("%[src]"),
    "X-Real-IP": Word("%[src]"),
}
HEADER_SOURCES_TLS: Final[Mapping[str, Word | None]] = {
    "X-Forwarded-Proto": Word("https"),
    "X-SSL-Client-Verify": Word("%[ssl_c_verify]"),
    "X-SSL-Client-Has-Cert": Word("%[ssl_c_used]"),
    "X-SSL-Client-DN": Word("%{+Q}[ssl_c_s_dn]"),
    "X-SSL-Client-CN": Word("%{+Q}[ssl_c_s_dn(cn)]"),
    "X-SSL-Issuer": Word("%{+Q}[ssl_c_i_dn]"),
    "X-SSL-Client-SHA1": Word("%{+Q}[ssl_c_sha1,hex]"),
    "X-SSL-Client-Not-Before": Word("%{+Q}[ssl_c_notbefore]"),
    "X-SSL-Client-Not-After": Word("%{+Q}[ssl_c_notafter]"),
}
TUNNEL_MS_MIN: Final = 3_600_000


def views(wanted: Cluster) -> tuple[LoadBalancerView, ...]:
    """All that is to be served, in the order of ids. Empty when nothing is."""
    if wanted.deleted:
        return ()
    trees = sorted(wanted.load_balancers, key=lambda tree: tree.id)
    alone = len(trees) == 1
    asked = _challenge(wanted.challenge)
    seen = (_load_balancer(tree, alone, asked) for tree in trees if tree.admin_state_up)
    return tuple(view for view in seen if view.frontends)


def _challenge(wanted: Challenge | None) -> ChallengeView | None:
    if wanted is None:
        return None
    return ChallengeView(
        thumbprint=words.name(wanted.thumbprint),
        hosts=tuple(words.host(name) for name in wanted.host_names),
    )


def inserted_headers(listener: Listener) -> tuple[Header, ...]:
    """The headers that a listener inserts, but for X-Forwarded-For. Raises Invalid."""
    ends_tls = listener.protocol is ListenerProtocol.TERMINATED_HTTPS
    sources = {**HEADER_SOURCES, **(HEADER_SOURCES_TLS if ends_tls else {})}
    for header in listener.insert_headers:
        known = header in sources
        require("insert_headers", known, f"cannot insert {header!r} into an HTTP listener")
    return tuple(
        Header(Word(header), source)
        for header, source in sources.items()
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


def _load_balancer(
    tree: LoadBalancer, alone: bool, asked: ChallengeView | None
) -> LoadBalancerView:
    pools = {pool.id: pool for pool in tree.pools if pool.admin_state_up}
    names = backend_names(tree, pools)
    backends: dict[Word, BackendView] = {}
    frontends = []
    for listener in _served(tree):
        own = {pool_id: names[listener.id, pool_id] for pool_id in _pools_of(listener, pools)}
        for pool_id, name in own.items():
            if name not in backends:
                backends[name] = _backend(name, pools[pool_id], listener, tree.vip.address)
        panics = {name: backends[name].panic for name in own.values()}
        frontend = _frontend(tree, listener, own, panics, alone)
        if listener.protocol is ListenerProtocol.HTTP and listener.protocol_port == CHALLENGE_PORT:
            frontend = msgspec.structs.replace(frontend, challenge=asked)
        frontends.append(frontend)
    return LoadBalancerView(
        name=words.name(tree.id),
        frontends=tuple(frontends),
        backends=tuple(_with_panics(backends.values())),
    )


def _served(tree: LoadBalancer) -> Iterator[Listener]:
    for listener in sorted(tree.listeners, key=lambda listener: listener.id):
        if listener.admin_state_up and listener.protocol in MODES:
            yield listener


def _pools_of(listener: Listener, pools: Mapping[PoolId, Pool]) -> list[PoolId]:
    """The pools that are up and may get traffic of the listener, its default first."""
    default = [listener.default_pool_id] if listener.default_pool_id is not None else []
    chosen = [pool_id for p in l7.in_force(listener.l7policies) for pool_id in p.pool_ids]
    return [pool_id for pool_id in dict.fromkeys((*default, *chosen)) if pool_id in pools]


def backend_names(
    tree: LoadBalancer, pools: Mapping[PoolId, Pool]
) -> dict[tuple[ListenerId, PoolId], Word]:
    """One backend per pool where its listeners agree on all that a backend holds, so that
    members are checked once; `pool:listener` for each group where they do not."""
    groups: dict[PoolId, dict[tuple[Word, int, int], list[ListenerId]]] = {}
    for listener in _served(tree):
        mode = MODES[listener.protocol]
        need = mode, listener.timeout_member_connect, listener.timeout_member_data
        for pool_id in _pools_of(listener, pools):
            groups.setdefault(pool_id, {}).setdefault(need, []).append(listener.id)
    names = {}
    for pool_id, needs in groups.items():
        for listeners in needs.values():
            name = words.name(pool_id if len(needs) == 1 else f"{pool_id}:{listeners[0]}")
            names.update({(listener_id, pool_id): name for listener_id in listeners})
    return names


def _frontend(
    tree: LoadBalancer,
    listener: Listener,
    own: Mapping[PoolId, Word],
    panics: Mapping[Word, Panic | None],
    alone: bool,
) -> FrontendView:
    http = listener.protocol in HTTP_LISTENERS
    limit = listener.connection_limit
    inspect = listener.timeout_tcp_inspect
    forwarded_for = http and _is_true(listener.insert_headers.get("X-Forwarded-For"))
    exports = listener.protocol is ListenerProtocol.PROMETHEUS
    default = listener.default_pool_id
    return FrontendView(
        name=words.name(listener.id),
        mode=MODES[listener.protocol],
        binds=tuple(words.endpoint(vip.address, listener.protocol_port) for vip in tree.vips),
        client=words.milliseconds(listener.timeout_client_data),
        connection_limit=limit if limit > 0 else None,
        inspect=words.milliseconds(inspect) if inspect else None,
        forwarded_for=forwarded_for,
        headers=inserted_headers(listener) if http else (),
        backend=own.get(default) if default is not None else None,
        policies=l7.policies(listener.l7policies, own) if http else l7.Policies(),
        panics=tuple((name, panic) for name, panic in panics.items() if panic is not None),
        compression=http and listener.compression,
        exporter=Word("alone" if alone else "shared") if exports else None,
        access_log=access_log(listener, tree, http=MODES[listener.protocol] == "http"),
        tls=certificates.bind_options(listener),
        hsts=certificates.hsts(listener),
    )


def _backend(name: Word, pool: Pool, listener: Listener, vip: str) -> BackendView:
    wish = pool.session_persistence
    stick = persistence(wish) if wish is not None else None
    mode = MODES[listener.protocol]
    if stick is not None and stick.kind != "source" and mode != "http":
        stick = None
    percent = pool.panic_threshold
    check = checks.check(pool.health_monitor, vip)
    watched = percent and check is not None
    return BackendView(
        name=name,
        mode=mode,
        balance=BALANCES[pool.lb_algorithm],
        connect=words.milliseconds(listener.timeout_member_connect),
        server=words.milliseconds(listener.timeout_member_data),
        tunnel=_tunnel(listener) if mode == "http" else None,
        check=check,
        stick=stick,
        proxy_version=PROXY_VERSIONS.get(pool.protocol, 0),
        members=_members(pool),
        retries=pool.retries,
        slow_start=words.milliseconds(pool.slow_start * 1000) if pool.slow_start else None,
        http2=pool.http2 and mode == "http",
        ejection=_ejection(pool.outlier_ejection, mode) if check is not None else None,
        panic=Panic(backend=words.name(f"panic:{name}"), percent=percent) if watched else None,
        drain_seconds=pool.drain_seconds,
        own=Plain(pool),
        tls=certificates.server_options(pool, mode),
    )


def _with_panics(backends: Iterable[BackendView]) -> Iterator[BackendView]:
    for backend in backends:
        yield backend
        if backend.panic is not None:
            yield msgspec.structs.replace(
                backend, name=backend.panic.backend, check=None, ejection=None, panic=None
            )


def _ejection(wish: OutlierEjection | None, mode: Word) -> Ejection | None:
    if wish is None:
        return None
    reads = wish.observe is Observed.RESPONSES and mode == "http"
    return Ejection(layer=Word("layer7" if reads else "layer4"), errors=wish.errors)


def _tunnel(listener: Listener) -> Word | None:
    """A WebSocket is silent for longer than an answer may take. None: no limit, as asked for."""
    if listener.timeout_member_data == 0:
        return None
    return words.milliseconds(max(listener.timeout_member_data, TUNNEL_MS_MIN))


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
        own=Plain(member),
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
