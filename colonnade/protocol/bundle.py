# SPDX-License-Identifier: Apache-2.0
"""All that an amphora needs to serve one generation, and what a change of it takes.

A bundle is whole: an amphora serves the old one or the new one, never a mix. The agent knows
no listener or pool; it sees a text, named servers, files and interfaces. `plan_change` is the
one place that decides whether a change needs nothing, the runtime socket or a reload; the agent
acts on it and a dry run shows it. No sockets here.
"""

from hashlib import sha256

import msgspec

BUNDLE_BYTES_MAX = 8 * 1024 * 1024
# Names that `Bundle.needs` may have. A part that would be dangerous to leave out gets one.
ROUTED = "routed"
PAIR = "pair"
BGP = "bgp"
KNOWN_NEEDS: frozenset[str] = frozenset((ROUTED, PAIR, BGP))
LOCAL = "lo"  # in the place of a MAC address


class _Wire(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reader does not know it ignores; what it must not ignore is named in `needs` of the
    bundle. What is as always is not said."""


class Hearer(_Wire, frozen=True, kw_only=True):
    """A router to which VIPs are announced by BGP."""

    address: str  # without a prefix length
    asn: int
    own_asn: int
    bfd_ms: int = 0  # 0: without BFD


class Interface(_Wire, frozen=True, kw_only=True):
    """A network interface in the traffic namespace, found by its MAC address. The one called
    `LOCAL` has the VIPs that routers lead here, "192.0.2.10/32": the amphora takes them for its own
    and tells no neighbour. A bundle that has it needs `ROUTED`."""

    mac: str
    addresses: tuple[str, ...]  # "203.0.113.7/24"
    gateways: tuple[str, ...] = ()  # at most one of each IP version
    is_default: bool = False  # the main routing table's default route goes through it
    floating: tuple[str, ...] = ()  # of a pair's VIPs: on whichever half is active
    peers: tuple[str, ...] = ()  # of many that are active: where the others are, on its network
    hearers: tuple[Hearer, ...] = ()  # on its network, of the VIPs of `LOCAL`; needs `BGP`


class Pair(_Wire, frozen=True, kw_only=True):
    """How one half of an active/standby pair speaks VRRP with the other. The VIPs that move are
    `floating` of the interfaces, and the interface that it speaks on has `own`."""

    own: str  # this half's address, without a prefix length
    peer: str = ""  # the other half's; "": there is none
    priority: int
    advert_ms: int = 100
    stands_down: bool = False  # it is to give the VIPs away, and not to take them


class Server(_Wire, frozen=True, kw_only=True):
    """One server line of a haproxy backend, in the words that `add server` takes too."""

    name: str
    address: str  # "10.0.0.5:80" or "[2001:db8::5]:80"
    weight: int = 1
    enabled: bool = True
    options: str = ""  # everything after the address but weight and state: "check inter 5000 ..."
    drain_seconds: int = 0  # after it left the bundle: how long clients that stick to it may stay


class Backend(_Wire, frozen=True, kw_only=True):
    name: str
    servers: tuple[Server, ...] = ()


class Access(_Wire, frozen=True, kw_only=True):
    """Who may open connections to one port of a VIP. A port without one is open to all; where a
    port has several, each must let the client pass."""

    address: str  # without a prefix length
    port: int
    allowed: tuple[str, ...]  # CIDRs; those of the other IP version mean nothing here
    protocol: str = "tcp"  # or "udp"; "vrrp" has no ports, and whatever its address is meant


class Secret(_Wire, frozen=True):
    """PEM that only haproxy may see. `in_place`: haproxy can take another in its place while it
    runs. Not so what peers are verified by: a TLS session that was made before could be resumed
    without being verified anew."""

    pem: str
    in_place: bool = False

    def __repr__(self) -> str:
        return "Secret(***)"


class Bundle(_Wire, frozen=True, kw_only=True):
    """`config` is the whole haproxy file, with the servers of `backends` in it.
    `frame` is a digest of the same file without those server lines: two bundles with the same
    frame differ in servers only. `files` maps file names below `paths.FILES` to their text,
    `secrets` those below `paths.SECRETS`; new contents under old names need no reload."""

    generation: int
    look: int = 0  # of the controller, at ports: of two of one generation, the higher is newer
    config: str
    frame: str
    backends: tuple[Backend, ...] = ()
    files: dict[str, str] = {}
    interfaces: tuple[Interface, ...] = ()
    access: tuple[Access, ...] = ()
    secrets: dict[str, Secret] = {}
    pair: Pair | None = None  # None: the amphora serves alone
    needs: tuple[str, ...] = ()  # what a reader must know: who does not, refuses all of it

    def is_older(self, served: "Bundle") -> bool:
        """Whether the one that is served must stay. What says no look is told apart by its
        generation alone."""
        if self.generation != served.generation or not self.look:
            return self.generation < served.generation
        return self.look < served.look

    @property
    def unknown_needs(self) -> tuple[str, ...]:
        """What is needed and not known here: then a newer release made it."""
        return tuple(sorted(set(self.needs) - KNOWN_NEEDS))

    @property
    def digest(self) -> str:
        """Same content, same digest, whatever the generation and the look."""
        files = sorted(self.files.items())
        secrets = sorted(self.secrets.items())
        content = (
            *(self.config, self.backends, files),
            *(self.interfaces, self.access, secrets, self.pair),
        )
        return sha256(msgspec.json.encode(content)).hexdigest()

    @property
    def serves(self) -> bool:
        """Whether there is anything for haproxy to do."""
        return self.config != ""

    def __repr__(self) -> str:
        return f"Bundle(generation={self.generation}, digest={self.digest[:12]})"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to go from one bundle to another. No reload and no commands: nothing."""

    interfaces: bool = False
    access: bool = False
    files: bool = False
    reload: bool = False
    removed: tuple[tuple[str, Server], ...] = ()  # (backend, server)
    added: tuple[tuple[str, Server], ...] = ()
    reweighted: tuple[tuple[str, Server], ...] = ()  # same place and options; weight or state
    replaced: tuple[str, ...] = ()  # names of secrets whose content is new

    @property
    def touches_servers(self) -> bool:
        return bool(self.removed or self.added or self.reweighted)


def plan_change(present: Bundle | None, wanted: Bundle) -> Change:
    """What takes an amphora that serves `present` to `wanted`. Pure."""
    if present is None:
        return Change(interfaces=True, access=bool(wanted.access), files=True, reload=True)
    outside = Change(
        interfaces=present.interfaces != wanted.interfaces,
        access=present.access != wanted.access,
    )
    replaced = _replaced(present, wanted)
    files = present.files != wanted.files or replaced is None
    if replaced is None or files or present.frame != wanted.frame:
        return msgspec.structs.replace(outside, files=files, reload=True)
    outside = msgspec.structs.replace(outside, replaced=replaced)
    return _server_changes(present, wanted, outside)


def _replaced(present: Bundle, wanted: Bundle) -> tuple[str, ...] | None:
    """Names of secrets whose content is new; None when that cannot be told to a running haproxy."""
    before, after = present.secrets, wanted.secrets
    if before.keys() != after.keys():
        return None
    names = tuple(sorted(name for name, secret in after.items() if before[name] != secret))
    return names if all(before[name].in_place and after[name].in_place for name in names) else None


def _server_changes(present: Bundle, wanted: Bundle, outside: Change) -> Change:
    before = {(b.name, s.name): s for b in present.backends for s in b.servers}
    after = {(b.name, s.name): s for b in wanted.backends for s in b.servers}
    removed, added, reweighted = [], [], []
    for (backend, name), old in before.items():
        new = after.get((backend, name))
        if new is None or (new.address, new.options) != (old.address, old.options):
            removed.append((backend, old))
    for (backend, name), new in after.items():
        known = before.get((backend, name))
        if known is None or (new.address, new.options) != (known.address, known.options):
            added.append((backend, new))
        elif known != new:
            reweighted.append((backend, new))
    return msgspec.structs.replace(
        outside,
        removed=tuple(removed),
        added=tuple(added),
        reweighted=tuple(reweighted),
    )
