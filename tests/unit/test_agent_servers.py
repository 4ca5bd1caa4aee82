# SPDX-License-Identifier: Apache-2.0
"""What is said to haproxy when only servers change, and when nothing but a reload will do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from colonnade.agent.haproxy.console import Console
from colonnade.agent.haproxy.servers import Servers, commands
from colonnade.protocol.bundle import Change, Server

OLD = Server(name="s", address="10.0.0.1:80", options="check inter 1s")


def said(change: Change, leaving: dict[tuple[str, str], Server] | None = None) -> list[str] | None:
    found = commands(change, leaving or {})
    return None if found is None else [one.text for one in found]


def changed(**fields: object) -> Server:
    return Server(**({"name": "s", "address": "10.0.0.1:80", "options": "check inter 1s"} | fields))  # type: ignore[arg-type]


def test_a_new_server_comes_before_an_old_one_leaves() -> None:
    new = Server(name="t", address="[2001:db8::5]:80", weight=3, options="check")
    assert said(Change(added=(("b", new),), removed=(("b", OLD),))) == [
        "add server b/t [2001:db8::5]:80 weight 3 check",
        "enable server b/t",
        "enable health b/t",
        "set server b/s state maint",
    ]


def test_a_server_that_is_off_is_added_but_not_enabled() -> None:
    assert said(Change(added=(("b", changed(enabled=False, options="")),))) == [
        "add server b/s 10.0.0.1:80 weight 1"
    ]


def test_a_server_moves_in_place_when_only_its_address_changes() -> None:
    moved = changed(address="[2001:db8::5]:81")
    assert said(Change(removed=(("b", OLD),), added=(("b", moved),))) == [
        "set server b/s addr 2001:db8::5 port 81",
        "set server b/s weight 1",
        "set server b/s state ready",
    ]


def test_other_options_of_the_same_server_need_a_reload() -> None:
    other = changed(options="check inter 2s")
    assert said(Change(removed=(("b", OLD),), added=(("b", other),))) is None


def test_weight_and_state_are_set() -> None:
    assert said(Change(reweighted=(("b", changed(weight=0, enabled=False)),))) == [
        "set server b/s weight 0",
        "set server b/s state maint",
    ]


def test_a_server_that_was_leaving_comes_back_or_is_in_the_way() -> None:
    change = Change(added=(("b", OLD),))
    assert said(change, {("b", "s"): OLD}) == [
        "set server b/s weight 1",
        "set server b/s state ready",
    ]
    assert said(change, {("b", "s"): changed(address="10.0.0.9:80")}) is None


@pytest.mark.parametrize("bad", ["; shutdown", "\nquit", "a\\ b", "<<"])
def test_nothing_that_ends_a_command_is_ever_said(bad: str) -> None:
    for field in ("name", "address", "options"):
        assert said(Change(added=(("b", changed(**{field: f"x{bad}"})),))) is None
    assert said(Change(reload=True)) is None


def test_a_server_with_a_time_to_drain_keeps_the_clients_that_stick_to_it() -> None:
    draining = changed(drain_seconds=30)
    assert said(Change(removed=(("b", draining),))) == ["set server b/s state drain"]
    moved = changed(drain_seconds=30, address="10.0.0.2:80")
    change = Change(removed=(("b", draining),), added=(("b", moved),))
    assert said(change) == said(msgspec.structs.replace(change, removed=(("b", OLD),)))


class Haproxy:
    """The servers of a haproxy, on its master's socket. The answer to a deletion, which is done,
    is held back until `answers` is set."""

    def __init__(self) -> None:
        self.servers = {"b/s"}
        self.heard: list[str] = []
        self.deleted, self.answers = asyncio.Event(), asyncio.Event()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = (await reader.read()).decode().strip().removeprefix("@1 ")
        self.heard.append(said)
        verb, _, name, *_ = said.split()
        answer = ""
        if verb == "del":
            self.servers.discard(name)
            self.deleted.set()
            await self.answers.wait()
            answer = "Server deleted."
        elif verb == "add":
            self.servers.add(name)
            answer = "New server registered."
        elif name not in self.servers:
            answer = "No such server."
        writer.write(f"{answer}\n".encode())
        writer.close()

    @asynccontextmanager
    async def listening(self, socket: Path) -> AsyncIterator[Console]:
        async with await asyncio.start_unix_server(self._answer, socket):
            yield Console(socket)


async def test_a_server_that_is_just_being_deleted_comes_back_without_a_reload(
    tmp_path: Path,
) -> None:
    haproxy = Haproxy()
    async with haproxy.listening(tmp_path / "master.sock") as console:
        servers = Servers(console)
        try:
            assert await servers.change(Change(removed=(("b", OLD),)))
            await haproxy.deleted.wait()
            back = asyncio.create_task(servers.change(Change(added=(("b", OLD),))))
            for _ in range(10):  # as far as it gets
                await asyncio.sleep(0)
            haproxy.answers.set()
            assert await back, haproxy.heard
        finally:
            await servers.close()
    assert haproxy.servers == {"b/s"}
    assert haproxy.heard[2].startswith("add server b/s ")
