# SPDX-License-Identifier: Apache-2.0
"""L7 policies and their rules: what a listener does with requests that match.

All rules of a policy must hold. A policy has the attributes of its own action and no others.
Nothing here knows in which order a provider looks at policies, or whether a pool is there.
"""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from colonnade.domain import limits
from colonnade.domain.attributes import Attribute
from colonnade.domain.errors import Conflict, Invalid, require
from colonnade.domain.ids import L7PolicyId, L7RuleId, PoolId
from colonnade.domain.limits import Integer, Text
from colonnade.domain.node import Description, Node
from colonnade.domain.vocabulary import CompareType, L7Action, L7RuleType

TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+", re.ASCII)  # RFC 9110, 5.6.2
COOKIE_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*", re.ASCII)  # RFC 6265, 4.1.1
DN_FIELD: Final = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
KEYED: Final = frozenset({L7RuleType.HEADER, L7RuleType.COOKIE, L7RuleType.SSL_DN_FIELD})
KEYLESS: Final = frozenset({L7RuleType.SSL_CONN_HAS_CERT, L7RuleType.SSL_VERIFY_RESULT})
COMPARES: Final = {
    L7RuleType.FILE_TYPE: frozenset({CompareType.REGEX, CompareType.EQUAL_TO}),
    L7RuleType.SSL_CONN_HAS_CERT: frozenset({CompareType.EQUAL_TO}),
    L7RuleType.SSL_VERIFY_RESULT: frozenset({CompareType.EQUAL_TO}),
}
REDIRECT_CODES: Final = frozenset({301, 302, 303, 307, 308})
REDIRECT_CODE: Final = 302
URL_ACTIONS: Final = frozenset({L7Action.REDIRECT_TO_URL, L7Action.REDIRECT_PREFIX})


class L7Rule(Node, frozen=True, kw_only=True):
    """One condition on a request. It has no name on the wire."""

    id: L7RuleId
    name: str = ""
    type: Annotated[L7RuleType, Attribute("Part of the request that is compared.")]
    compare_type: Annotated[CompareType, Attribute("How.", option="--compare")]
    key: Annotated[Text | None, Attribute("Which header, cookie or DN field.")] = None
    value: Annotated[Text, Attribute("With what.")]
    invert: Annotated[bool, Attribute("Invert: match when the comparison does not.")] = False

    def __post_init__(self) -> None:
        Node.__post_init__(self)
        allowed = COMPARES.get(self.type)
        require(
            "compare_type",
            allowed is None or self.compare_type in allowed,
            f"{self.compare_type.value} does not go with type {self.type.value}",
        )
        for field, text in (("value", self.value), ("key", self.key or "")):
            require(field, text.isprintable(), "has control characters")
        self._check_key()
        self._check_value()

    def _check_key(self) -> None:
        if self.type in KEYLESS:
            require("key", self.key is None, f"does not go with type {self.type.value}")
        if self.type not in KEYED:
            return
        grammar = DN_FIELD if self.type is L7RuleType.SSL_DN_FIELD else TOKEN
        fits = self.key is not None and grammar.fullmatch(self.key) is not None
        require("key", fits, f"must name what a rule of type {self.type.value} looks at")

    def _check_value(self) -> None:
        require("value", self.value != "", "must not be empty")
        if self.compare_type is CompareType.REGEX:
            try:
                re.compile(self.value)
            except (re.error, RecursionError, OverflowError) as error:
                raise Invalid(
                    f"value is not a regular expression: {error}", field="value"
                ) from error
        elif self.type is L7RuleType.SSL_CONN_HAS_CERT:
            require("value", self.value.lower() == "true", "must be True; use invert for the rest")
        elif self.type is L7RuleType.SSL_VERIFY_RESULT:
            fits = self.value.isascii() and self.value.isdigit()
            require("value", fits, "must be a whole number, 0 or more")
        elif self.type is L7RuleType.COOKIE:
            fits = COOKIE_VALUE.fullmatch(self.value) is not None
            require("value", fits, "has characters that the value of a cookie cannot have")


class WeightedPool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool's share of the requests: its weight among those of its group."""

    pool_id: PoolId
    weight: int = 1

    def __post_init__(self) -> None:
        require("weight", 0 <= self.weight <= limits.WEIGHT_MAX, "must be between 0 and 256")


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `requests` in any `seconds` for each client address, or value of a header; what is
    more is answered with 429."""

    requests: int
    seconds: int = 1
    header: str | None = None

    def __post_init__(self) -> None:
        require("requests", 1 <= self.requests <= 1_000_000, "must be between 1 and 1000000")
        require("seconds", 1 <= self.seconds <= 3600, "must be between 1 and 3600")
        _check_header_name(self.header)


class FixedResponse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    status_code: int = 200
    content_type: str = "text/plain"
    body: str = ""

    def __post_init__(self) -> None:
        require("status_code", 200 <= self.status_code <= 599, "must be between 200 and 599")
        fits = len(self.content_type) <= limits.TEXT_MAX and self.content_type.isprintable()
        require("content_type", fits, "must be printable and at most 255 long")
        size = len(self.body.encode(errors="surrogatepass"))
        require("body", size <= limits.RESPONSE_BODY_MAX, "is at most 4096 bytes long")


class Rewrite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of a request on its way in, and of its response on the way out. A path that begins
    with `path_prefix` begins with `path_replacement` instead."""

    set_request_headers: dict[str, str] = msgspec.field(default_factory=dict)
    remove_request_headers: tuple[str, ...] = ()
    set_response_headers: dict[str, str] = msgspec.field(default_factory=dict)
    remove_response_headers: tuple[str, ...] = ()
    path_prefix: str | None = None
    path_replacement: str | None = None

    def __post_init__(self) -> None:
        for headers in (self.set_request_headers, self.set_response_headers):
            require("rewrite", len(headers) <= limits.HEADERS_MAX, "sets at most 20 headers")
            for name, value in headers.items():
                _check_header_name(name)
                fits = len(value) <= 1024 and value.isprintable()
                require(name, fits, "must be printable and at most 1024 long")
        for names in (self.remove_request_headers, self.remove_response_headers):
            require("rewrite", len(names) <= limits.HEADERS_MAX, "removes at most 20 headers")
            for name in names:
                _check_header_name(name)
        both = (self.path_prefix is None) == (self.path_replacement is None)
        require("path_prefix", both, "goes with path_replacement")
        for path in (self.path_prefix, self.path_replacement):
            fits = path is None or (path.startswith("/") and path.isprintable() and " " not in path)
            require("path_prefix", fits, "and path_replacement begin with / and have no spaces")


class L7Policy(Node, frozen=True, kw_only=True):
    """What to do with requests for which all rules hold. `position` counts from 1; the listener
    packs the positions of its policies."""

    id: L7PolicyId
    description: Description = ""
    action: Annotated[L7Action, Attribute("What it does.")]
    position: Annotated[
        Annotated[int, Meta(ge=1, le=limits.POSITION_MAX)],
        Attribute("Its place in the order, from 1. Last when not given."),
    ] = limits.POSITION_MAX
    redirect_pool_id: Annotated[
        PoolId | None, Attribute("Pool to send requests to.", option="--pool", refers="pool")
    ] = None
    redirect_url: Annotated[Text | None, Attribute("To this URL.", option="--redirect-url")] = None
    redirect_prefix: Annotated[Text | None, Attribute("To the same path below this.")] = None
    redirect_http_code: Annotated[
        Integer | None, Attribute("301, 302, 303, 307 or 308.", chosen=True)
    ] = None
    # Ours: several pools that share the requests, and what the actions of ours need.
    redirect_pools: Annotated[
        tuple[WeightedPool, ...],
        Attribute("A pool's share of the requests; repeat.", option="--share"),
    ] = ()
    rate_limit: Annotated[RateLimit | None, Attribute("requests=100, seconds=10.")] = None
    fixed_response: Annotated[FixedResponse | None, Attribute("status_code=503, body=later.")] = (
        None
    )
    rewrite: Annotated[
        Rewrite | None, Attribute("path_prefix=/a, path_replacement=/b; or JSON.")
    ] = None
    rules: tuple[L7Rule, ...] = ()

    def __post_init__(self) -> None:
        Node.__post_init__(self)
        if len(self.rules) > limits.RULES_PER_POLICY_MAX:
            raise Conflict(f"Too many rules on L7 policy {self.id}")
        for field in ACTION_FIELDS:
            if field in ACTIONS[self.action]:
                continue
            unset = not getattr(self, field)
            require(field, unset, f"does not go with action {self.action.value}")
        needed = ACTIONS[self.action]
        present = not needed or any(getattr(self, field) for field in needed)
        require(" or ".join(needed), present, f"must be given for action {self.action.value}")
        self._check_redirect()

    def _check_redirect(self) -> None:
        _check_url("redirect_url", self.redirect_url)
        _check_url("redirect_prefix", self.redirect_prefix)
        if self.redirect_http_code is not None:
            fits = self.action in URL_ACTIONS
            require("redirect_http_code", fits, f"does not go with action {self.action.value}")
            fits = self.redirect_http_code in REDIRECT_CODES
            require("redirect_http_code", fits, "must be one of 301, 302, 303, 307, 308")
        if self.redirect_pools:
            alone = self.redirect_pool_id is None
            require("redirect_pools", alone, "and redirect_pool_id exclude each other")
            total = sum(pool.weight for pool in self.redirect_pools)
            require("redirect_pools", total > 0, "must have a weight above 0 among them")
            names = {pool.pool_id for pool in self.redirect_pools}
            require("redirect_pools", len(names) == len(self.redirect_pools), "name a pool twice")

    @property
    def pool_ids(self) -> tuple[PoolId, ...]:
        """The pools that it sends requests to."""
        alone = (self.redirect_pool_id,) if self.redirect_pool_id is not None else ()
        return (*alone, *(pool.pool_id for pool in self.redirect_pools))


# Which attributes an action has; at least one of them must be given.
ACTIONS: Final = {
    L7Action.REJECT: (),
    L7Action.REDIRECT_TO_URL: ("redirect_url",),
    L7Action.REDIRECT_TO_POOL: ("redirect_pool_id", "redirect_pools"),
    L7Action.REDIRECT_PREFIX: ("redirect_prefix",),
    L7Action.FIXED_RESPONSE: ("fixed_response",),
    L7Action.RATE_LIMIT: ("rate_limit",),
    L7Action.REWRITE: ("rewrite",),
}
ACTION_FIELDS: Final = tuple(field for fields in ACTIONS.values() for field in fields)


def _check_url(field: str, url: str | None) -> None:
    if url is None:
        return
    require(field, url.isprintable() and " " not in url, "has spaces or control characters")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Invalid(f"{field} is not a URL: {error}", field=field) from error
    fits = parts.scheme in ("http", "https") and bool(parts.netloc)
    require(field, fits, "must be an http or https URL")


def _check_header_name(name: str | None) -> None:
    if name is not None:
        fits = len(name) <= limits.TEXT_MAX and TOKEN.fullmatch(name) is not None
        require("header", fits, f"{name!r} is no name of a header")
