# SPDX-License-Identifier: Apache-2.0
"""A real agent serves as several amphorae: the seats of load balancers that share its amphora."""

import json
import uuid
from functools import partial
from typing import Final

from colonnade.protocol.datagram import Datagram
from colonnade.protocol.messages import NewSeat
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.agent_bench import Bench, until_heard
from tests.agent_site import AMPHORA_IP, CONTROL_IP, LB_LENGTH

SEAT_IP: Final = "198.18.0.20"


def seat(bench: Bench) -> NewSeat:
    seat_id = str(uuid.uuid4())
    config = {
        "amphora_id": seat_id,
        "lb_network_ip": SEAT_IP,
        "lb_prefix_length": LB_LENGTH,
        "controllers": [f"{CONTROL_IP}:9442"],
        "receivers": [f"{CONTROL_IP}:5555"],
        "haproxy": find_haproxy(),
    }
    drive = {
        "agent.json": json.dumps(config),
        "agent.pem": bench.ca.issue(seat_id, days=1).pem,
        "ca.pem": bench.ca.certificate_pem,
        "heartbeat.key": bench.key.hex(),
    }
    return NewSeat(id=seat_id, drive=drive)


def _is_of(new: NewSeat, heard: Datagram) -> bool:
    return str(heard.amphora) == new.id


async def test_a_seat_may_be_given_the_address_of_one_that_was_closed(bench: Bench) -> None:
    """Addresses are few, and the network gives one that is free again."""
    for _ in range(3):
        new = seat(bench)
        await bench.client.open_seat(AMPHORA_IP, bench.amphora_id, new)
        await until_heard(bench, partial(_is_of, new))
        info = await bench.client.info(SEAT_IP, new.id)
        assert info.amphora_id == new.id
        await bench.client.close_seat(AMPHORA_IP, bench.amphora_id, new.id)
