# SPDX-License-Identifier: Apache-2.0
"""The JSON bodies that go over mutual TLS between controllers and amphorae.

The amphora API (agent serves): GET /info, GET /status, GET /statistics, PUT /bundle, PUT /drain,
PUT and DELETE /seats/ID.
The controller's amphora-facing API (controller serves): GET /bundle?generation=N, POST /report,
GET /peers, POST /log-places (bodies in `protocol/logs.py`). Counters are absolute since the agent's
counting began, so a lost message loses nothing. `docs/protocol/amphora-api.md` is the page for
people. No sockets here.
"""

from enum import StrEnum

import msgspec

from colonnade.protocol.logs import LogLimits

PORT_AGENT = 9443  # TCP, on the amphora's LB network address
PORT_CONTROLLER = 9442  # TCP, on the controller's LB network address
PORT_HEALTH = 5555  # UDP, on the health receiver's LB network address
PORT_RECEIVERS = 5560  # UDP, and those above it: of each receiver, where a host has several
PORT_STICK_TABLES = 1025  # TCP, between the halves of a pair, on the VIPs' network
PORT_BGP = 179  # TCP, between an amphora that announces VIPs and routers, on the network of those
PORT_BFD = 3784  # UDP, the same
PORT_TASKS = 5556  # UDP, on the amphora's LB network address: "tasks pending"


class Info(msgspec.Struct, frozen=True, kw_only=True):
    amphora_id: str
    agent_version: str
    haproxy_version: str
    generation: int
    started_at: float  # seconds since 1970


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel says of the agent's process."""

    resident_bytes: int
    cpu_s: float
    open_files: int


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """What haproxy's last check of a server said: its `check_status` ("L4CON", "L7STS"...), the
    code of the answer (0: none), haproxy's or the server's words, and how long the check took.
    The first of several checks that said the same is told."""

    status: str
    code: int = 0
    text: str = ""
    duration_ms: int = 0


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`state` is one of UP, DOWN, DRAIN, MAINT, NO_CHECK. `check` says why it is DOWN."""

    backend: str
    name: str
    state: str
    check: CheckResult | None = None


class BackendStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is UP or DOWN: no server of it would take a new client."""

    name: str
    state: str


class ListenerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is OPEN or FULL; a listener that is not served is not listed."""

    name: str
    state: str


class TroubleKind(StrEnum):
    """What an agent may complain of. Whatever else runs on an amphora gets its own."""

    HAPROXY = "haproxy"  # it does not run, or does not answer, and should
    DISK = "disk"  # there is no room for a change
    KEEPALIVED = "keepalived"  # the same of one half of a pair
    GATEWAY = "gateway"  # no route to it, or it answers no more


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps an amphora from serving as it should, and its agent cannot mend. `kind`: one of
    `TroubleKind`; an agent of another release may know others."""

    kind: str
    text: str = ""


class Role(StrEnum):
    """Of one half of a pair: whether it holds the VIPs."""

    MASTER = "MASTER"
    BACKUP = "BACKUP"


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """What haproxy says of itself, under the names that the bundle gave."""

    generation: int
    haproxy_running: bool
    listeners: tuple[ListenerStatus, ...] = ()
    servers: tuple[ServerStatus, ...] = ()
    backends: tuple[BackendStatus, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    role: str = ""  # one of `Role`; "": it serves alone
    is_heard: bool = False  # of those that announce VIPs: a router of each IP version has heard it


class ListenerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Active connections are of now. Requests and responses: 0 where traffic is not HTTP."""

    name: str
    active_connections: int
    bytes_in: int
    bytes_out: int
    request_errors: int
    total_connections: int
    requests: int = 0
    denied_requests: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0


class MemberStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One server of one backend. Active connections and the queue are of now; `response_ms` is
    the mean of the last 1024 responses."""

    backend: str
    name: str
    active_connections: int = 0
    total_connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0
    connection_errors: int = 0
    response_errors: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0
    queued: int = 0
    response_ms: int = 0


class StatisticsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Counters that never go back; all listeners, and the members of the bundle served."""

    listeners: tuple[ListenerStatistics, ...] = ()
    members: tuple[MemberStatistics, ...] = ()


class Means(StrEnum):
    """How a bundle came to be served."""

    NOTHING = "nothing"
    RUNTIME = "runtime"  # told to the running haproxy
    RELOAD = "reload"


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to PUT /bundle: the generation served now and how it was reached."""

    generation: int
    means: str  # one of `Means`; an agent of another release may know others


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """Body of PUT /drain: let nobody open a connection, and answer when none is open, or after
    `within_ms`. Clients are let in again by themselves `closed_s` after the call."""

    within_ms: int
    closed_s: int


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: how many connections are still open."""

    open_connections: int


class NewSeat(msgspec.Struct, frozen=True, kw_only=True):
    """Body of PUT /seats/{id}: serve as this amphora too. `drive`: the files of its config drive,
    by name. It holds a private key."""

    id: str
    drive: dict[str, str]

    def __repr__(self) -> str:
        return f"NewSeat({self.id})"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Any 4xx or 5xx body. `reason` is haproxy's own words where haproxy refused."""

    reason: str
    generation: int = 0  # with 409: the newer generation that is served


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Body of POST /report: a bundle that the agent fetched and could not apply."""

    generation: int
    reason: str


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send things: "address:port" each, in no order. `renew`: a new identity is ready."""

    controllers: tuple[str, ...]
    receivers: tuple[str, ...]
    renew: bool = False


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to POST /identity: what takes the place of agent.pem and ca.pem."""

    identity: str  # certificate and private key
    authorities: str  # the certificates of all authorities to trust

    def __repr__(self) -> str:
        return "Renewal(***)"


class Renewing(msgspec.Struct, frozen=True, kw_only=True):
    """Body of POST /identity. `proof` is needed from an amphora whose certificate has expired."""

    proof: str = ""  # `protocol.lateness.proof`


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`agent.json` on the config drive. Beside it lie agent.pem (certificate and key), ca.pem
    and heartbeat.key (hex). Of a seat, the one that its carrier is given for it."""

    amphora_id: str
    lb_interface: str = "lb0"
    lb_network_ip: str
    lb_prefix_length: int
    lb_gateway: str = ""  # "": who is not on the LB network is not spoken with
    controllers: tuple[str, ...]
    receivers: tuple[str, ...]
    heartbeat_s: float = 1.0  # while it serves
    heartbeat_spare_s: float = 30.0  # while it does not
    haproxy: str = "haproxy"  # path of the binary
    keepalived: str = "keepalived"  # the same, where pairs are served
    bird: str = "bird"  # the same, where VIPs are announced
    logs: LogLimits = LogLimits()
    reload_pause_s: float = 1.0  # at least, between two reloads
    old_workers_max: int = 24  # that finish old connections; the idlest is ended beyond
    memory_reserve_mib: int = 32  # a reload that would leave less is refused
