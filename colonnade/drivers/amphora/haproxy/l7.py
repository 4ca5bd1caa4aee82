# SPDX-License-Identifier: Apache-2.0
"""L7 policies as haproxy's conditions and actions, in the order in which they are looked at.

The order is one for all listeners: refusals and rate limits, then answers without a member
(redirects, fixed responses), then the choice of a pool, each by position; rewrites come last and
end nothing. Every condition sees the request as the client sent it. A policy that is down, or has
no rule that is up, never applies. Knows no frontend; texts of users leave here as `Word`s.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from colonnade.domain.errors import require
from colonnade.domain.ids import PoolId
from colonnade.domain.l7 import REDIRECT_CODE, FixedResponse, L7Policy, L7Rule, RateLimit, Rewrite
from colonnade.domain.vocabulary import CompareType, L7Action, L7RuleType
from colonnade.drivers.amphora.haproxy import host_names, regexes, words
from colonnade.drivers.amphora.haproxy.words import Word

COMPARISONS: Final = {
    CompareType.REGEX: "reg",
    CompareType.STARTS_WITH: "beg",
    CompareType.ENDS_WITH: "end",
    CompareType.CONTAINS: "sub",
    CompareType.EQUAL_TO: "str",
}
PHASES: Final = (
    (L7Action.REJECT, L7Action.RATE_LIMIT),
    (L7Action.REDIRECT_PREFIX, L7Action.REDIRECT_TO_URL, L7Action.FIXED_RESPONSE),
)
# The last part of a path from its last dot on; nothing when there is no dot.
FILE_TYPE: Final = 'path,field(-1,/),regsub("^[^.]*$",""),field(-1,.)'
RATE_LIMITS_MAX: Final = 8  # of one listener: haproxy's counters of a request, see the head
VERIFY_RESULT_MAX: Final = 2**31 - 1
# To try all regular expressions of a listener on one request: half a second on a slow machine.
STEPS_MAX: Final = 50_000_000
# haproxy tries each value of a header by itself: a request has room for so many long ones, or for
# so many short ones.
LONG_VALUES: Final = 16
SHORT_VALUES: Final = 500
LISTS: Final = frozenset({L7RuleType.HOST_NAME, L7RuleType.HEADER, L7RuleType.COOKIE})
NOT_IN_PATH: Final = re.compile(r"[^!$%&'()*+,/:;=@A-Za-z0-9._~\[\]|^`{}\"\\-]", re.ASCII)
NOT_IN_FILE_TYPE: Final = re.compile(r"[./?#\s]")
WITHOUT_BODY: Final = frozenset({204, 304})


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One rule under a name of its own."""

    name: Word
    test: Word


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A stick table that counts the requests which were let pass, and its slot in a request."""

    table: Word
    slot: int
    requests: int
    period: Word
    header: Word | None  # None: counted by client address
    key: Word


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What ends a request before a member is asked. `kind`: deny, limit, location, prefix or
    return."""

    kind: Word
    when: Word
    code: int = 0
    target: Word = Word("")
    content_type: Word | None = None
    body: Word | None = None
    limit: Limit | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A backend for the requests that no earlier choice took. `below`: its upper end of the
    numbers that are drawn among `of`; no number is drawn for a pool alone."""

    backend: Word
    when: Word
    draws: bool = False
    of: int = 1
    below: int = 1


class HeaderChange(msgspec.Struct, frozen=True, kw_only=True):
    name: Word
    value: Word | None  # None: it is removed


class PathChange(msgspec.Struct, frozen=True, kw_only=True):
    prefix: Word
    replacement: Word


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is rewritten of the requests that `mark` was set for, and of their responses."""

    mark: Word
    when: Word
    request: tuple[HeaderChange, ...]
    response: tuple[HeaderChange, ...]
    path: PathChange | None


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()
    answers: tuple[Answer, ...] = ()
    choices: tuple[Choice, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def limits(self) -> tuple[Limit, ...]:
        return tuple(answer.limit for answer in self.answers if answer.limit is not None)


def in_force(policies: Iterable[L7Policy]) -> tuple[L7Policy, ...]:
    """Those that can apply to a request at all, by position."""
    return tuple(
        policy
        for policy in policies
        if policy.admin_state_up and any(rule.admin_state_up for rule in policy.rules)
    )


def policies(found: Iterable[L7Policy], backends: Mapping[PoolId, Word]) -> Policies:
    """Raises Invalid where a text does not fit. `backends`: by pool; a pool that is not there is
    down, and its policy does not apply."""
    served = in_force(found)
    tests = (rule for policy in served for rule in policy.rules if rule.admin_state_up)
    slots = {policy.id: slot for slot, policy in enumerate(_with(served, L7Action.RATE_LIMIT))}
    return Policies(
        conditions=tuple(one for rule in tests for one in conditions(rule)),
        answers=tuple(
            answer(policy, slots.get(policy.id, 0))
            for phase in PHASES
            for policy in _with(served, *phase)
        ),
        choices=tuple(
            choice
            for policy in _with(served, L7Action.REDIRECT_TO_POOL)
            for choice in _choices(policy, backends)
        ),
        changes=tuple(
            _change(policy, policy.rewrite)
            for policy in _with(served, L7Action.REWRITE)
            if policy.rewrite is not None
        ),
    )


def steps(policy: L7Policy) -> int:
    """How many steps the policy's regular expressions could take at one request. Raises
    Invalid."""
    asked = max(1, len(policy.redirect_pools), 4 if policy.action is L7Action.RATE_LIMIT else 1)
    return asked * sum(map(_steps, policy.rules))


def _steps(rule: L7Rule) -> int:
    if rule.compare_type is not CompareType.REGEX:
        return 0
    one = regexes.steps(rule.value) * len(_tests(rule))
    if rule.type not in LISTS:
        return one
    # What few characters can keep busy, each of many values can.
    return one * (SHORT_VALUES if one >= regexes.STEPS_MAX else LONG_VALUES)


def conditions(rule: L7Rule) -> tuple[Condition, ...]:
    """Any of which may hold. Raises Invalid when haproxy could not read the rule's expression."""
    name = words.name(rule.id)
    if rule.type is L7RuleType.SSL_CONN_HAS_CERT:
        return (Condition(name=name, test=Word("ssl_c_used")),)
    if rule.type is L7RuleType.SSL_VERIFY_RESULT:
        number = min(int(rule.value), VERIFY_RESULT_MAX)
        return (Condition(name=name, test=Word(f"ssl_c_verify {number}")),)
    if rule.compare_type is CompareType.REGEX:
        regexes.check(rule.value)
    case = " -i" if rule.type is L7RuleType.HOST_NAME else ""
    how = COMPARISONS[rule.compare_type]
    return tuple(
        Condition(name=name, test=Word(f"{fetch}{case} -m {how} -- {words.quoted(value)}"))
        for fetch, value in _tests(rule)
    )


def never(rule: L7Rule) -> str:
    """Why no request can ever meet the rule's value, "" when one can."""
    how, value = rule.compare_type, rule.value
    if how is CompareType.REGEX:
        return ""
    begins = how in (CompareType.STARTS_WITH, CompareType.EQUAL_TO)
    ends = how in (CompareType.ENDS_WITH, CompareType.EQUAL_TO)
    match rule.type:
        case L7RuleType.HOST_NAME:
            return host_names.never(value, how)
        case L7RuleType.PATH if begins and not value.startswith("/"):
            return "a path begins with /"
        case L7RuleType.PATH if found := NOT_IN_PATH.search(value):
            return (
                f"a path has no '{found.group()}': what follows ? or # is none of it, and other "
                "characters are sent as %XX"
            )
        case L7RuleType.FILE_TYPE if found := NOT_IN_FILE_TYPE.search(_value(rule)):
            return f"what follows the last dot of a path has no '{found.group()}'"
        case L7RuleType.HEADER if (begins and value[:1] == " ") or (ends and value[-1:] == " "):
            return "the value of a header neither begins nor ends with a space"
    return ""


def tried(policy: L7Policy) -> None:
    """Raises Invalid for a text of the action that haproxy could not read."""
    answer(policy)
    if policy.rewrite is not None:
        _change(policy, policy.rewrite)


def answer(policy: L7Policy, slot: int = 0) -> Answer:
    """Raises Invalid where a text does not fit. Of every action that ends a request."""
    when = _when(policy)
    match policy.action:
        case L7Action.RATE_LIMIT if policy.rate_limit is not None:
            limit = _limit(policy, policy.rate_limit, slot)
            return Answer(kind=Word("limit"), when=when, limit=limit)
        case L7Action.FIXED_RESPONSE if policy.fixed_response is not None:
            return _fixed(policy.fixed_response, when)
        case L7Action.REDIRECT_TO_URL | L7Action.REDIRECT_PREFIX:
            url = policy.redirect_url or policy.redirect_prefix or ""
            to_prefix = policy.action is L7Action.REDIRECT_PREFIX
            return Answer(
                kind=Word("prefix" if to_prefix else "location"),
                when=when,
                code=policy.redirect_http_code or REDIRECT_CODE,
                # haproxy puts the path behind it, which begins with a slash.
                target=words.formatted(words.ascii_url(url.rstrip("/") if to_prefix else url)),
            )
        case _:
            return Answer(kind=Word("deny"), when=when)


def _with(found: Iterable[L7Policy], *actions: L7Action) -> list[L7Policy]:
    return [policy for policy in found if policy.action in actions]


def _when(policy: L7Policy) -> Word:
    """All rules, joined as haproxy joins conditions: by nothing."""
    parts = (f"{'!' if r.invert else ''}{r.id}" for r in policy.rules if r.admin_state_up)
    return Word(" ".join(parts))


def _tests(rule: L7Rule) -> list[tuple[Word, str]]:
    """What is looked at and what it is compared with, any of which may hold."""
    if rule.type is not L7RuleType.HOST_NAME:
        return [(_fetch(rule), _value(rule))]
    name = "req.hdr(host),host_only,rtrim(.)"
    if rule.compare_type is not CompareType.REGEX:
        return [(Word(name), form) for form in host_names.forms(rule.value, rule.compare_type)]
    begin = f",bytes(0,{regexes.SUBJECT_MAX})"
    found = [(Word(f"{name}{begin}"), rule.value)]
    if ":" in rule.value:  # it may speak of the port
        found.append((Word(f"req.hdr(host){begin}"), rule.value))
    return found


def _fetch(rule: L7Rule) -> Word:
    # See `regexes`: no longer text may keep haproxy busy.
    is_regex = rule.compare_type is CompareType.REGEX
    begin = f",bytes(0,{regexes.SUBJECT_MAX})" if is_regex else ""
    match rule.type:
        case L7RuleType.PATH:
            return Word(f"path{begin}")
        case L7RuleType.FILE_TYPE:
            return words.quoted(f"{FILE_TYPE}{begin}")
        case L7RuleType.HEADER:
            # The whole line: dates, and what browsers say of themselves, have commas in them.
            return words.fetch("req.fhdr", rule.key or "", begin)
        case L7RuleType.COOKIE:
            return words.fetch("req.cook", rule.key or "", begin)
        case _:
            return words.fetch("ssl_c_s_dn", rule.key or "", begin)


def _value(rule: L7Rule) -> str:
    equal = rule.compare_type is CompareType.EQUAL_TO
    if rule.type is L7RuleType.FILE_TYPE and equal:
        return rule.value.removeprefix(".") or rule.value
    return rule.value


def _limit(policy: L7Policy, wish: RateLimit, slot: int) -> Limit:
    header = wish.header
    return Limit(
        table=words.name(f"limit:{policy.id}"),
        slot=slot,
        requests=wish.requests,
        period=words.milliseconds(wish.seconds * 1000),
        header=words.header(header) if header is not None else None,
        key=words.fetch("req.fhdr", header, ",sha1") if header is not None else Word("src"),
    )


def _fixed(wish: FixedResponse, when: Word) -> Answer:
    silent = wish.status_code in WITHOUT_BODY
    fits = not (silent and wish.body)
    require("fixed_response", fits, f"has a body, which a {wish.status_code} response has not")
    return Answer(
        kind=Word("return"),
        when=when,
        code=wish.status_code,
        content_type=words.quoted(wish.content_type) if wish.body else None,
        body=words.body(wish.body) if wish.body else None,
    )


def _choices(policy: L7Policy, backends: Mapping[PoolId, Word]) -> Iterable[Choice]:
    when = _when(policy)
    if policy.redirect_pool_id is not None:
        if policy.redirect_pool_id in backends:
            yield Choice(backend=backends[policy.redirect_pool_id], when=when)
        return
    group = [p for p in policy.redirect_pools if p.weight > 0 and p.pool_id in backends]
    total, below = sum(pool.weight for pool in group), 0
    for place, pool in enumerate(group):
        below += pool.weight
        yield Choice(
            backend=backends[pool.pool_id], when=when, draws=place == 0, of=total, below=below
        )


def _change(policy: L7Policy, wish: Rewrite) -> Change:
    prefix, replacement = wish.path_prefix, wish.path_replacement
    path = None
    if prefix is not None and replacement is not None:
        rest = f"%[path,bytes({len(prefix.encode())})]"
        if replacement.endswith("/") and not prefix.endswith("/"):
            # What is left begins with a slash of its own, or is nothing.
            replacement = replacement[:-1]
            rest = rest.replace(")]", '),regsub("^/*","/")]')
        rest = f"{words.escaped(replacement)}{rest}"
        path = PathChange(prefix=words.quoted(prefix), replacement=words.quoted(rest))
    return Change(
        mark=Word(f"txn.rewrite_{policy.position}"),
        when=_when(policy),
        request=_headers(wish.set_request_headers, wish.remove_request_headers),
        response=_headers(wish.set_response_headers, wish.remove_response_headers),
        path=path,
    )


def _headers(present: Mapping[str, str], removed: Iterable[str]) -> tuple[HeaderChange, ...]:
    """Removals first: a name in both is set."""
    return (
        *(HeaderChange(name=words.header(name), value=None) for name in removed),
        *(
            HeaderChange(name=words.header(name), value=words.header_value(value))
            for name, value in present.items()
        ),
    )
