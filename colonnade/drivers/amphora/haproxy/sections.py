# SPDX-License-Identifier: Apache-2.0
"""The sections of haproxy's file as values: frontends, backends and what stands in them.

Values here hold numbers, flags and `Word`s, nothing else that is text, so a template has nothing
dangerous to print. Who decides what is in them is not known here.
"""

from enum import Enum

import msgspec

from colonnade.drivers.amphora.haproxy.access_log import AccessLogView
from colonnade.drivers.amphora.haproxy.l7 import Limit, Policies
from colonnade.drivers.amphora.haproxy.words import Word


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


class Plain:
    """The numbers, flags and fixed words of a member or a pool, by the names of its attributes:
    what a template may ask for without a line here. Its texts are not among them."""

    def __init__(self, value: msgspec.Struct) -> None:
        self._value = value

    def __getattr__(self, name: str) -> bool | int | float | Enum | None:
        value = getattr(self._value, name)
        if value is None or isinstance(value, bool | int | float | Enum):
            return value
        raise AttributeError(f"{name} is a text or an object, which goes through `words`")


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
    own: Plain  # what else the member says


class Ejection(msgspec.Struct, frozen=True, kw_only=True):
    layer: Word  # "layer4" or "layer7"
    errors: int


class Panic(msgspec.Struct, frozen=True, kw_only=True):
    """The same members unchecked, for when fewer than `percent` of them are up."""

    backend: Word
    percent: int


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
    tunnel: Word | None = None  # how long an upgraded connection may be silent
    retries: int | None = None
    slow_start: Word | None = None
    http2: bool = False
    ejection: Ejection | None = None
    panic: Panic | None = None
    drain_seconds: int = 0
    own: Plain | None = None  # what else the pool says
    tls: Word | None = None  # what server lines say of TLS to the members
    servers: Word = Word("")  # stands for the server lines; see render.py

    @property
    def cookies(self) -> bool:
        return self.stick is not None and self.stick.kind == "cookie"


class ChallengeView(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer of certificates asks these hosts for a token, and gets it back with ours."""

    thumbprint: Word
    hosts: tuple[Word, ...]


class FrontendView(msgspec.Struct, frozen=True, kw_only=True):
    name: Word
    mode: Word
    binds: tuple[Word, ...]
    client: Word
    connection_limit: int | None
    inspect: Word | None
    forwarded_for: bool
    headers: tuple[Header, ...]
    backend: Word | None
    policies: Policies = Policies()
    panics: tuple[tuple[Word, Panic], ...] = ()  # by the backend that is watched
    compression: bool = False
    exporter: Word | None = None  # "alone" or "shared": of what others must not see
    access_log: AccessLogView | None = None
    tls: Word | None = None  # what `bind` lines say of TLS
    hsts: Word | None = None
    challenge: ChallengeView | None = None

    @property
    def chooses(self) -> bool:
        """Whether requests are told apart by policies, or by how many members are up."""
        return bool(self.policies.choices or self.panics)


class LoadBalancerView(msgspec.Struct, frozen=True, kw_only=True):
    name: Word
    frontends: tuple[FrontendView, ...]
    backends: tuple[BackendView, ...]

    @property
    def limits(self) -> tuple[Limit, ...]:
        return tuple(limit for frontend in self.frontends for limit in frontend.policies.limits)
