# SPDX-License-Identifier: Apache-2.0
"""The address book against its rule: the lowest free address, and never one that is reserved."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.domain.errors import Conflict, OutOfCapacity
from colonnade.domain.ids import PortId, new_id
from colonnade.drivers.network.namespaces.address_book import (
    FIRST_NETWORKS,
    AddressBook,
    NetworkRecord,
    mac_of,
    network_id,
    subnet_id,
)
from colonnade.drivers.network.namespaces.address_files import AddressFiles
from colonnade.drivers.network.namespaces.route_book import RouteBook
from colonnade.drivers.network.protocol import NextHop, PortWish, Route

SMALL = NetworkRecord(name="small", cidrs=("192.0.2.0/28",))
SMALL_SUBNET = subnet_id("small", SMALL.cidrs[0])
USABLE = [str(a) for a in ip_network(SMALL.cidrs[0]).hosts()][1:]  # less the gateway


def wish(address: str | None = None) -> PortWish:
    return PortWish(id=PortId(new_id()), owner="x", subnet_id=SMALL_SUBNET, address=address)


@given(st.lists(st.one_of(st.none(), st.integers(0, 12), st.sampled_from(USABLE)), max_size=60))
def test_any_history_gives_the_lowest_free_address(acts: list[int | str | None]) -> None:
    """None: any address; text: that one; a number: give back what was made at that place."""
    book = AddressBook()
    book.add_network(SMALL)
    held: dict[PortId, str] = {}
    for act in acts:
        if isinstance(act, int):
            for port_id in list(held)[act : act + 1]:
                book.delete_port(port_id)
                del held[port_id]
            continue
        free = [address for address in USABLE if address not in held.values()]
        try:
            port = book.create_port(wish(act))
        except OutOfCapacity:
            assert not free
        except Conflict:
            assert act in held.values()
        else:
            assert port.address == (act or free[0])
            held[port.id] = port.address
    assert {p.id: p.address for p in book.ports.values()} == held


def test_a_book_is_the_same_after_it_was_put_on_the_shelf(tmp_path: Path) -> None:
    storage = AddressFiles(tmp_path)
    book = AddressBook(storage)
    for record in (*FIRST_NETWORKS, SMALL):
        book.add_network(record)
    ports = [book.create_port(wish()) for _ in range(5)]
    book.delete_port(ports[1].id)
    again = AddressBook(AddressFiles(tmp_path))
    again.load(storage.networks(), storage.ports())
    assert again.ports == book.ports
    assert {n.name for n in again.networks()} == {"public", "private", "small"}
    assert again.create_port(wish()).address == ports[1].address


def test_networks_may_be_read_in_whatever_order() -> None:
    """One that is reached by way of another may come before it."""
    first = NetworkRecord(name="before", cidrs=("198.51.100.0/24",), via="public")
    book = AddressBook()
    book.load([first, *FIRST_NETWORKS], [])
    assert first in book.records.values()


def test_a_torn_file_loses_its_port_only(tmp_path: Path) -> None:
    storage = AddressFiles(tmp_path)
    book = AddressBook(storage)
    book.add_network(SMALL)
    kept, torn = book.create_port(wish()), book.create_port(wish())
    (tmp_path / "ports" / f"{torn.id}.json").write_bytes(b"")
    (tmp_path / "ports" / f"{torn.id}.new").write_bytes(b"{")
    assert AddressFiles(tmp_path).ports() == [kept]
    assert not list(tmp_path.glob("*/*.new"))


def test_a_route_outlives_the_book_and_leads_to_no_port_that_was_lost(tmp_path: Path) -> None:
    storage = AddressFiles(tmp_path)
    book = AddressBook(storage)
    book.add_network(SMALL)
    one, two = book.create_port(wish()), book.create_port(wish())
    routes = RouteBook(book, storage)
    for place, hops in enumerate(((one, two), (two,), (one,)), 1):
        routes.put(
            Route(
                destination=f"198.51.100.{place}",
                network_id=network_id(SMALL.name),
                next_hops=tuple(NextHop(port.address) for port in hops),
                owner="lb:x",
            )
        )
    routes.drop("198.51.100.3/32")
    (tmp_path / "ports" / f"{two.id}.json").unlink()
    for _ in range(2):  # what is read is what is kept
        again = AddressBook(storage)
        again.load(storage.networks(), storage.ports())
        known = RouteBook(again, storage)
        known.load(storage.routes())
        (kept,) = known.records.values()
        assert (kept.number, kept.route.destination) == (1, "198.51.100.1/32")
        assert kept.route.next_hops == (NextHop(one.address),)
        assert storage.routes() == [kept]


def test_networks_may_not_overlap_or_change() -> None:
    book = AddressBook()
    book.add_network(SMALL)
    book.add_network(SMALL)
    for name, cidr in (("small", "192.0.2.64/28"), ("other", "192.0.2.0/24")):
        with pytest.raises(Conflict):
            book.add_network(NetworkRecord(name=name, cidrs=(cidr,)))


def test_ids_and_macs_are_always_the_same() -> None:
    assert network_id("public") == network_id("public")
    assert mac_of(PortId("a")) == mac_of(PortId("a")) != mac_of(PortId("b"))
