# SPDX-License-Identifier: Apache-2.0
"""How the kernel treats packets in a network namespace of an amphora: values below /proc/sys/net.

A namespace of this machine and a guest of a cloud are given the same.
"""

from collections.abc import Mapping
from typing import Final

# Nothing from outside changes an interface; forwarding may be inherited: not here.
SETTLED: Final[Mapping[str, str]] = {
    "ipv4/ip_forward": "0",
    "ipv6/conf/all/forwarding": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # A router that sends a flow on to a neighbour of the client would have it stay with that one.
    "ipv4/conf/all/accept_redirects": "0",
    "ipv4/conf/default/accept_redirects": "0",
    "ipv6/conf/all/accept_redirects": "0",
    "ipv6/conf/default/accept_redirects": "0",
}
# What listens there has no rights, and may do so before the address is there.
OPEN_TO_ALL: Final[Mapping[str, str]] = {
    **SETTLED,
    "ipv4/ip_unprivileged_port_start": "0",
    "ipv4/ip_nonlocal_bind": "1",
    "ipv6/ip_nonlocal_bind": "1",
}
