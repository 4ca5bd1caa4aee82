# SPDX-License-Identifier: Apache-2.0
"""Which ports of a machine's address lead to a load balancer: those of its listeners.

Invariant: where VIPs share an address, no amphora has a generation before the ports of its
listeners lead there, and no others. It may be called again at any time.
"""

from colonnade.domain.fleet import Cluster
from colonnade.drivers.network.protocol import Forward, NetworkDriver


async def forward(network: NetworkDriver, wanted: Cluster) -> None:
    """Raises Conflict for a port that has become another's."""
    forwarder = network.forwarder
    if forwarder is None:
        return
    for load_balancer in wanted.load_balancers:
        ports = [
            Forward(one.transport.lower(), one.protocol_port) for one in load_balancer.listeners
        ]
        for vip in load_balancer.vips:
            if vip.shares_address:
                await forwarder.set_forwards(vip.port_id, ports)
