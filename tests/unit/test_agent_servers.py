# SPDX-License-Identifier: Apache-2.0
"""What is said to haproxy when only servers change, and when nothing but a reload will do."""

import msgspec
import pytest

from colonnade.agent.servers import commands
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
