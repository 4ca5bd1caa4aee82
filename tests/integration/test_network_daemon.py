# SPDX-License-Identifier: Apache-2.0
"""The network daemon with real links: where a port's packets go, who may call, what survives."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from colonnade.domain.errors import Conflict, Forbidden, Invalid, NotFound, Unreachable
from colonnade.domain.ids import AmphoraId, PortId, new_id
from colonnade.drivers.compute.namespaces.client import ComputeClient
from colonnade.drivers.compute.protocol import Boot, InstanceState
from colonnade.drivers.network.namespaces import groups
from colonnade.drivers.network.namespaces.address_book import PRIVATE, PUBLIC, network_id, subnet_id
from colonnade.drivers.network.namespaces.client import LabClient, NetworkClient
from colonnade.drivers.network.namespaces.processes import child_of
from colonnade.drivers.network.namespaces.wire import HostWish, write_error
from colonnade.drivers.network.protocol import (
    Announced,
    Neighbour,
    NextHop,
    Port,
    PortWish,
    Route,
)
from colonnade.protocol.paths import CONFIG_DRIVE
from colonnade.runtime import host_ids
from colonnade.runtime.mtls import server_context
from tests.lab_site import Site, site, until, why_impossible

ClientT = TypeVar("ClientT", NetworkClient, ComputeClient, LabClient)
SECRET = "only the agent may read this"


@pytest.fixture(scope="module")
def lab() -> Iterator[Site]:
    if reason := why_impossible():
        pytest.skip(reason)
    with site() as made:
        yield made


@asynccontextmanager
async def open_client(client: ClientT) -> AsyncIterator[ClientT]:
    try:
        yield client
    finally:
        await client.close()


async def boot(lab: Site, networks: NetworkClient) -> AmphoraId:
    amphora_id = AmphoraId(new_id())
    wish = PortWish(
        id=PortId(new_id()),
        owner=f"amphora:{amphora_id}",
        subnet_id=(await networks.lb_subnet()).id,
    )
    port = await networks.create_port(wish)
    async with open_client(lab.compute()) as compute:
        drive = {"secret.txt": SECRET}
        await compute.create(Boot(amphora_id=amphora_id, lb_port_id=port.id, config_drive=drive))
    return amphora_id


async def create_vip(networks: NetworkClient) -> Port:
    return await networks.create_port(
        PortWish(id=PortId(new_id()), owner="lb:x", subnet_id=subnet_id("public", PUBLIC.cidrs[0]))
    )


def link_with(lab: Site, amphora_id: AmphoraId, mac: str) -> str:
    """The name of the amphora's traffic interface with that MAC, "" when it has none."""
    script = """
import sys
from pyroute2 import IPRoute
with IPRoute() as route:
    for link in route.get_links():
        if link.get("address") == sys.argv[1]:
            print(link.get("ifname"))
"""
    return lab.run_in_traffic(amphora_id, *python(script, mac)).strip()


def give_address(lab: Site, amphora_id: AmphoraId, port: Port) -> None:
    """What the agent would do with a plugged port."""
    script = """
import sys
from pyroute2 import IPRoute
with IPRoute() as route:
    (index,) = route.link_lookup(address=sys.argv[1])
    route.link("set", index=index, state="up")
    route.addr("add", index=index, address=sys.argv[2], prefixlen=24)
"""
    lab.run_in_traffic(amphora_id, *python(script, port.mac, port.address))


def python(script: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script, *words)


def answers(lab: Site, address: str, port: int, *, host: str = "outside") -> bool:
    """Whether a TCP connection from that host is answered, with yes or no."""
    script = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
except ConnectionRefusedError:
    pass
except OSError:
    sys.exit("silence")
"""
    try:
        lab.run(*python(script, address, str(port)), inside=host)
    except AssertionError:
        return False
    return True


async def test_a_port_answers_where_it_is_plugged_and_nowhere_else(lab: Site) -> None:
    async with open_client(lab.networks()) as networks:
        first, second = await boot(lab, networks), await boot(lab, networks)
        port = await create_vip(networks)
        for here, there in ((first, second), (second, first), (first, second)):
            await networks.plug(port.id, here)
            assert link_with(lab, here, port.mac)
            assert not link_with(lab, there, port.mac)
            give_address(lab, here, port)
            assert answers(lab, port.address, 80)
        await networks.unplug(port.id)
        assert not link_with(lab, first, port.mac)
        assert not answers(lab, port.address, 80)


async def test_a_destroyed_amphora_is_silent_at_once(lab: Site) -> None:
    async with open_client(lab.networks()) as networks, open_client(lab.compute()) as compute:
        amphora_id = await boot(lab, networks)
        port = await create_vip(networks)
        await networks.plug(port.id, amphora_id)
        give_address(lab, amphora_id, port)
        assert answers(lab, port.address, 80)
        namespaces = namespaces_of(lab, amphora_id)
        await compute.destroy(amphora_id)
        assert not answers(lab, port.address, 80)
        assert not namespaces & namespaces_in(lab)


def namespaces_in(lab: Site) -> set[str]:
    """Network namespaces that a process of the lab is in."""
    script = 'for p in /proc/[0-9]*; do readlink "$p/ns/net" || :; done 2>/dev/null'
    return set(lab.run("sh", "-c", script).split())


def namespaces_of(lab: Site, machine_id: str) -> set[str]:
    return {lab.run("readlink", f"/proc/{lab.machine_pid(machine_id)}/ns/net").strip()}


async def test_an_amphora_has_what_it_was_born_with_and_nobody_else(lab: Site) -> None:
    async with open_client(lab.networks()) as networks:
        amphora_id = await boot(lab, networks)
    root = f"/proc/{lab.machine_pid(amphora_id)}/root"
    path = f"{root}{CONFIG_DRIVE}/secret.txt"
    until(lambda: lab.run("sh", "-c", f"cat {path} || :") == SECRET, 5, "the config drive")
    assert lab.run("stat", "-c", "%a", path).strip() == "600"
    # Outside of it there is what the daemon keeps of it and others, and nobody else may read that.
    found = lab.run("sh", "-c", f"grep -rls '{SECRET}' {lab.folder} || :").split()
    kept = lab.config.state_dir / "network/amphorae"
    assert str(kept / f"{amphora_id}.json") in found
    assert {Path(one).parent for one in found} == {kept}
    modes = {stat.S_IMODE(one.stat().st_mode) for one in map(Path, found)}
    assert (modes, stat.S_IMODE(kept.stat().st_mode)) == ({0o600}, 0o700)
    places = f"{root}{lab.config.state_dir} {root}{lab.config.run_dir}"
    hidden = lab.run("sh", "-c", f"ls -A {places} 2>/dev/null || :")
    assert "pki" not in hidden
    assert "network.sock" not in hidden


# linux/capability.h: setpcap, net_bind_service, net_admin, net_raw, sys_admin, in its namespaces.
AGENT_MAY = sum(1 << number for number in (8, 10, 12, 13, 21))

# What a process of an amphora tries, as its root. Each line of what it prints is a wall that fell.
BREAKOUT = (
    f"PYTHON = {[sys.prefix, sys.base_prefix, *sys.path]}\n"
    + """
import ctypes, glob, os, subprocess, sys
SEEN = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "dev", "etc", "proc", "run"}
SEEN |= {"mnt", "tmp", "var", "sys"}
SEEN |= {path.split("/")[1] for path in PYTHON if path[:1] == "/"}
secret, outside, diary, mark, *strangers = sys.argv[1:]

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read(100)
    except OSError:
        return b""

def fell(what):
    print(what, flush=True)

mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
# Take away whatever can be taken away, the innermost first, and again.
for place in sorted(mounts, key=len, reverse=True) * 2:
    if place not in ("/", "/proc"):
        subprocess.run(["umount", "-l", place], capture_output=True)
for words in (["-o", "remount,rw", "/"], ["-o", "remount,bind,rw", "/usr"], ["/dev/vda", "/run"]):
    if subprocess.run(["mount", *words], capture_output=True).returncode == 0:
        fell(f"mount {words}")
if read(secret):
    fell("a secret of the control plane")
if os.path.exists(diary) or read(diary):
    fell("a file that anybody outside may read and write")
if set(os.listdir("/")) - SEEN:
    fell(f"more of the machine: {os.listdir('/')}")
if os.path.exists(outside):
    fell("the run folder")
if read("/etc/shadow"):
    fell("/etc/shadow")
for path in ("/etc/colonnade-was-here", "/usr/colonnade-was-here", "/colonnade-was-here"):
    try:
        open(path, "w").close()
        fell(path)
        os.unlink(path)
    except OSError:
        pass
try:
    os.mknod("/run/disk", 0o600 | 0o060000, os.makedev(8, 0))
    os.open("/run/disk", os.O_RDONLY)
    fell("a disk")
except OSError:
    pass
# Of its own namespaces.
OWN = ["/proc/sys/net/", "/proc/sys/user/"]
OWN = (*OWN, "/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/pid_max")
for place, _, files in os.walk("/proc/sys"):
    for path in (os.path.join(place, name) for name in files):
        try:
            os.close(os.open(path, os.O_WRONLY))
        except OSError:
            continue
        if not path.startswith(OWN):
            fell(path)
for path in ("/proc/sysrq-trigger", "/proc/kcore", "/dev/mem"):
    try:
        os.close(os.open(path, os.O_RDWR))
        fell(path)
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
try:
    if libc.setns(os.open("/proc/1/ns/user", os.O_RDONLY), 0) == 0:
        fell("another user namespace")
except OSError:
    pass
pids = [int(p.rsplit("/", 1)[1]) for p in glob.glob("/proc/[0-9]*")]
if any(mark.encode() in read(f"/proc/{p}/cmdline") for p in pids if p != os.getpid()):
    fell("processes outside are seen")
# Processes outside, by the numbers that they have there; one may be the number of another here.
SEIZE, DETACH = 0x4206, 17
for pid in {int(word) for word in strangers} - set(pids):
    try:
        os.kill(pid, 0)
        fell(f"process {pid} may be signalled")
    except ProcessLookupError:
        pass
    if libc.ptrace(SEIZE, pid, None, None) == 0:
        fell(f"process {pid} may be traced")
        libc.ptrace(DETACH, pid, None, None)
    for name in ("status", "environ", "root/etc/passwd", "mem"):
        if os.path.exists(f"/proc/{pid}/{name}"):
            fell(f"{name} of process {pid}")
if libc.sethostname(b"x", 1) == 0:
    fell("the name of the machine")
os.kill(-1, 9)  # all that it may: of the amphora alone
print("done")
"""
)


POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--")


@pytest.mark.parametrize("rights", [(), POWERLESS], ids=["all-rights", "as-haproxy"])
def test_from_inside_an_amphora_nothing_outside_is_reached(
    lab: Site, rights: tuple[str, ...]
) -> None:
    """Whatever it takes away or tries: no secret, no file, no process of the machine, and none of
    another amphora."""
    asyncio.run(_booted(lab))
    pid, other = (lab.machine_pid(asyncio.run(_booted(lab))) for _ in range(2))
    secret = lab.config.state_dir / "pki" / "master.key"
    secret.parent.mkdir(exist_ok=True)
    secret.write_bytes(b"the master key")
    secret.chmod(0o600)
    diary = lab.folder / "diary"
    diary.write_text("what anybody may read and write")
    diary.chmod(0o666)
    mark = f"outside-{new_id()}"
    places = (str(secret), str(lab.config.run_dir), str(diary), mark)
    wait = ["sh", "-c", "read line; exit 7", mark]
    with subprocess.Popen(wait, stdin=subprocess.PIPE) as bystander:
        neighbours = [other, *children_of(lab, other)]
        strangers = map(str, (bystander.pid, os.getpid(), *neighbours))
        breakout = (sys.executable, "-I", "-c", BREAKOUT, *places, *strangers)
        assert lab.run(*inside(lab, pid), *rights, *breakout) == "done\n"
        bystander.communicate(b"\n")
    assert bystander.returncode == 7
    assert [other, *children_of(lab, other)] == neighbours
    assert diary.read_text() == "what anybody may read and write"


def inside(lab: Site, pid: int) -> tuple[str, ...]:
    """As the root of an amphora."""
    as_it_is = ("--preserve-credentials",) if os.geteuid() != 0 else ()
    return ("nsenter", f"--target={pid}", "--user", *as_it_is, "--mount", "--net", "--pid", "--")


def children_of(lab: Site, pid: int) -> list[int]:
    said = lab.run("cat", f"/proc/{pid}/task/{pid}/children").split()
    return [int(word) for word in said]


def test_root_of_an_amphora_is_nobody_outside(lab: Site) -> None:
    pid = lab.machine_pid(asyncio.run(_booted(lab)))
    assert lab.run("readlink", f"/proc/{pid}/ns/user") != lab.run("readlink", "/proc/self/ns/user")
    (agent,) = children_of(lab, pid)
    for one in (pid, agent):
        status = status_of(lab, one)
        assert status["NoNewPrivs"] == "1"
        if os.geteuid() == 0:
            ids = {int(word) for word in status["Uid"].split() + status["Gid"].split()}
            assert min(ids) >= host_ids.FIRST, "it is root of the machine"
            assert status["Groups"] == ""
    assert int(status_of(lab, agent)["CapBnd"], 16) == AGENT_MAY
    again = "unshare --user --map-root-user true 2>/dev/null && echo it has rights || :"
    assert lab.run(*inside(lab, pid), *POWERLESS, "sh", "-c", again) == ""


def status_of(lab: Site, pid: int) -> dict[str, str]:
    lines = lab.run("cat", f"/proc/{pid}/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def _booted(lab: Site) -> AmphoraId:
    async with open_client(lab.networks()) as networks:
        return await boot(lab, networks)


async def test_no_two_amphorae_are_the_same_id_outside(lab: Site) -> None:
    async with open_client(lab.networks()) as networks:
        made = await asyncio.gather(*(boot(lab, networks) for _ in range(3)))
    ids = [lab.run("stat", "-c", "%u", f"/proc/{lab.machine_pid(one)}") for one in made]
    assert len(set(ids)) == (3 if os.geteuid() == 0 else 1)


def groups_of(lab: Site) -> list[Path]:
    """The folders in which amphorae of the lab have control groups, where they have any."""
    name = groups.name_of(lab.config.run_dir)
    every = (groups.ROOT / name, *(groups.ROOT / kind / name for kind in groups.CONTROLLERS))
    return [place for place in every if place.exists()]


async def test_an_amphora_is_bounded_in_groups_that_end_with_it(lab: Site) -> None:
    places = groups_of(lab)
    if not places:
        pytest.skip("no control group can be written here")
    async with open_client(lab.networks()) as networks, open_client(lab.compute()) as compute:
        amphora_id = await boot(lab, networks)
        limits = {}
        for place in places:
            procs = place / amphora_id / "cgroup.procs"
            until(lambda file=procs: len(file.read_text().split()) > 1, 10, "init and agent in it")  # type: ignore[misc]
            for file in ("memory.max", "memory.limit_in_bytes", "pids.max"):
                if (place / amphora_id / file).exists():
                    limits[file.partition(".")[0]] = (place / amphora_id / file).read_text()
        assert {name: int(text) for name, text in limits.items()} == {
            "memory": lab.config.amphora_memory_mib * groups.MIB,
            "pids": lab.config.amphora_processes,
        }
        await compute.destroy(amphora_id)
    assert not any((place / amphora_id).exists() for place in places)


def test_no_group_is_left_when_the_lab_ends() -> None:
    if reason := why_impossible():
        pytest.skip(reason)
    with site() as made:
        asyncio.run(_booted(made))
        places = groups_of(made)
    assert not any(place.exists() for place in places)


async def test_amphorae_reach_controllers_but_not_each_other(lab: Site) -> None:
    async with open_client(lab.networks()) as networks:
        first, second = await boot(lab, networks), await boot(lab, networks)
        ports = {p.owner: p.address for p in await networks.ports()}
    enter = f"--net=/proc/{lab.machine_pid(first)}/ns/net"
    script = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 1.5).close()
except OSError as error:
    print(type(error).__name__)
"""

    def attempt(address: str) -> str:
        return lab.run("nsenter", enter, "--", *python(script, address)).strip()

    assert attempt(lab.config.lb_network.address) == "ConnectionRefusedError"
    assert attempt(ports[f"amphora:{second}"]) != "ConnectionRefusedError"
    assert attempt("10.0.0.1") == "OSError"  # no route


async def test_low_ports_are_free_to_haproxy_without_rights(lab: Site) -> None:
    async with open_client(lab.networks()) as networks:
        amphora_id = await boot(lab, networks)
    path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    assert lab.run_in_traffic(amphora_id, "cat", path).strip() == "0"


async def test_a_daemon_killed_and_started_again_finds_its_machines(lab: Site) -> None:
    async with open_client(lab.networks()) as networks, open_client(lab.bench()) as bench:
        amphora_id = await boot(lab, networks)
        port = await create_vip(networks)
        await networks.plug(port.id, amphora_id)
        give_address(lab, amphora_id, port)
        await bench.add_host(HostWish(name="kept", network="private"))
        before = {p.id: p for p in await networks.ports()}
        lab.end_daemon(signal.SIGKILL)
        assert answers(lab, port.address, 80)
        with pytest.raises(Unreachable):
            await networks.networks()
        lab.start_daemon()
        assert {p.id: p for p in await networks.ports()} == before
        async with open_client(lab.compute()) as compute:
            found = await compute.instance(amphora_id)
            assert found is not None
            assert found.state is InstanceState.RUNNING
            await compute.destroy(amphora_id)
        assert not answers(lab, port.address, 80)
        assert "kept" in {host.name for host in await bench.hosts()}
        await bench.remove_host("kept")


async def test_a_daemon_stops_in_order_when_told(lab: Site) -> None:
    lab.end_daemon(signal.SIGTERM)
    assert lab.daemon is not None
    assert lab.daemon.returncode == 0
    assert not (lab.config.run_dir / "network.sock").exists()
    lab.start_daemon()


async def test_each_office_may_do_its_own_and_no_more(lab: Site) -> None:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_client(lab.networks("api")))
        health = await stack.enter_async_context(open_client(lab.networks("health")))
        bench = await stack.enter_async_context(open_client(lab.bench("controller")))
        stranger = await stack.enter_async_context(open_client(lab.networks("amphora")))
        amphorae = await stack.enter_async_context(open_client(lab.compute("api")))
        port = await create_vip(api)
        assert port in await health.ports()
        refused = [
            stranger.networks(),
            health.delete_port(port.id),
            api.plug(port.id, AmphoraId(new_id())),
            amphorae.destroy(AmphoraId(new_id())),
            bench.hosts(),
            api.create_port(
                PortWish(id=PortId(new_id()), owner="lb:x", subnet_id=(await api.lb_subnet()).id)
            ),
        ]
        control = next(p for p in await api.ports() if p.owner == "control")
        for owner in ("lb:x", "control", ""):
            wish = PortWish(id=control.id, owner=owner, subnet_id=port.subnet_id)
            refused.append(api.create_port(wish))
        for call in refused:
            with pytest.raises(Forbidden):
                await call
        outside = next(p for p in await api.ports() if p.owner == "host:outside")
        with pytest.raises(Forbidden):
            await api.delete_port(outside.id)
        await api.delete_port(port.id)


async def test_nobody_is_served_without_a_certificate(lab: Site) -> None:
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(5)
        plain.connect(str(lab.config.run_dir / "network.sock"))
        plain.sendall(b"GET /v1/networks HTTP/1.1\r\nHost: network\r\n\r\n")
        assert b"HTTP/1.1 200" not in plain.recv(1000)
    found = (lab.config.run_dir / "network.sock").stat()
    ids = host_ids.of(lab.config.state_dir)
    assert (found.st_uid, found.st_mode & 0o777) == (os.geteuid(), 0o660 if ids else 0o600)
    assert ids is None or found.st_gid == ids.control


async def test_hosts_talk_through_the_router_on_both_ip_versions(lab: Site) -> None:
    serve = (sys.executable, "-m", "http.server", "80", "--bind", "::")
    fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).status)"
    async with open_client(lab.bench()) as bench:
        network = await bench.add_network("six", "2001:db8:66::/64")
        assert await bench.add_network("six", "2001:db8:66::/64") == network
        wishes = (("web", "private"), ("web-six", "six"))
        hosts = [
            await bench.add_host(HostWish(name=name, network=on, command=serve, directory="/usr"))
            for name, on in wishes
        ]
        for host in hosts:
            (address,) = host.addresses
            url = f"http://[{address}]/" if ":" in address else f"http://{address}/"

            def fetched(where: str = url) -> bool:
                try:
                    return lab.run(*python(fetch, where), inside="outside").strip() == "200"
                except AssertionError:
                    return False

            until(fetched, 10, f"{url} to be served")
        for name, _ in wishes:
            await bench.remove_host(name)
        assert not answers(lab, hosts[0].addresses[0], 80)


async def test_a_network_whose_addresses_are_announced_says_to_whom(lab: Site) -> None:
    said = Announced(asn=64512, routers=(Neighbour("203.0.113.2", 64600),), bfd_ms=50)
    async with open_client(lab.bench()) as bench, open_client(lab.networks()) as networks:
        how: dict[str, Any] = {"via": "public", "announced": said}
        made = await bench.add_network("heard", "198.51.102.0/24", **how)
        (found,) = [s for s in await networks.subnets() if s.network_id == made.id]
        assert (found.announced, found.gateway_ip) == (said, None)
        with pytest.raises(Invalid, match="name `via`"):
            await bench.add_network("nowhere", "198.51.103.0/24", announced=said)
        with pytest.raises(Invalid, match="name one of IPv6"):
            await bench.add_network("deaf", "2001:db8:9::/64", **how)


async def test_nobody_is_on_a_network_that_is_led_elsewhere(lab: Site) -> None:
    ranges = ("192.0.2.0/24", "2001:db8:2::/64")
    async with open_client(lab.bench()) as bench, open_client(lab.networks()) as networks:
        for _ in range(2):
            vips = await bench.add_network("vips", ranges[0], more=ranges[1:], via="public")
        found = {s.cidr: s for s in await networks.subnets() if s.network_id == vips.id}
        assert {cidr: s.via_subnet_id for cidr, s in found.items()} == dict(
            zip(ranges, (subnet_id("public", cidr) for cidr in PUBLIC.cidrs), strict=True)
        )
        assert {s.gateway_ip for s in found.values()} == {None}
        vip = await networks.create_port(
            PortWish(id=PortId(new_id()), owner="lb:x", subnet_id=found[ranges[0]].id)
        )
        with pytest.raises(Forbidden):
            await networks.plug(vip.id, await boot(lab, networks))
        with pytest.raises(Invalid, match="nobody can be on vips"):
            await bench.add_host(HostWish(name="there", network="vips"))
        hop = await create_vip(networks)
        route = Route(
            destination=f"{vip.address}/32",
            network_id=hop.network_id,
            next_hops=(NextHop(hop.address),),
            owner="lb:x",
        )
        assert await networks.router.set_route(route) == route
        assert await networks.router.route(route.destination) == route
        await networks.router.delete_route(route.destination)
        with pytest.raises(NotFound, match="there is no route"):
            await networks.router.route(route.destination)
        for name, cidr, via in (
            ("vips-a", "198.51.100.0/24", "nowhere"),
            ("vips-b", "2001:db8:3::/64", "private"),
        ):
            with pytest.raises(Invalid, match="network"):
                await bench.add_network(name, cidr, via=via)
        with pytest.raises(Conflict):
            await bench.add_network("vips-c", "192.0.2.0/25")
        for port in (vip, hop):
            await networks.delete_port(port.id)


ONE_THAT_LOOKS = """
import socket, sys
from colonnade.drivers.network.namespaces.next_hops import Hop, Table
class Looking(Table):
    def _forget_unused(self, candidates):
        pass
table = Looking()
if sys.argv[1] == "make":
    table._single(Hop("203.0.113.77", socket.if_nametoindex("public"), 1))
print(len(table._singles))
"""


async def test_next_hops_that_a_killed_daemon_left_are_forgotten(lab: Site) -> None:
    """It makes them before the group that uses them."""
    assert lab.run(*python(ONE_THAT_LOOKS, "make"), inside="router").strip() == "1"
    lab.end_daemon(signal.SIGKILL)
    lab.start_daemon()
    assert lab.run(*python(ONE_THAT_LOOKS, "look"), inside="router").strip() == "0"


async def test_the_bench_refuses_what_cannot_be(lab: Site) -> None:
    async with open_client(lab.bench()) as bench:
        await bench.add_host(HostWish(name="one", network="private", address="10.0.0.99"))
        again = await bench.add_host(HostWish(name="one", network="private", address="10.0.0.99"))
        assert again.addresses == ("10.0.0.99",)
        cases = [
            (Conflict, bench.add_host(HostWish(name="one", network="public"))),
            (
                Conflict,
                bench.add_host(HostWish(name="two", network="private", address="10.0.0.99")),
            ),
            (Invalid, bench.add_host(HostWish(name="two", network="private", address="10.9.9.9"))),
            (Invalid, bench.add_host(HostWish(name="../x", network="private"))),
            (Invalid, bench.add_network("odd", "10.1.2.3/8")),
            (Conflict, bench.add_network("more", "10.0.0.0/16")),
            (Conflict, bench.remove_host("outside")),
        ]
        for error, call in cases:
            with pytest.raises(error):
                await call
        assert {host.name for host in await bench.hosts()} >= {"one", "outside"}
        await bench.remove_host("one")
        await bench.remove_host("one")


async def test_many_at_once_get_an_address_each(lab: Site) -> None:
    async with open_client(lab.networks()) as networks:
        wishes = [
            PortWish(id=PortId(new_id()), owner="lb:x", network_id=network_id(PRIVATE.name))
            for _ in range(40)
        ]
        ports = await asyncio.gather(*(networks.create_port(wish) for wish in wishes))
        assert len({port.address for port in ports}) == len(ports)
        for port in ports:
            await networks.delete_port(port.id)


async def test_moving_ports_leaks_no_descriptor_and_no_thread(lab: Site) -> None:
    async with open_client(lab.networks()) as networks:
        amphorae = [await boot(lab, networks), await boot(lab, networks)]
        port = await create_vip(networks)

        assert lab.daemon is not None
        folder = Path(f"/proc/{child_of(lab.daemon.pid)}")

        def kept(kind: str) -> int:
            """The least of some looks: the daemon opens files of machines now and then."""
            looks = []
            for _ in range(10):
                looks.append(len(list((folder / kind).iterdir())))
                time.sleep(0.03)
            return min(looks)

        await networks.plug(port.id, amphorae[1])
        files, threads = kept("fd"), kept("task")
        for amphora_id in amphorae * 5:
            await networks.plug(port.id, amphora_id)
        assert kept("fd") <= files
        assert kept("task") <= threads


async def test_addresses_and_amphorae_outlive_the_lab_and_hosts_do_not(lab: Site) -> None:
    assert lab, "labs can be made here"
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    made = Site(folder)
    try:
        await made.begin()
        async with open_client(made.networks()) as networks, open_client(made.bench()) as bench:
            port = await create_vip(networks)
            amphora_id = await boot(made, networks)
            plugged = await networks.plug(port.id, amphora_id)
            await bench.add_host(HostWish(name="gone", network="private", address="10.0.0.50"))
            await bench.add_network("third", "10.3.0.0/24")
        await made.end()
        await made.begin()
        async with open_client(made.networks()) as networks:
            assert await networks.port(port.id) == plugged
            assert "10.0.0.50" not in {p.address for p in await networks.ports()}
            assert "third" in {n.name for n in await networks.networks()}
        async with open_client(made.compute()) as compute:
            assert [one.amphora_id for one in await compute.instances()] == [amphora_id]
    finally:
        await made.end()
        shutil.rmtree(folder)


async def test_a_client_over_tcp_checks_who_serves(lab: Site) -> None:
    pki = lab.config.pki_dir
    for office, error in (("network", NotFound), ("controller", Unreachable)):
        context = server_context(pki / f"{office}.pem", pki / "ca.pem")
        runner = web.AppRunner(web.Application(middlewares=[_nothing_here]))
        await runner.setup()
        server = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await server.start()
        port = runner.addresses[0][1]
        url = f"https://127.0.0.1:{port}"
        async with open_client(NetworkClient(url, pki / "api.pem", pki / "ca.pem")) as client:
            with pytest.raises(error):
                await client.networks()
        await runner.cleanup()


@web.middleware
async def _nothing_here(request: web.Request, handler: Handler) -> web.StreamResponse:
    status, body = write_error(NotFound("nothing here"))
    return web.Response(status=status, body=body)
