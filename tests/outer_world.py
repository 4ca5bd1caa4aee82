# SPDX-License-Identifier: Apache-2.0
"""The world around a server: a switch, neighbours, a router, and somebody far behind it.

Each is a network namespace that a child process holds, joined by veth to the one in which this
process is: that one plays the server, so nothing of the machine's own network is changed or used.
Everything ends with the children.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

LAN_4, LAN_6 = "192.0.2", "2001:db8:5:"
ROUTER: Final = (f"{LAN_4}.1", f"{LAN_6}:1")
SERVER: Final = (f"{LAN_4}.5", f"{LAN_6}:5")
NEAR: Final = (f"{LAN_4}.50", f"{LAN_6}:50")
MEMBER: Final = (f"{LAN_4}.60", f"{LAN_6}:60")
TAKEN: Final = (f"{LAN_4}.100", f"{LAN_6}:100")  # the member has these, too
FAR: Final = ("198.51.100.9", "2001:db8:6::9")
FAR_GATEWAY: Final = ("198.51.100.1", "2001:db8:6::1")
S_MAX: Final = 30
# Answers a GET with who asks, and who asked before that.
ECHO: Final = """
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        peer = self.client_address[0].removeprefix("::ffff:")
        body = f"{peer} {self.headers.get('X-Forwarded-For', '-')} {sys.argv[2]}".strip().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
Server(("::", int(sys.argv[1])), Echo).serve_forever()
"""
ASK: Final = """
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print("no answer")
"""


class Place:
    """A network namespace of its own."""

    def __init__(self) -> None:
        argv = ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec sleep infinity"]
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", *argv], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int:
        return self._holder.pid

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            [*self._enter(), *argv], capture_output=True, text=True, timeout=S_MAX, check=False
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def start(self, *argv: str) -> None:
        self._running.append(
            subprocess.Popen(["setpriv", "--pdeathsig=KILL", *self._enter(), *argv])
        )

    def echo(self, port: int, word: str = "") -> None:
        """A web server that tells who asks, and that word; it listens when this returns."""
        self.start(sys.executable, "-c", ECHO, str(port), word)
        deadline = time.monotonic() + S_MAX
        while "no answer" in self.ask(f"http://127.0.0.1:{port}/"):
            assert time.monotonic() < deadline, "the web server does not listen"

    def ask(self, url: str, within_s: float = 5.0) -> str:
        """The body, the code where it is not 200, or `no answer`."""
        return self.run(sys.executable, "-c", ASK, url, str(within_s))

    def end(self) -> None:
        for one in (*self._running, self._holder):
            one.kill()
            one.wait()

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--net", "--"]


class Here(Place):
    """The namespace that this process is in: the server."""

    def __init__(self) -> None:
        self._running = []

    def end(self) -> None:
        for one in self._running:
            one.kill()
            one.wait()

    def _enter(self) -> list[str]:
        return []


class Inside(Here):
    """Where these words lead that are put before a command line."""

    def __init__(self, enter: list[str]) -> None:
        super().__init__()
        self._words = enter

    def _enter(self) -> list[str]:
        return self._words


class World:
    """`server` has eth0 on the LAN, as `near` and `member`; `router` leads to `far`."""

    def __init__(self) -> None:
        self.server, self.switch, self.router = Here(), Place(), Place()
        self.near, self.member, self.far = Place(), Place(), Place()
        self.server.run("ip", "link", "set", "lo", "up")
        self.switch.run("ip", "link", "add", "lan", "type", "bridge", "mcast_snooping", "0")
        self.switch.run("ip", "link", "set", "lan", "up")

    def plug(self, place: Place, link: str, addresses: Sequence[str] = ()) -> None:
        """A cable from there to the switch."""
        peer = f"s{place.pid if type(place) is Place else 0}{link}"[-15:]
        _pair(link, place, peer, self.switch)
        self.switch.run("ip", "link", "set", peer, "master", "lan", "up")
        give(place, link, addresses)

    def lay(self, bridge: str) -> None:
        """The usual one. `bridge`: the server's eth0 is a port of its bridge of that name."""
        self.plug(self.server, "eth0", () if bridge else SERVER)
        if bridge:
            self.server.run("ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
            self.server.run("ip", "link", "set", "eth0", "master", bridge)
            give(self.server, bridge, SERVER)
        self.plug(self.near, "eth0", NEAR)
        self.plug(self.member, "eth0", (*MEMBER, *TAKEN))
        self.plug(self.router, "eth0", ROUTER)
        _pair("eth1", self.router, "eth0", self.far)
        give(self.router, "eth1", FAR_GATEWAY)
        give(self.far, "eth0", FAR)
        for setting in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            self.router.run("sh", "-c", f"echo 1 >/proc/sys/{setting}")
        for place, gateways in (
            (self.server, ROUTER), (self.near, ROUTER), (self.member, ROUTER),
            (self.far, FAR_GATEWAY),
        ):  # fmt: skip
            for gateway in gateways:
                place.run("ip", "route", "add", "default", "via", gateway)

    def end(self) -> None:
        for place in (self.server, self.near, self.member, self.far, self.router, self.switch):
            place.end()


def give(place: Place, link: str, addresses: Sequence[str]) -> None:
    place.run("ip", "link", "set", link, "up")
    for address in addresses:
        words = ["64", "nodad"] if ":" in address else ["24"]
        place.run("ip", "address", "add", f"{address}/{words[0]}", "dev", link, *words[1:])


def _pair(link: str, place: Place, peer: str, other: Place) -> None:
    there = [] if isinstance(place, Here) else ["netns", str(place.pid)]
    words = ["link", "add", "name", link, *there, "type", "veth"]
    Here().run("ip", *words, "peer", "name", peer, "netns", str(other.pid))


@contextmanager
def world(bridge: str = "") -> Iterator[World]:
    made = World()
    try:
        made.lay(bridge)
        yield made
    finally:
        made.end()
