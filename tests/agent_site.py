# SPDX-License-Identifier: Apache-2.0
"""A place of its own for one amphora: the process that runs inside `unshare`, and its owner.

Inside: a network namespace with the LB network and a public one, and an amphora made by the real
init script. The test stays outside and gets sockets from inside, so that its own code can be
server and client there. Killing the process ends everything in it.
"""

import array
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTROL_IP, AMPHORA_IP, LB_LENGTH = "198.18.0.1", "198.18.0.9", 16
PUBLIC_IPS = ("203.0.113.1/24", "203.0.113.11/24", "203.0.113.12/24", "203.0.113.13/24")
PUBLIC_IP6S = ("2001:db8:1::1/64", "2001:db8:1::2/64")
VIP, VIP6 = "203.0.113.7", "2001:db8:1::7"
VIP_MAC = "02:00:00:00:00:07"
INIT = Path(__file__).parent.parent / "colonnade/drivers/compute/namespaces/amphora-init.sh"
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class Site:
    """The outside: starts it, asks it for sockets, ends it."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
        with theirs:
            self.process = subprocess.Popen(
                [UNSHARE[0], *user, *UNSHARE[1:], sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        self._ours.settimeout(30)

    def new_socket(
        self, family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """A socket that lives in the site's network namespace."""
        asked = {"family": int(family), "kind": int(kind), "protocol": protocol}
        self._say({"do": "socket", **asked})
        _, found = self._hear()
        return socket.socket(fileno=found[0])

    def factory(self, address: Any) -> socket.socket:
        """For aiohttp's connector."""
        made = self.new_socket(address[0], address[1])
        made.setblocking(False)
        return made

    def start_amphora(
        self, files: dict[str, str], *, plugged: bool = True, mute: bool = False
    ) -> None:
        """`files`: by their paths below its folder. `mute`: writing to its standard error blocks
        for ever."""
        self._say({"do": "start", "files": files, "plugged": plugged, "mute": mute})
        self._hear()

    def plug(self, *, beside: bool = False) -> None:
        """`beside`: into the machine, as a cloud does, and not into the traffic namespace."""
        self._say({"do": "plug", "beside": beside})
        self._hear()

    def let_listen_early(self) -> None:
        """As where amphorae are made: haproxy may listen before the address is there."""
        self._say({"do": "let_listen_early"})
        self._hear()

    def processes(self, *words: str) -> list[int]:
        """Processes in the site whose command line has all these words, oldest first."""
        self._say({"do": "processes", "words": words})
        answer, _ = self._hear()
        return [int(pid) for pid in answer["pids"]]

    def kill(self, pid: int, number: int) -> None:
        """`pid` is one that `processes` gave. It may have ended meanwhile, as haproxy's worker does
        with its master."""
        self._say({"do": "kill", "pid": pid, "signal": int(number)})
        self._hear()

    def forget_rules(self) -> None:
        """Remove the packet filter's rules from the traffic namespace."""
        self._say({"do": "forget_rules"})
        self._hear()

    def forget_routes(self) -> None:
        """Remove the default routes from the traffic namespace."""
        self._say({"do": "forget_routes"})
        self._hear()

    def lead(self, destination: str, via: str) -> None:
        """Send what is for that address by that one, as a router does."""
        self._say({"do": "lead", "destination": destination, "via": via})
        self._hear()

    def run(self, *argv: str) -> None:
        """Have a program run in the site, beside the amphora, until the site ends."""
        self._say({"do": "run", "argv": argv})
        self._hear()

    def fill_disk(self, *, free_again: bool = False) -> None:
        """Leave no byte free where the agent keeps its files."""
        self._say({"do": "fill_disk", "free_again": free_again})
        self._hear()

    def files(self, folder: str) -> dict[str, tuple[int, str]]:
        """Of a folder in the amphora: each name with its mode and the file system it is on."""
        self._say({"do": "files", "folder": folder})
        found = self._hear()[0]["files"]
        return {name: (mode, kind) for name, mode, kind in found}

    def capabilities(self, pid: int) -> int:
        """The effective ones, a bit each."""
        self._say({"do": "status", "pid": pid, "line": "CapEff"})
        return int(self._hear()[0]["value"], 16)

    def memory_kb(self, pid: int) -> int:
        self._say({"do": "status", "pid": pid, "line": "VmRSS"})
        return int(self._hear()[0]["value"].split()[0])

    def end(self) -> None:
        self._ours.close()
        self.process.kill()
        self.process.wait()

    def _say(self, request: dict[str, Any]) -> None:
        self._ours.sendall(json.dumps(request).encode() + b"\n")

    def _hear(self) -> tuple[dict[str, Any], list[int]]:
        data, fds, _, _ = socket.recv_fds(self._ours, 65536, 4)
        answer = json.loads(data)
        assert "error" not in answer, answer["error"]
        return answer, fds


def until(fact: Callable[[], Any], within_s: float = 10.0) -> Any:
    """Wait for a level; the value when it is true."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        value = fact()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not so within {within_s} s")


# --- inside ---------------------------------------------------------------------------------


class _Inside:
    def __init__(self) -> None:
        from pyroute2.iproute import IPRoute

        self.netlink = IPRoute()
        self.children: list[subprocess.Popen[bytes]] = []
        self.init = 0
        lo = self.netlink.link_lookup(ifname="lo")[0]
        self.netlink.link("set", index=lo, state="up")

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        command = [*UNSHARE, "sh", str(INIT), sys.executable, "-m", "colonnade.agent"]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stuck() if request["mute"] else None,
            start_new_session=True,
        )
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        self.children.append(child)
        self.init = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text())
        self._veth("lb-site", "lb0", (f"{CONTROL_IP}/{LB_LENGTH}",), f"/proc/{self.init}/ns/net")
        if request["plugged"]:
            self.plug(request)
        child.stdin.write(_tar(request["files"]))
        child.stdin.close()
        return {}

    def _stuck(self) -> int:
        """The end of a pipe that is full, and that nobody reads."""
        self.unread, full = os.pipe()
        os.set_blocking(full, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(full, bytes(4096))
        os.set_blocking(full, True)
        return full

    def plug(self, request: dict[str, Any]) -> dict[str, Any]:
        own, traffic = "ns/net", "root/run/netns/traffic"
        place = f"/proc/{self.init}/{own if request.get('beside') else traffic}"
        self._veth("pub-site", "vip0", (*PUBLIC_IPS, *PUBLIC_IP6S), place, VIP_MAC)
        return {}

    def let_listen_early(self, _request: dict[str, Any]) -> dict[str, Any]:
        net = f"--net=/proc/{self.init}/root/run/netns/traffic"
        words = [f"echo 1 >/proc/sys/net/ipv{version}/ip_nonlocal_bind" for version in (4, 6)]
        subprocess.run(["nsenter", net, "sh", "-c", "; ".join(words)], check=True)
        return {}

    def processes(self, request: dict[str, Any]) -> dict[str, Any]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if all(word in command for word in request["words"]) and "unshare" not in command:
                    found.append(int(entry.name))
        return {"pids": [pid for pid in sorted(found) if pid != self.init]}

    def kill(self, request: dict[str, Any]) -> dict[str, Any]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(request["pid"], request["signal"])
        return {}

    def status(self, request: dict[str, Any]) -> dict[str, Any]:
        for line in Path(f"/proc/{request['pid']}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == request["line"]:
                return {"value": value.strip()}
        return {"value": "0"}

    def files(self, request: dict[str, Any]) -> dict[str, Any]:
        mounts = Path(f"/proc/{self.init}/mounts").read_text().splitlines()
        folder = Path(request["folder"])
        kinds = {place: kind for _, place, kind, *_ in (line.split(" ") for line in mounts)}
        kind = next(kinds[str(p)] for p in (folder, *folder.parents) if str(p) in kinds)
        inside = Path(f"/proc/{self.init}/root{folder}")
        found = sorted(inside.iterdir()) if inside.exists() else []
        return {"files": [(one.name, one.stat().st_mode & 0o7777, kind) for one in found]}

    def fill_disk(self, request: dict[str, Any]) -> dict[str, Any]:
        filler = Path(f"/proc/{self.init}/root/run/filler")
        filler.unlink(missing_ok=True)
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while not request["free_again"]:
                file.write(bytes(4096))
        return {}

    def lead(self, request: dict[str, Any]) -> dict[str, Any]:
        self.netlink.route("replace", dst=f"{request['destination']}/32", gateway=request["via"])
        return {}

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        self.children.append(subprocess.Popen(request["argv"]))
        return {}

    def forget_rules(self, _request: dict[str, Any]) -> dict[str, Any]:
        net = f"--net=/proc/{self.init}/root/run/netns/traffic"
        subprocess.run(
            ["nsenter", net, "nft", "flush", "ruleset"],
            check=True,
            env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"},
        )
        return {}

    def forget_routes(self, _request: dict[str, Any]) -> dict[str, Any]:
        net = f"--net=/proc/{self.init}/root/run/netns/traffic"
        act = "from pyroute2.iproute import IPRoute; IPRoute().flush_routes(dst_len=0, family={})"
        for family in (socket.AF_INET, socket.AF_INET6):
            words = ["nsenter", net, sys.executable, "-c", act.format(int(family))]
            subprocess.run(words, check=True)
        return {}

    def _veth(
        self, outer: str, inner: str, addresses: tuple[str, ...], namespace: str, mac: str = ""
    ) -> None:
        peer = {"ifname": inner, **({"address": mac} if mac else {})}
        with Path(namespace).open("rb") as target:
            self.netlink.link(
                "add", ifname=outer, kind="veth", peer={**peer, "net_ns_fd": target.fileno()}
            )
        index = self.netlink.link_lookup(ifname=outer)[0]
        self.netlink.link("set", index=index, state="up")
        for address in addresses:
            ip, _, length = address.partition("/")
            flags = {"IFA_FLAGS": 2} if ":" in ip else {}
            self.netlink.addr("add", index=index, address=ip, prefixlen=int(length), **flags)


def _tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            entry.mode = 0o600
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _serve(line: socket.socket) -> None:
    inside = _Inside()
    for text in line.makefile("r"):
        request = json.loads(text)
        try:
            if request["do"] == "socket":
                kinds = request["family"], request["kind"], request["protocol"]
                with socket.socket(*kinds) as made:
                    socket.send_fds(line, [b"{}"], array.array("i", [made.fileno()]))
                continue
            answer = getattr(inside, request["do"])(request)
        except Exception as error:  # noqa: BLE001 - told to the test, which fails with it
            answer = {"error": repr(error)}
        line.sendall(json.dumps(answer).encode())


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
