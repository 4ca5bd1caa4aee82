# SPDX-License-Identifier: Apache-2.0
"""The addresses of one subnet: which may be taken, and which are.

Invariant: no address is given to two, but where VIPs share the addresses of a machine; network,
broadcast and gateway addresses are given to nobody. It knows no port.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from colonnade.domain.errors import Conflict, Invalid, OutOfCapacity
from colonnade.drivers.network.protocol import Reach, Subnet

SEARCH_STEPS_MAX: Final = 1 << 17  # a whole /16 and then some: more is a subnet that is full for us
SHARED_MAX: Final = 1 << 16  # VIPs of one address, which have a port of it each


class SubnetPool:
    """Addresses as offsets from the subnet's first. `ranges`: those alone may be taken, each as its
    first and last address; none: all."""

    def __init__(self, subnet: Subnet, ranges: Sequence[tuple[str, str]] = ()) -> None:
        self.subnet = subnet
        self.net: IPv4Network | IPv6Network = ip_network(subnet.cidr)
        self._is_shared = subnet.reach is Reach.PORTS
        self._reserved = set() if self._is_shared else self._ends()
        if subnet.gateway_ip is not None and self.holds(subnet.gateway_ip):
            self._reserved.add(self._offset(ip_address(subnet.gateway_ip)))
        whole = [(0, self.net.num_addresses - 1)]
        named = [(self._offset(ip_address(a)), self._offset(ip_address(b))) for a, b in ranges]
        self._ranges = sorted(named) or whole
        self._taken: Counter[int] = Counter()
        self._shunned: set[int] = set()
        self._lowest = 0  # nothing below is free

    def take(self, text: str | None) -> str:
        """That address, or a free one. Raises Invalid, Conflict or OutOfCapacity."""
        offset = self._free() if text is None else self._wanted(text)
        self._taken[offset] += 1
        return str(self.net[offset])

    def keep(self, text: str) -> None:
        """One that was taken before, whatever may be taken now."""
        self._taken[self._offset(ip_address(text))] += 1

    def shun(self, text: str) -> None:
        """Somebody else has it: it is given to nobody."""
        self._shunned.add(self._offset(ip_address(text)))

    def give_back(self, text: str) -> None:
        offset = self._offset(ip_address(text))
        self._taken[offset] -= 1
        if self._taken[offset] <= 0:
            del self._taken[offset]
        self._lowest = min(self._lowest, offset)

    @property
    def usage(self) -> tuple[int, int]:
        """How many addresses are taken, and how many may still be."""
        if self._is_shared:
            taken = self._taken.total()
            return taken, SHARED_MAX - taken
        size = sum(last - first + 1 for first, last in self._ranges)
        reserved = sum(1 for offset in self._reserved if self._may_be(offset))
        return len(self._taken), size - reserved - len(self._taken)

    def holds(self, text: str) -> bool:
        address = read_address(text)
        return address.version == self.net.version and address in self.net

    def may_give(self, text: str) -> bool:
        """Whether it is one of those that it gives."""
        return self.holds(text) and self._may_be(self._offset(ip_address(text)))

    def _ends(self) -> set[int]:
        return {0, self.net.num_addresses - 1} if self.net.version == 4 else {0}

    def _offset(self, address: IPv4Address | IPv6Address) -> int:
        return int(address) - int(self.net.network_address)

    def _may_be(self, offset: int) -> bool:
        return any(first <= offset <= last for first, last in self._ranges)

    def _wanted(self, text: str) -> int:
        if not self.holds(text):
            raise Invalid(f"{text} is not in subnet {self.subnet.cidr}", field="vip_address")
        offset = self._offset(ip_address(text))
        if not self._may_be(offset):
            raise Invalid(
                f"{text} is not one of the addresses of subnet {self.subnet.name} that load "
                f"balancers may have: {self._in_words()}",
                field="vip_address",
            )
        if offset in self._reserved:
            raise Invalid(f"{text} is reserved in subnet {self.subnet.cidr}", field="vip_address")
        if offset in self._taken and not self._is_shared:
            raise Conflict(f"address {text} is already in use")
        return offset

    def _in_words(self) -> str:
        return ", ".join(
            f"{self.net[first]}" + (f"-{self.net[last]}" if last > first else "")
            for first, last in self._ranges
        )

    def _free(self) -> int:
        for offset in self._candidates():
            if self._is_shared:
                return offset
            if offset not in self._taken and offset not in self._reserved | self._shunned:
                self._lowest = offset + 1
                return offset
        raise OutOfCapacity(f"subnet {self.subnet.cidr} has no free address")

    def _candidates(self) -> Iterator[int]:
        steps = 0
        for first, last in self._ranges:
            for offset in range(max(first, self._lowest), last + 1):
                yield offset
                steps += 1
                if steps >= SEARCH_STEPS_MAX:
                    return


def read_address(text: str) -> IPv4Address | IPv6Address:
    """Raises Invalid."""
    try:
        return ip_address(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not an IP address", field="vip_address") from error
