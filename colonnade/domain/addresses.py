# SPDX-License-Identifier: Apache-2.0
"""IP addresses as users write them: many spellings, one meaning.

What is shown is what was sent; what is compared, counted or handed to a machine is the canonical
form. Nothing here knows whose address it is.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

REMEMBERED: Final = 8192


@lru_cache(REMEMBERED)
def parsed(text: str) -> IPv4Address | IPv6Address:
    """Raises ValueError for what is no address. Results are remembered: an edit of a pool of a
    thousand members parses every address, several times."""
    return ip_address(text)


@lru_cache(REMEMBERED)
def canonical(text: str) -> str:
    """The one spelling (RFC 5952). Raises ValueError for what is no address."""
    return str(parsed(text))


def target(text: str) -> IPv4Address | IPv6Address:
    """Where packets for the address go: an IPv6 address that wraps one of IPv4 means that one.
    Raises ValueError."""
    address = parsed(text)
    wrapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return wrapped or address


def is_address(text: str) -> bool:
    """An address with a scope (`fe80::1%eth0`) is none: a scope may be any text, and means nothing
    on another machine."""
    try:
        canonical(text)
    except ValueError:
        return False
    return "%" not in text


def endpoint(address: str, port: int | str) -> str:
    """Address and port as people and URLs write them: an IPv6 address in brackets (RFC 3986,
    3.2.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
