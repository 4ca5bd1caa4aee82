# SPDX-License-Identifier: Apache-2.0
"""Several receivers over one database: whoever stops, is cut off or flooded, no amphora that goes
on speaking is failed; and one that does not is.

Receivers are the real ones, with datagrams that are signed; a test moves the time of all of them
and of the store, second by second.
"""

import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from colonnade.domain.ids import new_id
from colonnade.drivers.secrets.database import Seal
from colonnade.health.process import Health, Keys
from colonnade.protocol.datagram import Datagram, Heartbeat, Kind, encode
from colonnade.runtime.config import Failovers, Heartbeats
from colonnade.store.fleet import daemons
from colonnade.store.postgres.database import Database
from tests.contract.test_health import SEAL, Agents

ALLOWED = Heartbeats()
LIMITS = Failovers(safe_mode=False)  # who is silent is asked here, not who may be replaced
DEATH_S = 5  # with the round in which it is found
# What the store remembers by its own time; moved back, it is as if that time had gone by.
MOMENTS = {
    "heartbeats": ("seen_at",),
    "heartbeats_remembered": ("since",),
    "amphorae": ("state_since", "applied_at"),
    "receivers": ("written_at", "watching_since", "heard_at", "listed_since"),
    "daemons": ("seen_at",),
}


class MovedClock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


class Amphora:
    """Speaks to receivers in turn, with a key of its own."""

    def __init__(self, number: int) -> None:
        self.id = new_id()
        self.key = os.urandom(32)
        self.knows: list[str] = []
        self.claims: int | None = None  # how many it says that it knows
        self.sequence = 0
        self.arrived = 0
        self.turn = number  # they do not all begin with the same

    def heartbeat(self) -> tuple[str, bytes]:
        """To whom, and what."""
        self.sequence += 1
        self.turn += 1
        claims = len(self.knows) if self.claims is None else self.claims
        beat = Heartbeat(b"0" * 16, 0.5, True, claims)
        datagram = Datagram(
            kind=Kind.HEARTBEAT,
            amphora=UUID(self.id),
            sequence=self.sequence,
            generation=1,
            payload=msgspec.msgpack.encode(beat),
        )
        return self.knows[self.turn % len(self.knows)], encode(datagram, self.key)


class CountingKeys(Keys):
    """How many names each question was about."""

    def __init__(self, database: Database, seal: Seal) -> None:
        super().__init__(database, seal)
        self.asked: list[int] = []

    async def __call__(self, amphorae: Sequence[UUID]) -> Mapping[UUID, tuple[bytes, int]]:
        self.asked.append(len(amphorae))
        return await super().__call__(amphorae)


class Post:
    """One receiver's place: processes come and go, the address stays."""

    def __init__(self, database: Database, clock: MovedClock, address: str) -> None:
        self._database = database
        self._clock = clock
        self.address = address
        self.hears = True
        self.writes = True
        self.start()

    def start(self, keys: Keys | None = None) -> None:
        keys = keys or Keys(self._database, SEAL)

        class Here(Health):
            clock = self._clock

        self.health = Here(self._database, keys, Agents(), ALLOWED, LIMITS)
        self.daemon = daemons.Daemon(new_id(), daemons.Kind.HEALTH, self.address)
        self._rounds = self.health.rounds()

    async def round(self) -> None:
        if not self.health.senders.is_complete:
            await self.health.senders.learn_all()
        if self.writes:
            await self._rounds.once(self.daemon)


class Sky:
    """Some amphorae that serve, and the receivers that a test puts up."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = MovedClock()
        self.amphorae = [Amphora(number) for number in range(4)]
        self.dead: set[str] = set()
        self.posts: dict[str, Post] = {}
        self.loses = 0  # every so many of the datagrams that would have been heard

    async def begin(self) -> None:
        async with self.database.transaction() as connection:
            for amphora in self.amphorae:
                cluster = new_id()
                await connection.execute(
                    "INSERT INTO clusters (id, provider, generation) VALUES (%s, 'amphora', 1)",
                    [cluster],
                )
                await connection.execute(
                    """INSERT INTO amphorae (id, state, flavor, cluster_id, applied, heartbeat_key,
                        state_since) VALUES (%s, 'SERVING', 'default', %s, 1, %s,
                        now() - interval '1 day')""",
                    [amphora.id, cluster, SEAL.seal(amphora.key, amphora.id)],
                )

    def post(self, *addresses: str) -> list[Post]:
        """Receivers at these addresses, which all amphorae know, and no others."""
        for address in addresses:
            self.posts[address] = Post(self.database, self.clock, address)
        for amphora in self.amphorae:
            amphora.knows = list(addresses)
        return [self.posts[address] for address in addresses]

    async def move(self, seconds: float) -> None:
        """So much time goes by."""
        self.clock.time += seconds
        await self.set_forward(seconds)

    async def set_forward(self, seconds: float) -> None:
        """The store's clock alone."""
        async with self.database.transaction() as connection:
            for table, columns in MOMENTS.items():
                moved = ", ".join(f"{c} = {c} - make_interval(secs => {seconds})" for c in columns)
                await connection.execute(f"UPDATE {table} SET {moved}".encode())

    async def have_been_listed(self) -> None:
        """The receivers that there are, for long enough."""
        async with self.database.transaction() as connection:
            await connection.execute("UPDATE receivers SET listed_since = to_timestamp(0)")

    async def live(self, seconds: float) -> None:
        """Heartbeats and rounds, a second at a time; receivers write one after the other."""
        for _ in range(round(seconds)):
            await self.move(1.0)
            for amphora in self.amphorae:
                address, datagram = amphora.heartbeat()
                post = self.posts.get(address)
                if amphora.id in self.dead or post is None or not post.hears:
                    continue
                amphora.arrived += 1
                if not self.loses or amphora.arrived % self.loses:
                    post.health.receiver.accept(datagram)
            for post in list(self.posts.values()):
                await post.round()

    async def failed(self) -> set[str]:
        async with self.database.read() as connection:
            cursor = await connection.execute("SELECT id FROM amphorae WHERE state = 'FAILED'")
            return {row[0] for row in await cursor.fetchall()}

    async def assert_a_death_is_found(self, within_s: float = DEATH_S) -> None:
        """And nothing else."""
        assert await self.failed() == set()
        self.dead = {self.amphorae[0].id}
        await self.live(within_s)
        assert await self.failed() == self.dead


@pytest_asyncio.fixture
async def sky(database: Database) -> AsyncIterator[Sky]:
    sky = Sky(database)
    await sky.begin()
    yield sky


async def known(sky: Sky, *addresses: str) -> list[Post]:
    """Receivers that have been there for a while, with all well."""
    posts = sky.post(*addresses)
    await sky.live(1)
    await sky.have_been_listed()
    await sky.live(5)
    assert await sky.failed() == set()
    return posts


async def test_two_that_listen_find_a_death_as_soon_as_one(sky: Sky) -> None:
    await known(sky, "a:1", "b:1")
    await sky.assert_a_death_is_found()


@pytest.mark.parametrize("wrong", ["stopped", "hears", "writes"])
async def test_two_of_three_are_gone_cut_off_from_amphorae_or_from_the_store(
    sky: Sky, wrong: str
) -> None:
    _, *others = await known(sky, "a:1", "b:1", "c:1")
    for post in others:
        if wrong == "stopped":
            del sky.posts[post.address]
        setattr(post, wrong, False)
    await sky.live(3)
    sky.loses = 2  # half of what is left is lost on the way
    await sky.live(14)
    await sky.assert_a_death_is_found(within_s=14)


@pytest.mark.parametrize("back", ["all", "one", "another"])
async def test_all_stop_for_an_hour(sky: Sky, back: str) -> None:
    posts = await known(sky, "a:1", "b:1", "c:1")
    sky.posts.clear()
    await sky.move(3600)
    for post in posts if back == "all" else posts[:1] if back == "one" else []:
        post.start()
        sky.posts[post.address] = post
    if back == "another":  # which no amphora knows until it asks a controller
        sky.posts["d:1"] = Post(sky.database, sky.clock, "d:1")
    await sky.live(10)
    assert await sky.failed() == set()
    for amphora in sky.amphorae:
        amphora.knows = sorted(sky.posts)
    await sky.have_been_listed()
    await sky.live(5)
    await sky.assert_a_death_is_found()


async def test_a_receiver_moves_to_another_host(sky: Sky) -> None:
    await known(sky, "a:1")
    sky.posts = {"b:1": Post(sky.database, sky.clock, "b:1")}
    await sky.live(10)  # amphorae still speak to the old one
    assert await sky.failed() == set()


async def test_what_a_crash_of_the_database_forgets_is_nobodys_silence(sky: Sky) -> None:
    await known(sky, "a:1")
    quiet = sky.amphorae[0]
    async with sky.database.transaction() as connection:
        await connection.execute("TRUNCATE heartbeats, heartbeats_remembered")
    sky.dead = {quiet.id}
    await sky.live(3)
    assert await sky.failed() == set()
    async with sky.database.read() as connection:
        cursor = await connection.execute("SELECT count(*) FROM heartbeats")
        assert await cursor.fetchone() == (len(sky.amphorae) - 1,)
    await sky.live(9)
    assert await sky.failed() == {quiet.id}, "never heard since the store remembers anything"


async def test_a_database_whose_clock_is_set_forward_fails_nobody(sky: Sky) -> None:
    await known(sky, "a:1", "b:1")
    await sky.set_forward(20)
    sky.dead = {sky.amphorae[0].id}  # two of its heartbeats are lost
    await sky.live(2)
    assert await sky.failed() == set()
    sky.dead = set()
    await sky.live(5)
    await sky.assert_a_death_is_found()


def flood(port: int, datagrams: Iterable[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.connect(("127.0.0.1", port))
        for datagram in datagrams:
            stranger.send(datagram)


@pytest.mark.parametrize("flooded", [True, False])
async def test_a_heartbeat_that_a_flood_of_strangers_drowned_is_no_silence(
    sky: Sky, flooded: bool
) -> None:
    (post,) = await known(sky, "a:1")
    receiver = post.health.receiver
    listening = receiver.listen("127.0.0.1", 0, buffer_bytes=4096)
    noise = [os.urandom(98)] * 200 if flooded else []
    quiet = sky.amphorae[0]
    sky.dead = {quiet.id}  # it speaks through the real socket alone
    for _ in range(6):
        _, datagram = quiet.heartbeat()
        lost = datagram if flooded else b""
        flood(listening.port, [*noise, lost])
        await sky.live(1)
    assert (receiver.dropped() > 0) is flooded
    assert (receiver.rejected["no_room"] > 0) is flooded
    listening.close()
    assert await sky.failed() == (set() if flooded else sky.dead)
    await sky.live(14)
    assert await sky.failed() == sky.dead, "after the flood silence counts again"


async def test_strangers_cost_the_store_a_few_questions(sky: Sky) -> None:
    (post,) = await known(sky, "a:1")
    keys = CountingKeys(sky.database, SEAL)
    post.start(keys)
    await sky.live(1)
    keys.asked.clear()
    for _ in range(5000):
        stranger = Amphora(0)
        stranger.knows = ["a:1"]
        post.health.receiver.accept(stranger.heartbeat()[1])
    with pytest.raises(AssertionError, match="nobody waits here"):
        await post.health.senders.look_up(post.health.receiver.accept)
    assert keys.asked == [500], "then it pauses"
    await sky.live(8)
    assert await sky.failed() == set(), "those who are known are heard all the while"


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Kind.HEARTBEAT, b"\x95\xc4\x10" + b"0" * 16 + b"\xca\0\0\0\0\xc3\x01" + b"\x91" * 1050),
        (Kind.EDGE, b"\x92\x91\x93\xa1\xff\xa1a\xa1a\xc3"),
        (Kind.STATISTICS, b"\x91\xdd\xff\xff\xff\xff"),
    ],
    ids=["nested", "not a text", "longer than it is"],
)
async def test_what_an_amphora_signs_cannot_make_a_receiver_deaf(
    sky: Sky, kind: Kind, payload: bytes
) -> None:
    (post,) = await known(sky, "a:1")
    liar, *_ = sky.amphorae
    datagram = Datagram(
        kind=kind, amphora=UUID(liar.id), sequence=1000, generation=1, payload=payload
    )
    listening = post.health.receiver.listen("127.0.0.1", 0)
    flood(listening.port, [encode(datagram, liar.key)])
    await sky.live(1)
    listening.close()
    assert post.health.receiver.rejected["payload"] == 1
    assert await sky.failed() == set()


async def test_an_amphora_that_claims_many_receivers_delays_its_own_death_and_no_others(
    sky: Sky,
) -> None:
    await known(sky, "a:1")
    for amphora, claimed in zip(sky.amphorae, (3, 2**63, 0, 1), strict=True):
        amphora.claims = claimed
    await sky.live(2)
    three, most, unsaid, one = (amphora.id for amphora in sky.amphorae)
    sky.dead = {three, most, unsaid, one}
    await sky.live(5)
    assert await sky.failed() == {unsaid, one}
    await sky.live(6)
    assert await sky.failed() == {unsaid, one, three}, "64 receivers at most"
