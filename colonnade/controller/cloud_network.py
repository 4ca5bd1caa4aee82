# SPDX-License-Identifier: Apache-2.0
"""What the network of a cloud must be told before an amphora can serve there: what may come in,
which addresses a half of a pair may take, and by which MACs an amphora will have VIPs. On networks
that ask for nothing of this, nothing is done."""

from collections.abc import Sequence
from ipaddress import ip_address

from msgspec.structs import replace

from colonnade.controller.planning import Facts, own_port_id, vips
from colonnade.controller.topologies import Wires
from colonnade.domain.addresses import canonical
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import PortId
from colonnade.drivers.amphora.haproxy.firewall import between_amphorae, who_shares
from colonnade.drivers.network.protocol import Door, NetworkDriver


async def prepared(
    network: NetworkDriver, facts: Facts, amphora: Amphora, port_ids: Sequence[PortId]
) -> Facts:
    """What there will be when the amphora has these ports, which are in it already by `facts`."""
    if network.cloud is None:
        return facts
    ports = {name: await network.cloud.prepared(name, amphora.id) for name in port_ids}
    return replace(facts, ports={**facts.ports, **ports})


async def let_through(
    network: NetworkDriver, wanted: Cluster, amphora: Amphora, wires: Wires
) -> None:
    if network.cloud is not None:
        floating = _floating(wanted, amphora) if amphora.is_half else {}
        await network.cloud.let_through(amphora.id, doors(wanted, wires), floating)


def doors(wanted: Cluster, wires: Wires) -> Sequence[Door]:
    """Those of all listeners, and those between amphorae that share VIPs."""
    found = {
        Door(
            protocol=listener.transport.lower(),
            port=listener.protocol_port,
            sources=tuple(sorted(listener.allowed_cidrs)),
        )
        for tree in wanted.load_balancers
        for listener in tree.listeners
    }
    for access in between_amphorae(wires.pair, who_shares(wires.interfaces, wires.pair)):
        if access.allowed:  # no sources would mean everybody
            sources = tuple(f"{a}/{ip_address(a).max_prefixlen}" for a in access.allowed)
            found.add(Door(protocol=access.protocol, port=access.port, sources=sources))
    return sorted(found)


def _floating(wanted: Cluster, amphora: Amphora) -> dict[PortId, list[str]]:
    found: dict[PortId, list[str]] = {}
    for vip in vips(wanted):
        port_id = own_port_id(amphora.id, vip.front_subnet_id)
        found.setdefault(port_id, []).append(canonical(vip.address))
    return found
