# SPDX-License-Identifier: Apache-2.0
"""What `colonnade admin openstack register` leaves in a catalog, and what it says when it cannot.
A real Keystone is asked the same in `tests/openstack/`."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from colonnade.cli.main import main
from colonnade.domain.errors import Broken, Forbidden, Invalid, NotFound, Refused, Unavailable
from colonnade.drivers.openstack.catalog import Entry, register
from colonnade.drivers.openstack.credentials import Credentials, of_operator
from colonnade.drivers.openstack.session import Session
from tests.fakes.clock import Time
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone

URL = "https://lb.example.org:9876"


@pytest.fixture
async def server() -> AsyncIterator[FakeKeystone]:
    async with FakeKeystone(Time(1_800_000_000.0)).serving() as made:
        yield made


@pytest.fixture
async def session(server: FakeKeystone) -> AsyncIterator[Session]:
    credentials = Credentials(auth_url=f"{server.url}/v3", username=USER, secret=PASSWORD)
    made = Session(credentials, clock=server.clock)
    yield made
    await made.close()


async def test_an_entry_is_written_once_and_changed_where_it_differs(
    server: FakeKeystone, session: Session
) -> None:
    first = await register(session, Entry(url=f"{URL}/v2.0/"))
    assert [line.split()[0] for line in first] == ["created"] * 3
    written = json.dumps(server.rows)
    again = await register(session, Entry(url=URL))
    assert [line.split()[0] for line in again] == ["there"] * 3
    assert json.dumps(server.rows) == written
    changed = await register(session, Entry(url=URL, internal_url="http://10.0.0.1:9876"))
    assert [line.split()[0] for line in changed] == ["there", "changed", "changed"]
    (service,) = server.rows["services"]
    assert (service["type"], service["name"]) == ("load-balancer", "octavia")
    found = {(one["interface"], one["region_id"]): one["url"] for one in server.rows["endpoints"]}
    inner = "http://10.0.0.1:9876"
    assert found == {
        ("public", "RegionOne"): URL, ("internal", "RegionOne"): inner,
        ("admin", "RegionOne"): inner,
    }  # fmt: skip
    # One that ended in the middle is completed by the next.
    del server.rows["endpoints"][1:]
    assert len(await register(session, Entry(url=URL))) == 3
    assert len(server.rows["endpoints"]) == 3


async def test_what_cannot_be_written_is_told(server: FakeKeystone, session: Session) -> None:
    with pytest.raises(Broken, match="no public endpoint of the type x"):
        await session.endpoint("x")  # has logged in
    for fault, kind in ((403, Forbidden), (409, Refused), (500, Unavailable), ("[]", Unavailable)):
        server.fault = fault
        with pytest.raises(kind):
            await register(session, Entry(url=URL))
        server.fault = None
        server.clock.at += 20  # type: ignore[attr-defined]
    with pytest.raises(Invalid, match="no address of an API"):
        await register(session, Entry(url="lb.example.org"))
    server.rows["regions"].append({"id": "RegionTwo"})
    with pytest.raises(Invalid, match="RegionOne, RegionTwo"):
        await register(session, Entry(url=URL))
    assert server.rows["endpoints"] == []
    await register(session, Entry(url=URL, region="RegionTwo"))
    server.rows["services"].append({"id": "x", "type": "load-balancer", "name": "other"})
    with pytest.raises(Broken, match="use --name"):
        await register(session, Entry(url=URL, region="RegionTwo", name="third"))


CLOUDS = """
clouds:
  mine:
    region_name: RegionTwo
    auth: {auth_url: "http://k:5000", username: u, password: p, project_name: q,
           user_domain_id: d, project_domain_name: e}
  robot:
    auth: {auth_url: "http://k:5000/v3", application_credential_id: c,
           application_credential_secret: s}
  system: {auth: {auth_url: "http://k/identity", username: u, password: p, system_scope: all}}
"""
ENVIRONMENT = {
    "OS_AUTH_URL": "http://k:5000/v3/", "OS_USERNAME": "u", "OS_PASSWORD": "p",
    "OS_PROJECT_NAME": "q", "OS_USER_DOMAIN_NAME": "d",
}  # fmt: skip


def test_an_operator_is_whom_the_clients_of_openstack_say(tmp_path: Path) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text(CLOUDS)
    said = {"OS_CLIENT_CONFIG_FILE": str(file)}
    mine = of_operator("mine", said)
    assert (mine.auth_url, mine.region) == ("http://k:5000/v3", "RegionTwo")
    assert mine.wish()["auth"]["scope"] == {"project": {"name": "q", "domain": {"name": "e"}}}
    user = mine.wish()["auth"]["identity"]["password"]["user"]
    assert user == {"name": "u", "domain": {"id": "d"}, "password": "p"}
    robot = of_operator("", said | {"OS_CLOUD": "robot"}).wish()["auth"]
    assert robot["identity"]["application_credential"] == {"id": "c", "secret": "s"}
    assert "scope" not in robot
    system = of_operator("system", said)
    assert system.auth_url == "http://k/identity/v3"
    assert system.wish()["auth"]["scope"] == {"system": {"all": True}}
    plain = of_operator("", ENVIRONMENT)
    assert plain.wish()["auth"]["scope"] == {
        "project": {"name": "q", "domain": {"name": "Default"}}
    }


def test_an_operator_who_says_too_little_is_told_what(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="OS_AUTH_URL and OS_PASSWORD"):
        of_operator("", {})
    file = tmp_path / "clouds.yaml"
    file.write_text(CLOUDS)
    said = {"OS_CLIENT_CONFIG_FILE": str(file)}
    with pytest.raises(NotFound, match="has a cloud 'nobody'"):
        of_operator("nobody", said)
    file.write_text("clouds: [")
    with pytest.raises(Broken, match="cannot be read"):
        of_operator("mine", said)


def test_the_command_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["admin", "openstack", "register", "--url", URL])
    assert ended.value.code == 1
    assert "nothing says where Keystone is" in capsys.readouterr().err


def test_no_representation_has_a_secret() -> None:
    credentials = Credentials(auth_url="http://k", username="u", secret=PASSWORD)
    assert PASSWORD not in f"{credentials} {credentials!r} {[credentials]}"
