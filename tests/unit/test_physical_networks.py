# SPDX-License-Identifier: Apache-2.0
"""Networks of the machine itself: what is read, what is refused and in which words, and the packet
filter that comes of it.
"""

import socket
from pathlib import Path

import msgspec
import pytest

from colonnade.cli.local.own_networks import read
from colonnade.domain.errors import Conflict, Invalid
from colonnade.domain.ids import PortId, new_id
from colonnade.drivers.network.namespaces.address_book import (
    TRANSIT,
    AddressBook,
    network_id,
    subnet_id,
    twin_id,
)
from colonnade.drivers.network.namespaces.host_facts import listening
from colonnade.drivers.network.namespaces.host_table import Contents, Led, closes, table_text
from colonnade.drivers.network.namespaces.physical import Facts, Link, records_of
from colonnade.drivers.network.protocol import Forward, PortWish, Reach
from colonnade.runtime.config import Config, PhysicalNetwork, config_text, read_config

FACTS = Facts(
    links={
        "eth0": Link(addresses=("192.0.2.5/24", "192.0.2.6/24", "2001:db8:5::5/64")),
        "eth1": Link(addresses=("198.51.100.2/24",)),
        "br0": Link(kind="bridge", addresses=("203.0.113.2/24",)),
        "eth2": Link(),
    },
    default="eth0",
)
BRIDGE = {"name": "lan", "bridge": "br0", "cidr": "203.0.113.0/24"}
MACVLAN = {"name": "lan", "interface": "eth1", "cidr": "198.51.100.0/24"}


def table(**words: object) -> PhysicalNetwork:
    return msgspec.convert(words, PhysicalNetwork)


def test_the_machines_own_addresses_are_those_of_its_interface() -> None:
    (record,) = records_of([table(name="web", mode="host")], FACTS)
    assert record.cidrs == ("192.0.2.0/24", "2001:db8:5::/64")
    assert record.reach is Reach.PORTS
    assert [first for first, _ in record.ranges] == ["192.0.2.5", "192.0.2.6", "2001:db8:5::5"]


def test_a_bridge_and_a_macvlan_are_told_apart_by_what_is_named() -> None:
    found = records_of(
        [
            table(**BRIDGE, range="203.0.113.100-203.0.113.109", gateway="203.0.113.1"),
            table(**MACVLAN | {"name": "dmz"}, range=["198.51.100.16/28", "198.51.100.40"]),
        ],
        FACTS,
    )
    assert [(one.uplink.mode, one.uplink.link) for one in found if one.uplink] == [
        ("bridge", "br0"),
        ("macvlan", "eth1"),
    ]
    assert found[0].gateways == ("203.0.113.1",)
    assert found[1].ranges[0] == ("198.51.100.17", "198.51.100.30")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"name": "Web!", "mode": "host"}, "is no name"),
        ({"name": "public", "mode": "host"}, "that of a network of the lab"),
        ({"name": "web", "mode": "host", "interface": "eth9"}, "eth9 is not on this machine"),
        ({"name": "web", "mode": "host", "interface": "eth2"}, "has no address"),
        ({"name": "web", "mode": "host", "range": "192.0.2.5-192.0.2.7"}, "not all this machine's"),
        ({"name": "web", "mode": "host", "gateway": "192.0.2.1"}, "means nothing in mode host"),
        (BRIDGE, "or cidr is missing"),
        (BRIDGE | {"bridge": "eth0", "range": "203.0.113.9"}, "eth0 is no bridge"),
        (BRIDGE | {"bridge": "br7", "range": "203.0.113.9"}, "br7 is not on this machine"),
        (BRIDGE | {"interface": "eth0", "range": "203.0.113.9"}, "and no interface"),
        (BRIDGE | {"range": "192.0.2.9"}, "192.0.2.9 is not in 203.0.113.0/24"),
        (BRIDGE | {"range": "203.0.113.1-203.0.113.9"}, "has 203.0.113.2 in it"),
        (BRIDGE | {"range": "203.0.113.9-203.0.113.7"}, "the first address comes before"),
        (BRIDGE | {"range": "203.0.113.x"}, "cannot be read"),
        (BRIDGE | {"range": ["203.0.113.7", "203.0.113.7"]}, "says 203.0.113.7 twice"),
        (BRIDGE | {"range": "203.0.113.9", "gateway": "203.0.113.9"}, "has the gateway"),
        (BRIDGE | {"range": "203.0.113.9", "gateway": "192.0.2.1"}, "192.0.2.1 is not in"),
        (BRIDGE | {"cidr": "203.0.113.1/24", "range": "203.0.113.9"}, "has host bits set"),
        (BRIDGE | {"cidr": "198.18.0.0/16", "range": "198.18.0.9"}, "Colonnade's own"),
        (BRIDGE | {"range": "203.0.113.9", "vlan": 5}, "in mode macvlan alone"),
        (MACVLAN | {"range": "198.51.100.9", "vlan": 4095}, "it is 1 to 4094"),
        ({"name": "x", "mode": "macvlan", "cidr": "192.0.2.0/24"}, "interface is missing"),
    ],
)
def test_what_cannot_be_is_refused_in_words(words: dict[str, object], says: str) -> None:
    with pytest.raises(Invalid) as refused:
        records_of([table(**words)], FACTS)
    assert says in refused.value.public
    assert refused.value.public.startswith(f"[[network]] {words['name']}: ")


def test_ranges_of_two_networks_do_not_overlap() -> None:
    one = table(**BRIDGE, range="203.0.113.100-203.0.113.109")
    with pytest.raises(Invalid, match="overlaps that of network lan"):
        records_of([one, table(**BRIDGE | {"name": "other"}, range="203.0.113.109")], FACTS)
    with pytest.raises(Invalid, match="is there twice"):
        records_of([one, table(**BRIDGE, range="203.0.113.3")], FACTS)


def test_the_configuration_is_read_strictly_and_written_back(tmp_path: Path) -> None:
    said = read("name=web,mode=macvlan,interface=eth1,vlan=5,cidr=192.0.2.0/24,cidr=2001:db8::/64")
    networks = (msgspec.convert(said, PhysicalNetwork), PhysicalNetwork(name="own", mode="host"))
    assert networks[0].cidr == ("192.0.2.0/24", "2001:db8::/64")
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", network=networks)
    file = tmp_path / "colonnade.toml"
    file.write_text(config_text(config))
    assert read_config(file) == config
    file.write_text(file.read_text() + 'colour = "red"\n')
    with pytest.raises(msgspec.ValidationError, match="unknown field `colour`"):
        read_config(file)
    with pytest.raises(Invalid, match="is no KEY=VALUE"):
        read("web")


def test_vips_share_an_address_of_the_machine_and_each_has_one_in_the_transit() -> None:
    book = AddressBook()
    book.load([*records_of([table(name="web", mode="host")], FACTS), TRANSIT], [])
    wish = PortWish(id=PortId(new_id()), owner="lb:a", network_id=network_id("web"))
    ports = [book.create_port(wish), book.create_port(msgspec.structs.replace(wish, id="another"))]
    assert [port.address for port in ports] == ["192.0.2.5", "192.0.2.5"]
    twins = [book.port(twin_id(port.id)) for port in ports]
    assert [twin.address for twin in twins] == ["198.19.0.2", "198.19.0.3"]
    subnet = book.subnet(subnet_id("web", "192.0.2.0/24"))
    assert (subnet.on_link("192.0.2.5"), subnet.gateway_ip) == ("192.0.2.5/32", "198.19.0.1")
    # A daemon that was killed between the two makes what is missing, and drops what is alone.
    again = AddressBook()
    records = list(book.records.values())
    again.load(records, [ports[0], twins[1]])
    assert set(again.ports) == {ports[0].id, twins[0].id}
    for port in ports:
        book.delete_port(port.id)
    assert book.ports == {}


def test_addresses_beyond_the_range_are_given_to_nobody() -> None:
    book = AddressBook()
    book.load(records_of([table(**BRIDGE, range="203.0.113.9-203.0.113.10")], FACTS), [])
    wish = PortWish(id=PortId("a"), owner="", network_id=network_id("lan"))
    assert book.create_port(wish).address == "203.0.113.9"
    for address, kind in (("203.0.113.11", Invalid), ("203.0.113.9", Conflict)):
        asked = msgspec.structs.replace(wish, id=PortId("b"), address=address)
        with pytest.raises(kind):
            book.create_port(asked)
    assert book.usage()[subnet_id("lan", "203.0.113.0/24")] == (1, 1)


def test_the_packet_filter_leads_these_ports_and_no_others() -> None:
    led = [
        Led(address="192.0.2.5", forward=Forward("tcp", 80), to="198.19.0.2"),
        Led(address="2001:db8:5::5", forward=Forward("udp", 53), to="fdc0:10ad:1::2"),
    ]
    text = table_text("colonnade_x", Contents(led=led, closed=[6]))
    assert "elements = { 192.0.2.5 . tcp . 80 : 198.19.0.2 }" in text
    assert "elements = { 2001:db8:5::5 . udp . 53 : fdc0:10ad:1::2 }" in text
    assert (closes(text, 4), closes(text, 6)) == (False, True)


def test_what_a_program_listens_on_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        assert Forward("tcp", port) in listening("127.0.0.1")
        assert Forward("tcp", port) not in listening("192.0.2.5")
    assert Forward("tcp", port) not in listening("127.0.0.1")
