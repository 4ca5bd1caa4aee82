# SPDX-License-Identifier: Apache-2.0
"""One configuration for every process: a TOML file, checked as it is read.

Defaults suit one machine. `colonnade up` writes the file for its own processes; an operator of
many machines writes it by hand. Paths are absolute after reading.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

import msgspec

NO_AUTH: Final = "none"
# In the order of their ports.
OFFICES_OF_METRICS: Final = ("api", "controller", "health", "network", "notifier")
METRICS_SOCKET: Final = "COLONNADE_METRICS_FD"  # names one that the supervisor listens with
RELAY_SOCKET: Final = "COLONNADE_RELAY_FD"  # the same, for the relay to the database
RELAY: Final = "COLONNADE_RELAY"  # names that socket's path, to who must go by it


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 9876
    workers: int = 1
    # Or "token", or "keystone"; "none" is refused on any address that is not loopback.
    auth: str = NO_AUTH
    policy_file: Path | None = None  # oslo.policy YAML, in place of the rules that are built in
    allowed_hosts: tuple[str, ...] = ()  # with auth "none": further names in Host; loopback's are
    rate_per_s: float = 0.0  # requests of one project, in each worker; 0: as many as it likes
    rate_burst: int = 0  # at once; 0: those of two seconds
    header_timeout_s: float = 30.0  # for the next request, from its head on, to come
    body_timeout_s: float = 20.0  # for its body
    connections_max: int = 8192  # held open at once, in each worker
    held_per_project: int = 100  # event streams and waiting requests, in each worker
    held_per_token: int = 50
    default_provider: str = "amphora"
    default_topology: str = "SINGLE"  # of load balancers without a flavor; or "ACTIVE_STANDBY"
    enabled_providers: tuple[str, ...] = ("amphora", "octavia", "noop")
    noop: bool = False  # every name above is served by the noop provider
    # In the place of our own words: by provider, and by key of a flavor's or zone's data.
    provider_descriptions: dict[str, str] = {}
    flavor_capabilities: dict[str, str] = {}
    availability_zone_capabilities: dict[str, str] = {}


class Keystone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With auth "keystone": where it is, and who this service is there."""

    auth_url: str = ""
    www_authenticate_uri: str = ""  # what callers without a token are told; "": auth_url
    username: str = ""
    user_domain: str = "Default"
    project: str = "service"
    project_domain: str = "Default"
    application_credential: str = ""  # its id, in the place of user and project
    secret_file: Path | None = None  # the user's password, or the credential's secret
    ca_file: Path | None = None  # None: the system's
    region: str = ""  # of other services' endpoints; "": any
    timeout_s: float = 3.0
    remembered_s: float = 30.0  # so long a revoked token may live on
    lived_on_s: float = 600.0  # and a known one while Keystone cannot be asked
    service_roles: tuple[str, ...] = ("service",)  # one of them is asked of X-Service-Token


class Neutron(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With network "neutron". Who this service is there, the table [keystone] says."""

    lb_subnet: str = ""  # the id of the LB network's subnet
    interface: str = "public"  # or "internal", "admin": which address of the catalog is asked
    timeout_s: float = 30.0


class Nova(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With compute "nova"."""

    flavor: str = ""  # of amphorae whose own flavor names none: an id or a name
    image: str = ""  # an id; "": the newest active image with the tag
    image_tag: str = "amphora"  # where an amphora's flavor names none
    image_owner: str = ""  # the project whose images count; "": any that this service sees
    availability_zone: str = ""
    # Amphorae of one flavor are on different hosts: "soft" if possible, "strict" always, or "none".
    anti_affinity: Literal["soft", "strict", "none"] = "soft"
    boots_at_once: int = 8  # that one controller has under way
    built_s: float = 120.0  # longest that it watches one
    gone_s: float = 60.0  # longest that it watches one go
    host_down_s: float = 120.0  # after which a host that Nova does not hear counts as off
    interface: str = "public"
    timeout_s: float = 60.0  # of one call


class Barbican(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With secrets "barbican". Where it is the catalog says; who asks, the table [keystone]."""

    interface: str = "public"  # or "internal", "admin": which address of the catalog is asked
    ca_file: Path | None = None  # None: that of [keystone]
    timeout_s: float = 3.0  # for one answer
    look_s: float = 600.0  # between two looks whether a secret has another content


class Metrics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where each process of this machine says how it does. Not loopback: over mutual TLS alone."""

    host: str = "127.0.0.1"
    # Of the API; controller, health process, network daemon and notifier have the next four.
    port: int = 0  # 0: those that `up` finds free; none without `up`


class LbNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This machine's own address on the LB network, where amphorae find it."""

    address: str = "198.18.0.1"


class Heartbeats(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds. Silence longer than `stale_s` means FAILED."""

    interval_s: float = 1.0
    stale_s: float = 3.5
    spare_interval_s: float = 30.0
    spare_stale_s: float = 75.0
    boot_s: float = 60.0  # longest wait for an amphora's first heartbeat


class Health(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    receivers: int = 1  # processes on this host, each with a port of its own


class Failovers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the system may replace by itself. What a person asks for is never held back."""

    safe_mode: bool = True  # hold back when so many fall silent that the fault may be ours
    mass_percent: float = 10.0  # of those that are watched: more is a mass,
    mass_least: int = 3  # when it is at least as many as these
    window_s: float = 10.0  # in which they fall silent
    deaf_s: float = 120.0  # nobody at all is heard: none is replaced for so long
    settle_s: float = 60.0  # after an outage, or a start: those not heard since trickle
    calm_s: float = 60.0  # with nobody silent, and safe mode ends
    trickle_per_minute: int = 1  # in safe mode: amphorae that serve; and as many spares
    per_minute: int = 60  # in all other times
    per_host_per_minute: int = 20
    # How long one that is heard may be in trouble before it is replaced.
    haproxy_s: float = 20.0
    keepalived_s: float = 20.0
    disk_s: float = 60.0
    gateway_s: float = 30.0
    applies_nothing_s: float = 120.0
    again_s: float = 600.0  # until the next of the same load balancer may be, for trouble


class Retirement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of outdated amphorae that serve, by the system itself. Spares are always exchanged."""

    automatic: bool = True
    grace_s: float = 900.0  # outdated for so long: a certificate may still be renewed
    pause_s: float = 60.0  # between one and the next
    again_s: float = 86_400.0  # until the next begins, after one that stopped or was cancelled


class Reloads(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of haproxy, on each amphora that is born from now on."""

    pause_s: float = 1.0  # at least, between two
    old_workers_max: int = 24  # that finish old connections; beyond, one is ended
    memory_reserve_mib: int = 32  # a reload that would leave less is refused


class Quotas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a project may have when nobody has said otherwise for it. -1: any number."""

    loadbalancer: int = -1
    listener: int = -1
    pool: int = -1
    member: int = -1
    healthmonitor: int = -1
    l7policy: int = -1
    l7rule: int = -1


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long what happened is kept, and how much of it. What is beyond goes, little by
    little."""

    events_days: float = 90.0
    events_max: int = 100_000
    generations_days: float = 30.0  # the newest of a load balancer always stays
    generations_max: int = 1000  # of one load balancer
    idempotency_hours: float = 24.0
    idempotency_max: int = 100_000
    tokens_days: float = 30.0  # after they expired
    failovers_days: float = 30.0
    counters_days: float = 1.0  # of amphorae that are gone, each for itself; their sums stay


class Webhooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Networks, such as "10.0.0.0/8". What is not allowed by name and is loopback, link-local, of
    this machine or of the LB network is never called."""

    allowed: tuple[str, ...] = ()  # may be called, whatever they are
    denied: tuple[str, ...] = ()  # may not, unless they are allowed too
    timeout_s: float = 10.0  # for a receiver to take a message
    give_up_days: float = 3.0  # of failures, and a webhook is disabled


class Notifications(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The message bus that is told of load balancers as Octavia tells it, through RabbitMQ."""

    # Holds the URL, with its password: "rabbit://USER:PASSWORD@HOST:5672/". None: no bus.
    transport_url_file: Path | None = None
    exchange: str = "openstack"  # `control_exchange` of oslo.messaging
    topics: tuple[str, ...] = ("notifications",)  # each is a queue, NAME.info
    durable: bool = False  # exchange and queues that are not there yet (`amqp_durable_queues`)
    ca_file: Path | None = None  # PEM, of the bus; makes the connection one of TLS
    timeout_s: float = 10.0  # for the bus to take a message, with the connection to it


class Acme(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The issuer from which certificates are ordered (RFC 8555)."""

    directory: str = ""  # its URL; "": none is ordered
    agree: bool = False  # to its terms of service
    contact: tuple[str, ...] = ()  # addresses of mail, for what it has to say
    ca_certificate: Path | None = None  # PEM, of an issuer that is not known to everybody

    @property
    def lack(self) -> str:
        """Why nothing can be ordered, "" when it can."""
        if not self.directory:
            return "no issuer is configured: an operator sets `directory` of [acme]"
        if not self.agree:
            return "nobody agreed to the issuer's terms: an operator sets `agree` of [acme] to true"
        return ""


class PhysicalNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network that this machine is on. `drivers/network/namespaces/physical.py` says what each
    mode needs, and refuses what cannot be."""

    name: str
    # How amphorae are on it; "": `bridge` where one is named, else `macvlan`.
    mode: Literal["", "host", "bridge", "macvlan", "routed"] = ""
    interface: str = ""
    bridge: str = ""
    cidr: str | tuple[str, ...] = ()  # one of each IP version
    gateway: str | tuple[str, ...] = ()
    range: str | tuple[str, ...] = ()  # "192.0.2.10-192.0.2.20", "192.0.2.32/28", one address
    vlan: int = 0  # of the interface; 0: none


KEPT: Final = Kept()


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    state_dir: Path  # durable: database, certificates, the network's address book
    run_dir: Path  # sockets and pid files; short, because of the 107 bytes of a socket's path
    database_url: str  # a libpq connection string
    database_password_file: Path | None = None  # read again when it is another
    network_url: str = ""  # "unix:/path" or "https://host:port" of the network daemon
    network_driver: Literal["namespaces", "neutron"] = "namespaces"
    compute_driver: Literal["namespaces", "nova"] = "namespaces"
    spares: int = 2
    amphora_certificate_days: float = 14.0  # renewed in place at half of it
    amphora_memory_mib: int = 2048  # where control groups can be written
    amphora_processes: int = 4096  # threads included
    keep_amphorae: bool = True  # on disk, with their keys: they serve after a boot by themselves
    templates_dir: Path | None = None  # the operator's own haproxy templates, looked in first
    haproxy: str = ""  # path of the binary; "": the one in the wheel, else the one on PATH
    keepalived: str = ""  # the same, for pairs; "": the one on PATH
    bird: str = ""  # the same, for VIPs that amphorae announce by BGP
    log_level: str = "INFO"
    # "barbican": references may lead to the cloud's key manager too.
    secrets_driver: Literal["database", "barbican"] = "database"
    api: Api = Api()
    keystone: Keystone = Keystone()
    neutron: Neutron = Neutron()
    nova: Nova = Nova()
    barbican: Barbican = Barbican()
    metrics: Metrics = Metrics()
    lb_network: LbNetwork = LbNetwork()
    heartbeats: Heartbeats = Heartbeats()
    health: Health = Health()
    failovers: Failovers = Failovers()
    retirement: Retirement = Retirement()
    reloads: Reloads = Reloads()
    quotas: Quotas = Quotas()
    kept: Kept = KEPT
    webhooks: Webhooks = Webhooks()
    notifications: Notifications = Notifications()
    acme: Acme = Acme()
    network: tuple[PhysicalNetwork, ...] = ()

    @property
    def pki_dir(self) -> Path:
        return self.state_dir / "pki"

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """Where processes of the control plane are, as far as addresses were named."""
        named = (self.lb_network.address, self.api.host, self.metrics.host)
        return tuple(one for one in named if _is_address(one))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def read_config(path: Path, above: Mapping[str, Any] | None = None) -> Config:
    """The file's configuration, with what stands in `above` in its place, tables joined.

    Raises msgspec.ValidationError or tomllib.TOMLDecodeError with the place and the reason."""
    with path.open("rb") as file:
        table = tomllib.load(file)
    for name, value in (above or {}).items():
        known = table.get(name)
        table[name] = {**known, **value} if isinstance(known, dict) else value
    return msgspec.convert(table, Config, dec_hook=lambda kind, text: kind(text))


def write_config(path: Path, config: Config) -> None:
    """Write the file that `read_config` reads; only its owner may read it."""
    path = path.resolve()  # a link stays one
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(config_text(config))
    draft.replace(path)


def config_text(config: Config) -> str:
    """The text of a file that `read_config` reads."""
    return "\n".join(_toml(msgspec.to_builtins(config, enc_hook=str))) + "\n"


def _toml(table: dict[str, object], prefix: str = "") -> Iterator[str]:
    """TOML of nested tables of text, numbers, flags and lists, and of lists of tables. JSON writes
    those values alike."""
    tables = {name: value for name, value in table.items() if isinstance(value, dict)}
    many = {name: value for name, value in table.items() if _are_tables(value)}
    for name, value in table.items():
        if name not in tables and name not in many and value is not None:
            yield f"{name} = {msgspec.json.encode(value).decode()}"
    for name, listed in many.items():
        for inner in listed:
            yield f"\n[[{prefix}{name}]]"
            yield from _toml(inner, f"{prefix}{name}.")
    for name, inner in tables.items():
        yield f"\n[{prefix}{name}]"
        yield from _toml(inner, f"{prefix}{name}.")


def _are_tables(value: object) -> TypeGuard[Sequence[dict[str, object]]]:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict)
