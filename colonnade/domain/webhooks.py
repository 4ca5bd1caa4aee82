# SPDX-License-Identifier: Apache-2.0
"""Webhooks: where events of a project, or of all of them, are sent as they happen.

A webhook is a project's own. The secret that its messages are signed with is kept apart from it
and never shown. Which addresses may be called is decided here, on the address itself; nothing is
known here of how anything is sent.
"""

import base64
import binascii
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from colonnade.domain import limits
from colonnade.domain.attributes import Attribute
from colonnade.domain.errors import Invalid, require
from colonnade.domain.event_kinds import FLEET_KINDS, FLEET_OBJECT_TYPES, KINDS, OBJECT_TYPES
from colonnade.domain.limits import Text

PREFIX: Final = "whsec_"  # of the scheme, before the base64 of a secret
OVERLAP_S: Final = 86_400.0
KEY_BYTES: Final = range(24, 65)  # of the scheme
KEY_RULE: Final = "is 24 to 64 random bytes in base64, as `openssl rand -base64 32` prints them"


class Secrets(msgspec.Struct, frozen=True):
    """What messages are signed with. For a while after it was replaced the one before is used
    beside the new one, so that a receiver may be told at any time between."""

    present: bytes
    before: bytes = b""
    before_until: float = 0.0  # seconds since 1970

    def replaced(self, key: bytes, now: float) -> "Secrets":
        return Secrets(key, self.present, now + OVERLAP_S)

    def keys(self, now: float) -> list[bytes]:
        return [self.present, self.before] if now < self.before_until else [self.present]

    def __repr__(self) -> str:
        return "Secrets(***)"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message, as it was tried. `status`: what the receiver answered; `failure`: "" when it
    took the message; events are counted, and named by the ids of the first and the last."""

    id: str
    at: str
    delivered: bool
    failure: str
    status: int | None
    ms: int
    events: int
    first_event_id: int | None = None
    last_event_id: int | None = None


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes. `missed_at`: when events were last found to be forgotten before they could be
    sent. `deliveries`: the latest ones, the newest first."""

    last_success_at: str | None
    last_failure_at: str | None
    failing_since: str | None
    retry_at: str | None
    missed_at: str | None
    deliveries: list[Delivery]


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Without `kinds` or `object_types` events of all of them are sent."""

    id: str
    url: Annotated[
        Annotated[str, Meta(max_length=limits.URL_MAX)],
        Attribute("Where events are sent.", option="--to"),
    ]
    name: Annotated[Text, Attribute()] = ""
    description: Annotated[Text, Attribute("What it is for.")] = ""
    kinds: Annotated[
        tuple[Text, ...], Attribute("Only events of these kinds.", option="--kind")
    ] = ()
    object_types: Annotated[
        tuple[Text, ...], Attribute("Only events about these.", option="--about")
    ] = ()
    all_projects: Annotated[
        bool, Attribute("Events of all projects and of the fleet (operators).", fixed=True)
    ] = False
    enabled: Annotated[bool, Attribute("Whether events are sent.")] = True
    ca_certificate: Annotated[
        Annotated[str, Meta(max_length=limits.CA_CERTIFICATE_MAX)],
        Attribute("CA of its certificate: a PEM file."),
    ] = ""

    def __post_init__(self) -> None:
        self._check_url()
        known = (*KINDS, *FLEET_KINDS) if self.all_projects else KINDS
        _check_words("kinds", self.kinds, known)
        known = (*OBJECT_TYPES, *FLEET_OBJECT_TYPES) if self.all_projects else OBJECT_TYPES
        _check_words("object_types", self.object_types, known)

    def _check_url(self) -> None:
        rule = "must begin with https:// or http:// and a host"
        try:
            url = urlsplit(self.url)
            host, port = url.hostname, url.port
        except ValueError as error:
            raise Invalid(f"url {rule}", field="url") from error
        require("url", url.scheme in ("https", "http") and bool(host) and port != 0, rule)
        plain = self.url.isascii() and self.url.isprintable() and " " not in self.url
        require("url", plain and len(self.url) <= limits.URL_MAX, "has characters it cannot have")
        bare = not (url.fragment or url.username or url.password is not None)
        require("url", bare, "must have no user and no fragment")


def _check_words(field: str, words: tuple[str, ...], known: Iterable[str]) -> None:
    known = tuple(known)
    for word in words:
        rule = f"are of {', '.join(known)}; '{word[:40]}' is none of them"
        require(field, word in known, rule)
    require(field, len(set(words)) == len(words), "are named once each")


def read_secret(text: str) -> bytes:
    """The key in it. Raises Invalid, without a word of what it is."""
    try:
        key = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Invalid(f"secret {KEY_RULE}", field="secret") from error
    require("secret", len(key) in KEY_BYTES, KEY_RULE)
    return key


_Network = IPv4Network | IPv6Network
# What no service of anybody's has: this machine, its link (and so a cloud's metadata), many at
# once, and networks that stand for nothing on the way.
NEVER: Final = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/96", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::/32"),
        "198.18.0.0/15",  # the LB network of one machine
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


class Reach(msgspec.Struct, frozen=True):
    """Which addresses may be called: those in `allowed`; and all others that are neither in
    `denied` nor in `NEVER`."""

    allowed: tuple[_Network, ...] = ()
    denied: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, allowed: Iterable[str], denied: Iterable[str]) -> Self:
        """Raises Invalid for a text that is no network."""
        return cls(tuple(map(_network, allowed)), tuple(map(_network, denied)))

    def has(self, text: str) -> bool:
        """Whether the address may be called. An IPv6 address that leads to an IPv4 one is both."""
        address = ip_address(text.partition("%")[0])
        return all(
            _is_in(one, self.allowed) or not _is_in(one, (*NEVER, *self.denied))
            for one in (address, *_inner(address))
        )

    def names(self, text: str) -> bool:
        """Whether it is in `allowed`."""
        return _is_in(ip_address(text.partition("%")[0]), self.allowed)

    def check(self, url: str) -> None:
        """Refuse what can be known of a URL without asking anybody. Raises Invalid."""
        host = urlsplit(url).hostname or ""
        try:
            may = self.has(host)
        except ValueError:  # a name: what it leads to is looked at as it is called
            return
        require("url", may, "has an address that this service does not call")


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[_Network]) -> bool:
    return any(address in network for network in networks)


def _inner(address: IPv4Address | IPv6Address) -> Iterable[IPv4Address]:
    """The IPv4 addresses that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return ()
    teredo = address.teredo
    found = [address.ipv4_mapped, address.sixtofour, *(teredo or ())]
    if address in _NAT64:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _network(text: str) -> _Network:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise Invalid(f"webhooks: '{text}' is no network, such as 192.0.2.0/24") from error
