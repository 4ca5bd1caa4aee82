# SPDX-License-Identifier: Apache-2.0
"""Webhooks over the API: what they take, what they never show, and whose they are."""

from base64 import b64encode
from typing import Any

from colonnade.domain.webhooks import Reach
from colonnade.store.postgres.database import Database
from tests.certificates import made as certificate
from tests.contract.api_client import SEAL, Api, api

__all__ = ["api"]

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = b64encode(KEY).decode()
OTHER = b64encode(b"x" * 24).decode()
BODY = {"name": "pager", "url": "https://hooks.example.org/colonnade?to=me", "secret": SECRET}
MINE, THEIRS = {"X-Project-Id": "mine"}, {"X-Project-Id": "theirs"}


async def made(api: Api, status: int = 201, headers: Any = None, **more: Any) -> Any:
    answer = await api.post("webhooks", {"webhook": BODY | more}, status, headers=headers)
    return answer["webhook"] if status == 201 else answer


async def test_a_webhook_is_made_shown_changed_listed_and_deleted(api: Api) -> None:
    webhook = await made(api, kinds=["failed", "gone"], object_types=["member"])
    path = f"webhooks/{webhook['id']}"
    assert (
        webhook.items()
        >= {
            "url": BODY["url"],
            "kinds": ["failed", "gone"],
            "object_types": ["member"],
            "enabled": True,
            "all_projects": False,
            "status": "OK",
            "reason": None,
        }.items()
    )
    assert webhook["sending"]["deliveries"] == []
    assert (await api.get(path))["webhook"] == webhook
    changed = (await api.put(path, {"webhook": {"enabled": False, "kinds": []}}))["webhook"]
    assert (changed["enabled"], changed["kinds"], changed["status"]) == (False, [], "DISABLED")
    listed = (await api.get("webhooks", params={"status": "DISABLED"}))["webhooks"]
    assert [one["id"] for one in listed] == [webhook["id"]]
    assert (await api.get("webhooks", params={"status": "OK"}))["webhooks"] == []
    await api.delete(path)
    await api.get(path, 404)


async def test_a_secret_lies_sealed_and_is_never_shown(api: Api, database: Database) -> None:
    webhook = await made(api)
    path = f"webhooks/{webhook['id']}"
    replaced = await api.put(path, {"webhook": {"secret": f"whsec_{OTHER}"}})
    async with database.read() as connection:
        cursor = await connection.execute("SELECT t::text, secrets FROM webhooks t")
        (row,) = await cursor.fetchall()
    assert KEY.hex() not in row[0] and SECRET not in row[0]
    opened = SEAL.unseal(bytes(row[1]), webhook["id"])
    assert SECRET.encode() in opened and OTHER.encode() in opened, "both, for a while"
    assert SECRET not in str([webhook, replaced, await api.get("webhooks")])


WRONG: tuple[dict[str, Any], ...] = (
    {"secret": None},
    {"secret": "short"},
    {"secret": b64encode(b"x" * 23).decode()},
    {"secret": b64encode(b"x" * 65).decode()},
    {"secret": "no base64 at all, however long it may be"},
    {"url": "ftp://hooks.example.org"},
    {"url": "https://"},
    {"url": "https://user:word@hooks.example.org"},
    {"url": "https://hooks.example.org/#here"},
    {"url": "https://hooks.example.org:99999"},
    {"url": "https://hooks.example.org/\r\nX-A: b"},
    {"url": "http://127.0.0.1:9876/v2/lbaas/loadbalancers"},
    {"url": "http://[::1]/"},
    {"url": "http://[::ffff:127.0.0.1]/"},
    {"url": "http://169.254.169.254/latest/meta-data"},
    {"url": "http://198.18.0.1/"},
    {"url": "http://0.0.0.0/"},
    {"kinds": ["broken"]},
    {"kinds": ["failed", "failed"]},
    {"kinds": ["nonsense"]},
    {"object_types": ["amphora"]},
    {"ca_certificate": "none"},
    {"colour": "red"},
)


async def test_what_can_never_work_is_refused(api: Api) -> None:
    for wrong in WRONG:
        fault = await made(api, 400, **wrong)
        assert SECRET not in str(fault)
    told = (await made(api, 400, kinds=["nonsense"]))["faultstring"]
    assert "operating_status" in told and "'nonsense'" in told
    assert (await api.get("webhooks"))["webhooks"] == []
    private_ca = certificate("ca.example.org").public
    await made(api, ca_certificate=private_ca, url="https://10.0.0.7/", object_types=["pool"])


async def test_a_webhook_is_its_projects_own_and_they_are_limited(api: Api) -> None:
    webhook = await made(api, headers=MINE)
    path = f"webhooks/{webhook['id']}"
    for ask in (api.get, api.delete):
        await ask(path, 403, headers=THEIRS)
    await api.put(path, {"webhook": {"url": "https://elsewhere.test"}}, 403, headers=THEIRS)
    await api.post(f"{path}/test", {}, 403, headers=THEIRS)
    assert (await api.get("webhooks", headers=THEIRS))["webhooks"] == []
    for _ in range(19):
        await made(api, headers=MINE)
    fault = await made(api, 403, headers=MINE)
    assert "webhook" in fault["faultstring"]
    await made(api, headers=THEIRS)


async def test_events_of_all_projects_are_for_operators_alone(api: Api) -> None:
    await made(api, 403, headers=MINE, all_projects=True)
    fleet: dict[str, Any] = {"kinds": ["safe_mode", "failed"], "object_types": ["amphora", "fleet"]}
    webhook = await made(api, all_projects=True, project_id="mine", **fleet)
    path = f"webhooks/{webhook['id']}"
    # Whoever is of the project it was made in must not lead everybody's events elsewhere.
    await api.put(path, {"webhook": {"url": "https://elsewhere.test"}}, 403, headers=MINE)
    await api.put(path, {"webhook": {"all_projects": False}}, 400)
    await api.put(path, {"webhook": {"url": "https://elsewhere.test"}})


def test_which_addresses_may_be_called() -> None:
    reach = Reach.of(["127.0.0.0/8", "10.1.0.0/16"], ["10.0.0.0/8", "203.0.113.7"])
    for open_ in ("127.0.0.1", "10.1.2.3", "8.8.8.8", "::ffff:127.0.0.1", "2001:db8::1"):
        assert reach.has(open_), open_
    closed = (
        *("10.0.0.1", "203.0.113.7", "169.254.169.254", "198.18.3.4", "224.0.0.1", "::1", "::"),
        *("fe80::1%eth0", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"),
        *("2002:a9fe:a9fe::", "::10.0.0.1", "255.255.255.255", "0.0.0.0"),
    )
    for shut in closed:
        assert not reach.has(shut), shut
