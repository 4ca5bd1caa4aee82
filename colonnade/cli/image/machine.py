# SPDX-License-Identifier: Apache-2.0
"""A guest of an image under QEMU, on networks that end at this machine's loopback.

It has a disk that forgets, a config drive, an interface on the LB network, and a cable for a
second one that is plugged in later, as a cloud does. What goes into the guest comes from an address
of loopback that is this guest's own; what leaves it for the first address of a network arrives at
127.0.0.1. Ended with its owner.
"""

import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from colonnade.domain.errors import Broken, Invalid
from colonnade.protocol import birth
from colonnade.protocol.messages import PORT_AGENT

QEMU: Final = "qemu-system-x86_64"
NEEDED: Final[Mapping[str, str]] = {QEMU: "qemu-system-x86", "genisoimage": "genisoimage"}
LB_NETWORK, LB_HOST, LB_GUEST = "192.0.2.0/24", "192.0.2.2", "192.0.2.15"
VIP_NETWORK, VIP_HOST, VIP = "203.0.113.0/24", "203.0.113.2", "203.0.113.7"
LB_MAC, VIP_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
VIP_PORT: Final = 8080
MEMORY_MIB: Final = 512
CONSOLE_LINES: Final = 30  # that a failure repeats


class Machine:
    def __init__(self, image: Path, folder: Path, *, kvm: bool) -> None:
        """`folder`: an empty one of its own, and private."""
        self.address = str(IPv4Address(0x7F010000 + secrets.randbelow(0xFD0000)))
        self._image = image
        self._folder = folder
        self._kvm = kvm
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, born: Mapping[str, str]) -> None:
        """Raises Invalid where a program is missing."""
        missing = [package for name, package in NEEDED.items() if shutil.which(name) is None]
        if missing:
            words = " ".join(missing)
            raise Invalid(f"a guest needs programs that are not here: apt-get install {words}")
        self._write_drive(born)
        with (self._folder / "qemu").open("wb") as said:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )

    async def plug(self) -> None:
        """The second interface. Raises Broken."""
        reader, writer = await asyncio.open_unix_connection(str(self._folder / "monitor"))
        try:
            await reader.readline()  # its greeting
            device = {"driver": "virtio-net-pci", "netdev": "vip", "mac": VIP_MAC, "id": "vip"}
            await _told(reader, writer, "qmp_capabilities", {})
            await _told(reader, writer, "device_add", device)
        finally:
            writer.close()

    def check(self) -> None:
        """Raises Broken, with its last words, if it has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise Broken(f"the guest ended: {self.last_words()}")

    def last_words(self) -> str:
        said = ""
        for name in ("qemu", "console"):
            with contextlib.suppress(FileNotFoundError):
                said += (self._folder / name).read_text(errors="replace")
        return "\n".join(said.splitlines()[-CONSOLE_LINES:]) or "it said nothing"

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _write_drive(self, born: Mapping[str, str]) -> None:
        """As a cloud writes it."""
        links = [{"id": "lb", "type": "ovs", "ethernet_mac_address": LB_MAC, "mtu": 1450}]
        files = {
            birth.USER_DATA: birth.encode(born),
            birth.NETWORK_DATA: json.dumps({"links": links}).encode(),
        }
        for name, content in files.items():
            path = self._folder / "drive" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        subprocess.run(
            [
                *("genisoimage", "-quiet", "-o", self._folder / "drive.iso", "-V", birth.LABEL),
                *("-J", "-r", "-l", self._folder / "drive"),
            ],
            check=True,
            capture_output=True,
        )

    def _command(self) -> list[str]:
        lb = f"user,id=lb,net={LB_NETWORK},host={LB_HOST},ipv6=off"
        vip = f"user,id=vip,net={VIP_NETWORK},host={VIP_HOST},ipv6=off"
        agent = f"hostfwd=tcp:{self.address}:{PORT_AGENT}-{LB_GUEST}:{PORT_AGENT}"
        traffic = f"hostfwd=tcp:{self.address}:{VIP_PORT}-{VIP}:80"
        return [
            *("setpriv", "--pdeathsig", "KILL"),  # ends with its owner, however that ends
            *(QEMU, "-accel", "kvm" if self._kvm else "tcg", "-m", str(MEMORY_MIB)),
            *("-nodefaults", "-display", "none", "-no-reboot"),
            *("-serial", f"file:{self._folder / 'console'}"),
            *("-qmp", f"unix:{self._folder / 'monitor'},server=on,wait=off"),
            *("-drive", f"file={self._image},format=raw,if=virtio,snapshot=on"),
            *("-drive", f"file={self._folder / 'drive.iso'},format=raw,media=cdrom,readonly=on"),
            *("-netdev", f"{lb},{agent}", "-netdev", f"{vip},{traffic}"),
            *("-device", f"virtio-net-pci,netdev=lb,mac={LB_MAC}"),
        ]


async def _told(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, word: str, about: dict[str, Any]
) -> None:
    """QEMU's monitor protocol: one command, and its answer among what else it says."""
    writer.write(json.dumps({"execute": word, "arguments": about}).encode() + b"\n")
    while line := await reader.readline():
        answer = json.loads(line)
        if "error" in answer:
            raise Broken(f"QEMU refuses {word}: {answer['error'].get('desc')}")
        if "return" in answer:
            return
    raise Broken(f"QEMU ended at {word}")
