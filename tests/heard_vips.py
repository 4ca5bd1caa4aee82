# SPDX-License-Identifier: Apache-2.0
"""A small program for a host of the lab: say of each VIP when it is announced to the neighbours.

Prints a line of JSON for each gratuitous ARP request that it hears, and ends when its standard
input closes. Only the standard library is imported.
"""

import json
import select
import socket
import sys
import time

ETHERTYPE_ARP = 0x0806
FRAME_BYTES_MAX = 2048


def main() -> None:
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP))
    say("")  # it listens
    while True:
        ready, _, _ = select.select([heard, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        frame = heard.recv(FRAME_BYTES_MAX)
        sender, target = frame[28:32], frame[38:42]
        if sender == target:  # RFC 5227 section 3
            say(socket.inet_ntoa(sender))


def say(vip: str) -> None:
    sys.stdout.write(json.dumps({"vip": vip, "at": time.time()}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
