# SPDX-License-Identifier: Apache-2.0
"""A connection to a target, which may be anywhere but on the amphora or its own link.

A target's name is its owner's to choose, and so is the address that it leads to today: those of
loopback, of a link (a cloud's metadata among them) and of many at once are refused here, after the
name was looked up.
"""

import ipaddress
import socket
import ssl
from typing import Final

from colonnade.agent.logs.consignment import Failed

TIMEOUT_S: Final = 10.0


def dial(host: str, port: int) -> socket.socket:
    """Raises Failed, OSError."""
    refused = True
    last: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        if not is_outside(str(address[0])):
            continue
        refused = False
        made = socket.socket(family, kind, protocol)
        made.settimeout(TIMEOUT_S)
        try:
            made.connect(address)
        except OSError as error:
            made.close()
            last = error
        else:
            return made
    if refused:
        raise Failed(f"{host} is an address of the amphora's own, which is no target")
    assert last is not None
    raise Failed(f"{host}:{port}: {last.strerror or last}") from last


def is_outside(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    inward = found.is_loopback or found.is_link_local or found.is_unspecified
    return not (inward or found.is_multicast or found.is_reserved)


def trust(ca: str) -> ssl.SSLContext:
    """Certificates are always checked: by the given authority, else by the system's."""
    return ssl.create_default_context(cadata=ca or None)
