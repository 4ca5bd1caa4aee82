# SPDX-License-Identifier: Apache-2.0
"""Each version of the network API as it was: what a caller of that version said and could read.

A daemon of today answers it, and a client of today reads it. These texts are never changed; a new
minor adds a table of its own.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import pytest

from colonnade.domain.ids import derived_id
from colonnade.drivers.compute.protocol import Instance
from colonnade.drivers.network.namespaces.address_book import (
    LB_NETWORK,
    PUBLIC,
    network_id,
    subnet_id,
)
from colonnade.drivers.network.namespaces.wire import Host, Trouble
from colonnade.drivers.network.protocol import Network, Port, Route, Subnet, Taken
from tests.integration.test_network_calls import raw, request
from tests.lab_site import Site, site, why_impossible

LB, AMPHORA, VIP = (derived_id("versions", name) for name in ("lb", "amphora", "vip"))
NAMES: Final = {
    "LB": LB,
    "AMPHORA": AMPHORA,
    "VIP": VIP,
    "NETWORK": network_id(PUBLIC.name),
    "SUBNET": subnet_id(PUBLIC.name, PUBLIC.cidrs[0]),
    "LBSUBNET": subnet_id(LB_NETWORK.name, LB_NETWORK.cidrs[0]),
}
PORT_AS_ANSWERED: Final = (
    '{"id":"VIP","network_id":"NETWORK","subnet_id":"SUBNET","address":"203.0.113.77",'
    '"mac":"02:00:00:00:00:01","owner":"lb:x","plugged_into":null}'
)
NETWORK_AS_ANSWERED: Final = '{"id":"NETWORK","name":"public","subnet_ids":["SUBNET"]}'
SUBNET_AS_ANSWERED: Final = (
    '{"id":"SUBNET","name":"public-subnet","network_id":"NETWORK","cidr":"203.0.113.0/24",'
    '"gateway_ip":"203.0.113.1"}'
)
INSTANCE_AS_ANSWERED: Final = '{"amphora_id":"AMPHORA","state":"RUNNING","host":"lab"}'
HOST_AS_ANSWERED: Final = (
    '{"name":"versions","network":"public","addresses":["203.0.113.9"],"command":[],'
    '"is_running":true}'
)
INVALID: Final = '{"kind":"Invalid","public":"text","detail":"","field":"port_id"}'
# Method, path, body, status, and an answer of that version with its type; "": there is none.
Call = tuple[str, str, str, int, str, Any]
V1_0: Final[Sequence[Call]] = (
    ("GET", "/v1/networks", "", 200, f"[{NETWORK_AS_ANSWERED}]", list[Network]),
    ("GET", "/v1/subnets", "", 200, f"[{SUBNET_AS_ANSWERED}]", list[Subnet]),
    ("GET", "/v1/lb-subnet", "", 200, SUBNET_AS_ANSWERED, Subnet),
    (
        "PUT",
        "/v1/ports/LB",
        '{"id":"LB","owner":"amphora:AMPHORA","network_id":null,"subnet_id":"LBSUBNET",'
        '"address":null}',
        200,
        PORT_AS_ANSWERED,
        Port,
    ),
    (
        "PUT",
        "/v1/ports/VIP",
        '{"id":"VIP","owner":"lb:x","network_id":null,"subnet_id":"SUBNET",'
        '"address":"203.0.113.77"}',
        200,
        PORT_AS_ANSWERED,
        Port,
    ),
    ("GET", "/v1/ports", "", 200, f"[{PORT_AS_ANSWERED}]", list[Port]),
    ("GET", "/v1/ports/VIP", "", 200, PORT_AS_ANSWERED, Port),
    (
        "PUT",
        "/v1/instances/AMPHORA",
        '{"amphora_id":"AMPHORA","lb_port_id":"LB","config_drive":{"a":"b"}}',
        204,
        "",
        None,
    ),
    ("GET", "/v1/instances", "", 200, f"[{INSTANCE_AS_ANSWERED}]", list[Instance]),
    ("GET", "/v1/instances/AMPHORA", "", 200, INSTANCE_AS_ANSWERED, Instance),
    ("PUT", "/v1/ports/VIP/plug", '{"amphora_id":"AMPHORA"}', 200, PORT_AS_ANSWERED, Port),
    ("DELETE", "/v1/ports/VIP/plug", "", 204, "", None),
    ("DELETE", "/v1/instances/AMPHORA", "", 204, "", None),
    ("DELETE", "/v1/ports/VIP", "", 204, "", None),
    ("DELETE", "/v1/ports/LB", "", 204, "", None),
    (
        "PUT",
        "/v1/lab/hosts/versions",
        '{"name":"versions","network":"public","address":null,"command":[],"directory":"/"}',
        200,
        HOST_AS_ANSWERED,
        Host,
    ),
    ("GET", "/v1/lab/hosts", "", 200, f"[{HOST_AS_ANSWERED}]", list[Host]),
    ("DELETE", "/v1/lab/hosts/versions", "", 204, "", None),
    (
        "PUT",
        "/v1/lab/networks/versions",
        '{"cidr":"10.78.0.0/24"}',
        200,
        NETWORK_AS_ANSWERED,
        Network,
    ),
)
ROUTE: Final = (
    '{"destination":"192.0.2.10/32","network_id":"NETWORK",'
    '"next_hops":[{"address":"203.0.113.77","weight":2}],"owner":"lb:x"}'
)
V1_1: Final[Sequence[Call]] = (
    ("GET", "/v1/subnets/SUBNET/free-addresses", "", 200, "252", int),
    (
        "PUT",
        "/v1/lab/networks/versions-alone",
        '{"cidr":"10.78.0.0/24","is_routed":false}',
        200,
        NETWORK_AS_ANSWERED,
        Network,
    ),
    V1_0[4],
    ("PUT", "/v1/routes/192.0.2.10%2F32", ROUTE, 200, ROUTE, Route),
    ("GET", "/v1/routes", "", 200, f"[{ROUTE}]", list[Route]),
    ("DELETE", "/v1/routes/192.0.2.10%2F32", "", 204, "", None),
    V1_0[13],
)
V1_2: Final[Sequence[Call]] = (
    (
        "PUT",
        "/v1/lab/networks/versions-led",
        '{"cidr":"198.51.100.0/24","is_routed":true,"more":["2001:db8:7::/64"],"via":"public"}',
        200,
        NETWORK_AS_ANSWERED,
        Network,
    ),
    (
        "GET",
        "/v1/subnets",
        "",
        200,
        f'[{SUBNET_AS_ANSWERED[:-1]},"via_subnet_id":null}}]',
        list[Subnet],
    ),
    V1_0[4],
    ("PUT", "/v1/routes/192.0.2.10%2F32", ROUTE, 200, ROUTE, Route),
    ("GET", "/v1/routes/192.0.2.10%2F32", "", 200, ROUTE, Route),
    ("DELETE", "/v1/routes/192.0.2.10%2F32", "", 204, "", None),
    V1_0[13],
)
V1_3: Final[Sequence[Call]] = (
    (
        "PUT",
        "/v1/lab/networks/versions-heard",
        '{"cidr":"198.51.101.0/24","via":"public","announced":{"asn":64512,'
        '"routers":[{"address":"203.0.113.2","asn":64600}],"bfd_ms":100}}',
        200,
        NETWORK_AS_ANSWERED,
        Network,
    ),
    (
        "GET",
        "/v1/subnets",
        "",
        200,
        f'[{SUBNET_AS_ANSWERED[:-1]},"via_subnet_id":null,"announced":null}}]',
        list[Subnet],
    ),
)
V1_4: Final[Sequence[Call]] = (
    (
        "GET",
        "/v1/subnets",
        "",
        200,
        f'[{SUBNET_AS_ANSWERED[:-1]},"via_subnet_id":null,"announced":null,"reach":"link"}}]',
        list[Subnet],
    ),
    ("GET", "/v1/subnets/SUBNET/addresses/203.0.113.77/taken", "", 200, "[]", list[Taken]),
    V1_0[4],
    ("PUT", "/v1/ports/VIP/forwards", '{"forwards":[]}', 400, INVALID, Trouble),
    V1_0[13],
)
VERSIONS: Final = {"1.0": V1_0, "1.1": V1_1, "1.2": V1_2, "1.3": V1_3, "1.4": V1_4}


@pytest.fixture(scope="module")
def lab() -> Iterator[Site]:
    if reason := why_impossible():
        pytest.skip(reason)
    with site() as made:
        yield made


def named(text: str) -> str:
    for name, value in NAMES.items():
        text = text.replace(f'"{name}"', f'"{value}"').replace(f"/{name}", f"/{value}")
        text = text.replace(f":{name}", f":{value}")
    return text


def shape(value: Any) -> Any:
    """Names and kinds of what a caller reads."""
    match value:
        case dict():
            return {key: shape(one) for key, one in value.items()}
        case list():
            return [shape(one) for one in value[:1]]
        case None | str():
            return "text"  # or nothing
        case _:
            return type(value).__name__


def holds(answer: Any, wanted: Any) -> bool:
    """Whether all is there that is wanted; what is there besides is passed over."""
    if isinstance(wanted, dict):
        return all(key in answer and holds(answer[key], one) for key, one in wanted.items())
    if isinstance(wanted, list):
        return all(holds(answer[0], one) for one in wanted) if answer else not wanted
    return bool(answer == wanted)


@pytest.mark.parametrize(
    ("version", "calls"),
    [(None, V1_0), ("1.1", V1_1), ("1.2", V1_2), ("1.3", V1_3), ("1.4", V1_4)],
    ids=VERSIONS,
)
def test_a_caller_of_that_version_is_answered_as_it_was(
    lab: Site, version: str | None, calls: Sequence[Call]
) -> None:
    for method, path, body, wanted, answer, _ in calls:
        text = request(method, named(path), named(body), version)
        status, _, found = raw(lab, "supervisor", text)
        assert status == wanted, (method, path, found)
        if answer:
            assert holds(shape(found), shape(json.loads(answer))), (method, path, found)
        else:
            assert found is None


@pytest.mark.parametrize("calls", VERSIONS.values(), ids=VERSIONS)
def test_an_answer_of_that_version_is_read(calls: Sequence[Call]) -> None:
    for _, _, _, _, answer, kind in calls:
        if answer:
            msgspec.json.decode(named(answer), type=kind)
