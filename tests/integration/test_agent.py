# SPDX-License-Identifier: Apache-2.0
"""The agent serves bundles with real haproxy, and no change, refusal or death hurts traffic."""

import asyncio
import signal
import socket
import ssl
from pathlib import Path
from uuid import UUID

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from colonnade.agent.haproxy.status import digest
from colonnade.domain.errors import Broken, Rejected
from colonnade.drivers.amphora.haproxy.client import Outdated
from colonnade.protocol import paths
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.datagram import Datagram, Edge, Heartbeat, Kind, Statistics, encode
from colonnade.protocol.messages import PORT_TASKS
from colonnade.runtime.mtls import client_context
from tests.agent_bench import CHECKED, Bench, bundle, server, until, until_heard
from tests.agent_site import AMPHORA_IP, VIP6

AGENT, HAPROXY = "colonnade.agent", "haproxy.cfg"


async def all_up(bench: Bench, *names: str) -> None:
    async def so() -> bool:
        return await bench.states() == dict.fromkeys(names, "UP")

    await until(so)


async def test_members_change_under_load_without_a_failed_request(bench: Bench) -> None:
    for number in (1, 2, 3):
        await bench.web_server(number)
    assert await bench.put(bundle(1, server(1), server(2))) == "reload"
    async with bench.load() as answers:
        means = set()
        for generation in range(2, 22):
            third = (server(3),) if generation % 2 else ()
            weight = 1 + generation % 5
            means.add(await bench.put(bundle(generation, server(1, weight=weight), *third)))
        assert means == {"runtime"}
        # A moved address and a replaced health check, too.
        await bench.put(bundle(30, server(1, address="203.0.113.13:8080"), server(2)))
        await bench.put(bundle(31, server(1, options=f"{CHECKED} backup"), server(2)))
        await bench.put(bundle(32, server(1), server(2), extra="option forwardfor"))
    assert len(answers) > 50
    assert [one for one in answers if one.startswith("failed")] == []
    assert set(answers) == {"1", "2", "3"}
    assert await bench.get(vip=VIP6) in [(200, "1"), (200, "2")]


async def test_a_removed_server_finishes_what_it_began_and_gets_nothing_new(bench: Bench) -> None:
    for number in (1, 2):
        await bench.web_server(number)
    await bench.put(bundle(1, server(1)))
    await all_up(bench, "s1")
    async with bench.load() as answers:
        reader, writer = await bench.ask("/slow")
        assert b"1" in await reader.readuntil(b"\r\n\r\n1")
        assert await bench.put(bundle(2, server(2))) == "runtime"
        answers.clear()
        await until(lambda: ready(len(answers) > 20))
        assert await reader.read() == b" finished"
        writer.close()
    # At most what was on its way when the change came.
    assert answers[4:].count("1") == 0
    assert await bench.states() == {"s2": "UP"}


async def test_a_bad_bundle_is_refused_in_haproxys_words_and_the_old_one_serves(
    bench: Bench,
) -> None:
    await bench.web_server(1)
    await bench.put(bundle(1, server(1)))
    with pytest.raises(Rejected) as refused:
        await bench.put(bundle(2, server(1), extra="nonsense here"))
    assert "unknown keyword 'nonsense'" in refused.value.public  # what its user gets to read
    unbindable = bundle(3, server(1), extra="bind 203.0.113.99:80")
    with pytest.raises(Rejected) as refused:
        await bench.put(unbindable)
    assert "203.0.113.99" in refused.value.detail
    outside = msgspec.structs.replace(bundle(4, server(1)), files={"../escape": "x"})
    with pytest.raises(Rejected):
        await bench.put(outside)
    assert await bench.get() == (200, "1")
    info = await bench.client.info(AMPHORA_IP, bench.amphora_id)
    assert info.generation == 1
    assert await bench.put(bundle(3, server(1))) == "nothing"


async def test_an_older_generation_is_refused(bench: Bench) -> None:
    await bench.put(bundle(5, server(1)))
    with pytest.raises(Outdated) as refused:
        await bench.put(bundle(4, server(1), server(2)))
    assert refused.value.generation == 5
    assert set(await bench.states()) == {"s1"}
    assert await bench.put(bundle(5, server(1))) == "nothing"
    assert await bench.put(bundle(6, server(1))) == "nothing"
    # A look at ports that was overtaken by another, and comes later.
    assert await bench.put(replace(bundle(6, server(1), server(2)), look=8)) == "runtime"
    with pytest.raises(Outdated) as refused:
        await bench.put(replace(bundle(6, server(1)), look=7))
    assert refused.value.generation == 6
    assert set(await bench.states()) == {"s1", "s2"}
    assert await bench.put(bundle(6, server(1))) == "runtime", "of a release that knows no looks"
    assert await bench.put(replace(bundle(7, server(1)), look=1)) == "nothing"


async def test_only_a_controller_may_change_and_only_our_own_may_look(bench: Bench) -> None:
    health, other = bench.client_named("health"), bench.client_named("api")
    stolen = bench.client_named("7d9c1b52-5a0e-4f2f-9a4e-0c3d1f6b8a21")  # another amphora's
    try:
        await health.status(AMPHORA_IP, bench.amphora_id)
        numbers = await bench.client.numbers(AMPHORA_IP, bench.amphora_id)
        assert 5_000_000 < numbers.resident_bytes < 100_000_000
        assert 0 < numbers.cpu_s < 60
        assert 0 < numbers.open_files < 200
        with pytest.raises(Broken):
            await health.put_bundle(AMPHORA_IP, bench.amphora_id, bundle(1, server(1)))
        with pytest.raises(Broken):
            await other.status(AMPHORA_IP, bench.amphora_id)
        with pytest.raises(Broken):
            await stolen.status(AMPHORA_IP, bench.amphora_id)
        with pytest.raises(Broken):
            await stolen.put_bundle(AMPHORA_IP, bench.amphora_id, bundle(1, server(1)))
        with pytest.raises(Broken, match="cannot read its bundle: Request Entity Too Large"):
            huge = Bundle(generation=1, config="#" * 9_000_000, frame="")
            await bench.client.put_bundle(AMPHORA_IP, bench.amphora_id, huge)
    finally:
        await health.close()
        await other.close()
        await stolen.close()
    nameless = ssl.create_default_context(cafile=str(bench.folder / "ca.pem"))
    connector = aiohttp.TCPConnector(ssl=nameless, socket_factory=bench.site.factory)
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"https://{AMPHORA_IP}:9443/info", server_hostname=bench.amphora_id)


async def test_its_certificate_is_renewed_while_it_serves_and_kept_over_a_kill(
    bench: Bench,
) -> None:
    context = client_context(bench.folder / "controller.pem", bench.folder / "ca.pem")

    def shake_hands(plain: socket.socket) -> str:
        plain.settimeout(10)
        plain.connect((AMPHORA_IP, 9443))
        with context.wrap_socket(plain, server_hostname=bench.amphora_id) as secure:
            return str((secure.getpeercert() or {})["serialNumber"])

    async def shown() -> str:
        return await asyncio.to_thread(shake_hands, bench.site.new_socket(socket.AF_INET))

    await bench.web_server(1)
    await bench.put(bundle(1, server(1)))
    await all_up(bench, "s1")
    before = await shown()
    haproxy = bench.site.processes(HAPROXY)
    async with bench.load() as answers:
        bench.renew = True
        bench.client.notify(AMPHORA_IP, bench.amphora_id, bench.key)

        async def is_another() -> bool:
            return await shown() != before

        await until(is_another)
        renewed = await shown()
        bench.site.kill(bench.site.processes(AGENT)[0], signal.SIGKILL)
        await bench.ready()
        assert await shown() == renewed
    assert [one for one in answers if one != "1"] == []
    assert bench.renewals == 1
    assert bench.site.processes(HAPROXY) == haproxy


async def test_a_killed_agent_comes_back_and_adopts_haproxy(bench: Bench) -> None:
    await bench.web_server(1)
    await bench.put(bundle(1, server(1)))
    before = bench.site.processes(HAPROXY)
    async with bench.load() as answers:
        bench.site.kill(bench.site.processes(AGENT)[0], signal.SIGKILL)
        await bench.ready()
    assert [one for one in answers if one != "1"] == []
    assert len(answers) > 20
    assert bench.site.processes(HAPROXY) == before
    info = await bench.client.info(AMPHORA_IP, bench.amphora_id)
    assert info.generation == 1
    assert await bench.put(bundle(2, server(1), server(2))) == "runtime"


async def gone_and_back(bench: Bench) -> None:
    """That haproxy does not run is told, and after that, that one runs: news of before are
    repeated for some beats."""
    gone = await until_heard(bench, lambda d: d.kind is Kind.EDGE and not edge(d).haproxy_running)
    await until_heard(
        bench,
        lambda d: d.kind is Kind.EDGE and d.sequence > gone.sequence and edge(d).haproxy_running,
    )


@pytest.mark.parametrize("which", [0, -1], ids=["master", "worker"])
async def test_a_killed_haproxy_is_back_and_both_is_told(bench: Bench, which: int) -> None:
    await bench.web_server(1)
    await bench.put(bundle(1, server(1)))
    await all_up(bench, "s1")
    bench.heard.clear()
    bench.site.kill(bench.site.processes(HAPROXY)[which], signal.SIGKILL)

    async def back() -> bool:
        try:
            return await bench.get() == (200, "1")
        except (OSError, IndexError):
            return False

    await until(back, within_s=2.0)
    await gone_and_back(bench)


@pytest.mark.parametrize("which", [0, -1], ids=["master", "worker"])
async def test_a_stopped_haproxy_is_ended_and_another_serves(bench: Bench, which: int) -> None:
    await bench.web_server(1)
    await bench.put(bundle(1, server(1)))
    await all_up(bench, "s1")
    before = bench.site.processes(HAPROXY)
    bench.heard.clear()
    bench.site.kill(before[which], signal.SIGSTOP)

    async def ended() -> bool:
        return not set(before) & set(bench.site.processes(HAPROXY))

    await until(ended, within_s=4.0)
    await gone_and_back(bench)
    assert await bench.get() == (200, "1")
    assert await bench.put(bundle(2, server(1), server(2))) == "runtime"


async def test_a_server_that_fails_is_told_at_once_and_stays_down_over_a_reload(
    bench: Bench,
) -> None:
    await bench.web_server(1)
    await bench.put(bundle(1, server(1), server(2)))
    told = await until_heard(bench, lambda d: d.kind is Kind.EDGE and bool(edge(d).servers))
    assert edge(told).servers == (("pool", "s2", "DOWN"),)
    assert await bench.put(bundle(2, server(1), server(2), extra="option forwardfor")) == "reload"
    assert (await bench.states())["s2"] == "DOWN"
    assert await bench.put(bundle(3, server(1), server(2, weight=0, enabled=False))) == "reload"
    assert (await bench.states())["s2"] == "MAINT"
    await bench.web_server(2)
    assert await bench.put(bundle(4, server(1), server(2))) == "runtime"
    await all_up(bench, "s1", "s2")


async def test_counters_do_not_go_back_over_a_reload_and_a_crash(bench: Bench) -> None:
    await bench.web_server(1)
    await bench.put(bundle(1, server(1)))

    async def counted() -> int:
        report = await bench.client.statistics(AMPHORA_IP, bench.amphora_id)
        (listener,), (member,) = report.listeners, report.members
        total = listener.total_connections
        assert (listener.requests, listener.responses_2xx) == (total, total)
        assert (member.backend, member.name) == ("pool", "s1")
        assert (member.requests, member.responses_2xx, member.total_connections) == (total,) * 3
        assert member.bytes_out == listener.bytes_out > 0
        return total

    for _ in range(5):
        await bench.get()
    assert await counted() == 5
    more = "option forwardfor"
    await bench.put(bundle(2, server(1), extra=more))
    assert await counted() == 5
    await bench.get()
    assert await counted() == 6
    # A member that leaves and comes back, too, goes on where it was.
    assert await bench.put(bundle(3, server(2), extra=more)) == "runtime"
    await bench.client.statistics(AMPHORA_IP, bench.amphora_id)
    await bench.put(bundle(4, server(1), extra=more))
    assert await counted() == 6
    killed = bench.site.processes(HAPROXY)
    bench.site.kill(killed[0], signal.SIGKILL)
    await until(lambda: ready(not set(killed) & set(bench.site.processes(HAPROXY))))
    bench.site.kill(bench.site.processes(AGENT)[0], signal.SIGKILL)
    await bench.ready()
    assert await counted() == 6


async def test_heartbeats_tell_generation_and_digest_and_rise_over_a_restart(
    bench: Bench,
) -> None:
    first = await until_heard(bench, lambda d: d.kind is Kind.HEARTBEAT)
    assert str(first.amphora) == bench.amphora_id
    assert (first.generation, beat(first).haproxy_running) == (0, False)
    await bench.web_server(1)
    await bench.put(bundle(7, server(1)))
    await all_up(bench, "s1")

    async def agreed() -> bool:
        report = await bench.client.status(AMPHORA_IP, bench.amphora_id)
        last = bench.beats(Kind.HEARTBEAT)[-1]
        return last.generation == 7 and beat(last).status == digest(report)

    await until(agreed)
    before = bench.heard[-1].sequence
    bench.site.kill(bench.site.processes(AGENT)[0], signal.SIGKILL)
    count = len(bench.heard)
    await until(lambda: ready(len(bench.heard) > count + 3))
    sequences = [one.sequence for one in bench.heard]
    assert sequences == sorted(set(sequences))
    assert bench.heard[-1].sequence > before


async def test_one_that_is_lent_beats_as_one_that_serves_also_with_nothing_to_serve(
    bench: Bench,
) -> None:
    await bench.put(Bundle(generation=3, config="", frame=""))

    async def heard() -> bool:
        return [one.generation for one in bench.beats(Kind.HEARTBEAT)].count(3) > 5

    await until(heard)  # a spare would beat every 30 s
    bench.site.kill(bench.site.processes(AGENT)[0], signal.SIGKILL)
    bench.heard.clear()
    await until(heard, 20)


async def test_statistics_are_sent_while_it_serves(bench: Bench) -> None:
    await bench.web_server(1)
    await bench.put(bundle(1, server(1)))
    await bench.get()
    told = await until_heard(bench, lambda d: d.kind is Kind.STATISTICS, 20)
    counted = msgspec.msgpack.decode(told.payload, type=Statistics)
    assert [row[0] for row in counted.listeners] == ["web"]
    assert counted.listeners[0][5] == 1


async def test_tasks_make_it_fetch_and_a_replay_or_a_forgery_does_not(bench: Bench) -> None:
    await bench.web_server(1)

    async def generation() -> int:
        return (await bench.client.info(AMPHORA_IP, bench.amphora_id)).generation

    await until(lambda: ready(bench.asked == 1))
    bench.wanted = bundle(3, server(1))
    bench.client.notify(AMPHORA_IP, bench.amphora_id, b"x" * 32)  # forged: dropped
    told = tasks(bench, sequence=2**62)
    send(bench, told)

    async def applied() -> bool:
        return await generation() == 3

    await until(applied)
    assert bench.asked == 2
    assert await bench.get() == (200, "1")
    bench.wanted = bundle(4, server(1), extra="nonsense here")
    send(bench, told)  # replayed: dropped
    send(bench, told[:-1])  # truncated: dropped
    send(bench, tasks(bench, sequence=2**62 + 1))
    await until(lambda: ready(bool(bench.reports)))
    assert bench.asked == 3
    assert bench.reports[0].generation == 4
    assert "'nonsense'" in bench.reports[0].reason
    assert await generation() == 3


async def test_a_bundle_waits_for_its_interface(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        await bench.start(plugged=False)
        with pytest.raises(Exception, match="not ready"):
            await bench.put(bundle(1, server(1)))
        # What it fetches by itself waits too, and is no failure to tell the owner of.
        bench.wanted = bundle(1, server(1))
        for number in (1, 2):
            asked = bench.asked
            send(bench, tasks(bench, sequence=2**62 + number))
            await until(lambda asked=asked: ready(bench.asked > asked))  # type: ignore[misc]
        assert bench.reports == []
        bench.site.plug()
        assert await bench.put(bundle(2, server(1), extra="maxconn 9")) == "reload"
        empty = Bundle(generation=3, config="", frame="")
        await bench.put(empty)
        assert bench.site.processes(HAPROXY) == []
    finally:
        await bench.end()


async def test_after_a_boot_it_serves_what_it_served_without_a_controller(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        before = msgspec.json.encode(bundle(7, server(1))).decode()
        await bench.start(plugged=False, kept=before)
        assert not await serves(bench, 7)
        bench.site.plug()
        await bench.web_server(1)
        await until(lambda: serves(bench, 7), 20)
        await all_up(bench, "s1")
        assert await bench.get() == (200, "1")
        with pytest.raises(Outdated):
            await bench.put(bundle(6, server(1)))
        assert paths.KEPT not in bench.site.files(paths.ROOT)
        assert await bench.put(bundle(8, server(1, weight=9))) == "runtime"
    finally:
        await bench.end()


async def test_what_a_controller_wants_goes_before_what_was_served_before_a_boot(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    try:
        bench.wanted = bundle(9, server(2))
        await bench.start(kept=msgspec.json.encode(bundle(7, server(1))).decode())
        await until(lambda: serves(bench, 9), 20)
        assert set(await bench.states()) == {"s2"}
    finally:
        await bench.end()


async def serves(bench: Bench, generation: int) -> bool:
    return (await bench.client.info(AMPHORA_IP, bench.amphora_id)).generation == generation


async def test_an_interface_that_is_plugged_into_the_machine_comes_to_serve(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    try:
        await bench.start(plugged=False)
        bench.site.plug(beside=True)
        await bench.web_server(1)
        assert await bench.put(bundle(1, server(1))) == "reload"
        assert await bench.get() == (200, "1")
        assert await bench.get(vip=VIP6) == (200, "1")
    finally:
        await bench.end()


async def test_it_is_small(bench: Bench) -> None:
    await bench.put(bundle(1, server(1)))
    await bench.states()
    assert bench.site.memory_kb(bench.site.processes(AGENT)[0]) < 45 * 1024


def edge(heard: Datagram) -> Edge:
    return msgspec.msgpack.decode(heard.payload, type=Edge)


def beat(heard: Datagram) -> Heartbeat:
    return msgspec.msgpack.decode(heard.payload, type=Heartbeat)


def tasks(bench: Bench, sequence: int) -> bytes:
    told = Datagram(
        kind=Kind.TASKS, amphora=UUID(bench.amphora_id), sequence=sequence, generation=0
    )
    return encode(told, bench.key)


def send(bench: Bench, datagram: bytes) -> None:
    with bench.site.new_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(datagram, (AMPHORA_IP, PORT_TASKS))


async def ready(fact: bool) -> bool:
    return fact
