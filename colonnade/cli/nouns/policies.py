# SPDX-License-Identifier: Apache-2.0
"""The nouns of layer 7: policies of a listener, and the rules of a policy."""

from typing import Final

from colonnade.cli.nouns.description import (
    DESCRIPTION,
    ENABLED,
    ID,
    NAME,
    STATUS,
    TAGS,
    Attribute,
    Column,
    Kind,
    Noun,
)

ACTIONS: Final = (
    "REJECT", "REDIRECT_TO_URL", "REDIRECT_TO_POOL", "REDIRECT_PREFIX", "FIXED_RESPONSE",
    "RATE_LIMIT", "REWRITE",
)  # fmt: skip
RULES: Final = (
    "HOST_NAME", "PATH", "FILE_TYPE", "HEADER", "COOKIE", "SSL_CONN_HAS_CERT",
    "SSL_VERIFY_RESULT", "SSL_DN_FIELD",
)  # fmt: skip
COMPARISONS: Final = ("EQUAL_TO", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "REGEX")

L7_POLICIES: Final = Noun(
    word="policy",
    noun="L7 policy",
    help="L7 policies",
    path="lbaas/l7policies",
    one="l7policy",
    many="l7policies",
    within=("listener", "listener_id"),
    columns=(
        NAME, ID, Column("Action", "action"), Column("Position", "position"), STATUS,
        Column("Listener", "listener_id"),
    ),
    filters=(
        Attribute("listener_id", "Of this listener.", options=("--listener",), refers="listener"),
    ),
    attributes=(
        Attribute(
            "listener_id", "The listener it is for.", options=("--listener",), refers="listener",
            required=True, fixed=True,
        ),
        Attribute("action", "What it does.", choices=ACTIONS, required=True),
        Attribute("position", "Its place in the order, from 1. Last when not given.", Kind.INTEGER),
        Attribute(
            "redirect_pool_id", "Pool to send requests to.", options=("--pool",),
            refers="pool",
        ),
        Attribute("redirect_url", "To this URL.", options=("--redirect-url",)),
        Attribute("redirect_prefix", "To the same path below this."),
        Attribute(
            "redirect_pools", "A pool's share of the requests; repeat.", Kind.SHARES,
            ("--share",),
        ),
        Attribute("rate_limit", "requests=100, seconds=10.", Kind.PAIRS, nested=True),
        Attribute("fixed_response", "status_code=503, body=later.", Kind.PAIRS, nested=True),
        Attribute("rewrite", "path_prefix=/a, path_replacement=/b; or JSON.", Kind.PAIRS),
        Attribute("redirect_http_code", "301, 302, 303, 307 or 308.", Kind.INTEGER),
        DESCRIPTION, ENABLED, TAGS,
    ),
)  # fmt: skip

L7_RULES: Final = Noun(
    word="rule",
    noun="L7 rule",
    help="rules of an L7 policy; all of them must hold",
    path="lbaas/l7policies/{parent}/rules",
    one="rule",
    many="rules",
    parent="policy",
    named=False,
    columns=(
        ID, Column("Type", "type"), Column("Compare", "compare_type"), Column("Key", "key"),
        Column("Value", "value"), Column("Invert", "invert"), STATUS,
    ),
    attributes=(
        Attribute("type", "Part of the request that is compared.", choices=RULES, required=True),
        Attribute("compare_type", "How.", options=("--compare",),
                  choices=COMPARISONS, required=True),
        Attribute("key", "Which header, cookie or DN field."),
        Attribute("value", "With what.", required=True),
        Attribute("invert", "Invert: match when the comparison does not.", Kind.FLAG),
        ENABLED, TAGS,
    ),
)  # fmt: skip
