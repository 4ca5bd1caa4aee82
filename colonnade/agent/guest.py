# SPDX-License-Identifier: Apache-2.0
"""`python -m colonnade.agent.guest`: make a guest of a cloud a place that an agent can work in.

It runs once, before the agent, each time that the guest starts: what the guest is born with goes
from its config drive to `paths.CONFIG_DRIVE`, the interface on the LB network gets its name and
address, and the traffic namespace is made. Invariant: what is on the drive goes nowhere else, and
no error repeats it. It knows no agent; what that needs is the same as on a machine of namespaces.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from colonnade.protocol import birth, paths
from colonnade.protocol.messages import AgentConfig
from colonnade.runtime.network_options import OPEN_TO_ALL, SETTLED

DRIVES: Final = Path("/dev/disk/by-label")
DRIVE_S_MAX: Final = 600.0  # a busy host may take its time
LINK_S_MAX: Final = 600.0
LOOK_S: Final = 0.05
HAPROXY, KEEPALIVED = "/usr/sbin/haproxy", "/usr/sbin/keepalived"
RESOLVERS: Final = Path("/run/resolv.conf")
NETWORK_DATA_BYTES_MAX: Final = 1024 * 1024


class Link(msgspec.Struct, frozen=True):
    ethernet_mac_address: str = ""
    mtu: int | None = None


class Service(msgspec.Struct, frozen=True):
    type: str = ""
    address: str = ""


class NetworkData(msgspec.Struct, frozen=True):
    """What a cloud says of the interfaces that a guest starts with, as far as it matters here."""

    links: tuple[Link, ...] = ()
    services: tuple[Service, ...] = ()


class NotBorn(Exception):
    """The agent cannot start; why, for the console."""


def main() -> None:
    try:
        mounted = Path(paths.ROOT) / "drive"
        born, network = read(mount(mounted))
        subprocess.run(["umount", mounted], check=True)
        settle(born, Path(paths.CONFIG_DRIVE))
        RESOLVERS.write_text(resolvers(network))
        set_link(lb_link(born, network), config_of(born))
        make_namespace(Path(paths.TRAFFIC_NAMESPACE))
    except (NotBorn, birth.Unusable, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"this amphora cannot start: {error}")


def mount(place: Path) -> Path:
    """The config drive, read only, where nobody else looks."""
    drive = _awaited(_labelled, DRIVE_S_MAX, f"there is no drive called {birth.LABEL}")
    place.parent.mkdir(mode=0o700, exist_ok=True)
    place.mkdir(mode=0o700)
    subprocess.run(["mount", "-o", "ro,nosuid,nodev,noexec", drive, place], check=True)
    return place


def read(drive: Path) -> tuple[birth.Birth, NetworkData]:
    """What the controller and the cloud say. Raises Unusable or OSError."""
    with (drive / birth.USER_DATA).open("rb") as file:
        born = birth.decode(file.read(birth.BYTES_MAX + 1))
    try:
        text = (drive / birth.NETWORK_DATA).read_bytes()
        return born, msgspec.json.decode(text, type=NetworkData)
    except (FileNotFoundError, msgspec.MsgspecError):
        return born, NetworkData()


def config_of(born: birth.Birth) -> AgentConfig:
    """As the agent is to have it: the programs are this machine's, not the controller's."""
    try:
        config = msgspec.json.decode(born.files[birth.AGENT], type=AgentConfig)
    except msgspec.MsgspecError:
        raise NotBorn(f"{birth.AGENT} is not what an agent can read") from None
    return msgspec.structs.replace(config, haproxy=HAPROXY, keepalived=KEEPALIVED)


def settle(born: birth.Birth, folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    files = {**born.files, birth.AGENT: msgspec.json.encode(config_of(born)).decode()}
    for name, text in files.items():
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w") as written:
            written.write(text)


def lb_link(born: birth.Birth, network: NetworkData) -> Link:
    """The controller's word goes before the cloud's; with neither it is the only one there is."""
    known = {link.ethernet_mac_address.lower(): link for link in network.links}
    mac = born.lb_mac.lower()
    if mac:
        return known.get(mac, Link(mac))
    return next(iter(known.values()), Link())


def resolvers(network: NetworkData) -> str:
    """Of names, for access logs that go to one."""
    found = [one.address for one in network.services if one.type == "dns"]
    return "".join(f"nameserver {address}\n" for address in found)


def set_link(link: Link, config: AgentConfig) -> None:
    """The interface on the LB network, under the name and with the address that the agent looks
    for. It is set here, and no lease can run out."""
    _options(SETTLED)
    wanted = f"an interface on the LB network {link.ethernet_mac_address}".strip()
    found = _awaited(lambda: _present(link), LINK_S_MAX, f"there is not {wanted}")
    name, address = config.lb_interface, f"{config.lb_network_ip}/{config.lb_prefix_length}"
    if found != name:
        _ip("link", "set", "dev", found, "down")
        _ip("link", "set", "dev", found, "name", name)
    _ip("link", "set", "dev", name, *(("mtu", str(link.mtu)) if link.mtu else ()), "up")
    _ip("link", "set", "dev", "lo", "up")
    _ip("address", "replace", address, "dev", name, *(("nodad",) if ":" in address else ()))
    if config.lb_gateway:
        _ip("route", "replace", "default", "via", config.lb_gateway, "dev", name)


def make_namespace(place: Path) -> None:
    place.parent.mkdir(mode=0o755, exist_ok=True)
    place.touch()
    subprocess.run(["unshare", f"--net={place}", "true"], check=True)
    _options(OPEN_TO_ALL, "nsenter", f"--net={place}")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _options(wanted: Mapping[str, str], *inside: str) -> None:
    """What the kernel does not have is passed over."""
    lines = "".join(f"{name} {value}\n" for name, value in wanted.items())
    script = 'while read -r name value; do echo "$value" >"/proc/sys/net/$name" || :; done'
    subprocess.run([*inside, "sh", "-c", script], input=lines, text=True, check=True)


def _labelled() -> Path | None:
    found = (DRIVES / label for label in (birth.LABEL, birth.LABEL.upper()))
    return next((path for path in found if path.exists()), None)


def _present(link: Link) -> str:
    """The name of that interface; of any but the loopback where none is named; "": not there."""
    for found in sorted(Path("/sys/class/net").iterdir()):
        mac = (found / "address").read_text().strip()
        if found.name != "lo" and link.ethernet_mac_address.lower() in ("", mac):
            return found.name
    return ""


def _awaited(fact: Any, within_s: float, otherwise: str) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := fact()):
        if time.monotonic() > deadline:
            raise NotBorn(otherwise)
        time.sleep(LOOK_S)
    return value


if __name__ == "__main__":
    main()
