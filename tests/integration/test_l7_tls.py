# SPDX-License-Identifier: Apache-2.0
"""L7 rules about client certificates: real handshakes, with a certificate and without one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from colonnade.domain.l7 import FixedResponse, L7Policy, L7Rule
from colonnade.domain.vocabulary import ClientAuthentication, CompareType, L7Action, L7RuleType
from tests.certificates import Made, authority, made
from tests.haproxy_extras import policy, rule
from tests.haproxy_tls import ends_tls
from tests.haproxy_trees import member, pool
from tests.tls_bench import MEMBER, TlsBench

CA = authority("Test CA")
WEB, ANNE, BERT = made("www.example.org", CA), made("anne", CA), made("bert", CA)
EQUAL, TYPE = CompareType.EQUAL_TO, L7RuleType
HAS_CERT = rule(1, "True", TYPE.SSL_CONN_HAS_CERT, EQUAL)
VERIFIED = rule(2, "0", TYPE.SSL_VERIFY_RESULT, EQUAL)
UNVERIFIED = rule(3, "20", TYPE.SSL_VERIFY_RESULT, EQUAL)
IS_ANNE = rule(4, "anne", TYPE.SSL_DN_FIELD, EQUAL, key="CN")
# A request of the case named so is answered with 299 when all its rules hold.
CASES: dict[str, tuple[tuple[L7Rule, ...], set[str]]] = {
    "has": ((HAS_CERT,), {"anne", "bert"}),
    "none": ((replace(HAS_CERT, invert=True),), {"nobody"}),
    "verified": ((HAS_CERT, VERIFIED), {"anne", "bert"}),
    "unverified": ((HAS_CERT, UNVERIFIED), set()),
    "anne": ((IS_ANNE,), {"anne"}),
    "but-anne": ((HAS_CERT, replace(IS_ANNE, invert=True)), {"bert"}),
}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[TlsBench]:
    bench = TlsBench(tmp_path)
    bench.secrets = {"web": WEB.pem, "ca": CA.public}
    try:
        await bench.bench.start()
        await bench.member()
        yield bench
    finally:
        await bench.end()


def telling(number: int, case: str) -> L7Policy:
    """Rules of a listener have ids of their own, so each case gets copies."""
    copies = (
        rule(10 * number + place, x.value, x.type, x.compare_type, key=x.key, invert=x.invert)
        for place, x in enumerate(CASES[case][0])
    )
    named = rule(10 * number + 9, case, TYPE.HEADER, EQUAL, key="X-Case")
    told = FixedResponse(status_code=299)
    return policy(number, L7Action.FIXED_RESPONSE, named, *copies, fixed_response=told)


async def test_rules_on_certificates_hold_for_whom_they_name(bench: TlsBench) -> None:
    front = ends_tls(
        protocol_port=443,
        client_ca_tls_container_ref="ca",
        client_authentication=ClientAuthentication.OPTIONAL,
    ).with_policies(telling(number, case) for number, case in enumerate(CASES, start=300))
    behind = pool(members=(replace(member(1, MEMBER), protocol_port=8080),))
    await bench.serve(front, behind)
    owners: dict[str, Made | None] = {"anne": ANNE, "bert": BERT, "nobody": None}
    for client, own in owners.items():
        context = bench.client(CA.public, own=own)
        for case, (_, whom) in CASES.items():
            answer = await bench.get(context, headers={"X-Case": case})
            assert answer.status == (299 if client in whom else 200), (client, case)
